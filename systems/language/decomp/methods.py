"""The ways to answer that are compared: who is in the library, and who is asked the questions of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from systems.language.decomp import symbolic
from systems.language.decomp.models import CharModel, Model, concluded, decomposer, handler
from systems.language.decomp.prompts import shown
from systems.parts.interpreter import Library

WORDS = {"letters": "letter_cat", "long": "str_position"}
ENTRY = {**WORDS, "reverse": "reverse", "look_up": "look_up"}
"""Who is asked the questions of a suite, where programs are written."""
LISTS = ("first_half", "second_half", "join")
TRAINED = ("handlers", "writer")
BASELINES = ("direct", "chain", "control")


@dataclass(frozen=True)
class Method:
    """A library, and the suites whose questions it is asked with the handler that is asked."""

    name: str
    library: Library
    entry: Mapping[str, str]


def symbolic_methods(context: Sequence[str]) -> Iterator[Method]:
    """By rule: the tasks, or the look-ups in a context by one reader or by several."""
    if not context:
        yield Method("symbolic", symbolic.library(), {suite: ENTRY[suite] for suite in ("letters", "long", "reverse")})
        return
    for grain in symbolic.GRAINS:
        yield Method(grain, symbolic.look_up(context, grain), {"look_up": "look_up"})


def trained_methods(models: Mapping[str, CharModel], learned_lists: bool) -> Iterator[Method]:
    """By the models of one seed: decomposed, with a handler replaced, without hierarchy, and in one generation.

    With `learned_lists` no part of a reversal but its program is left to code.
    """
    own, writer = models["handlers"], models["writer"]
    handlers = {name: handler(own, name) for name in ("split", "arr_position", "merge", "base")}
    lists = {name: handler(own, name) if learned_lists else symbolic.HANDLERS[name] for name in LISTS}
    top = {"letter_cat": decomposer(writer, "letter_cat")}
    two_levels = {**top, "str_position": decomposer(writer, "str_position")}
    whole = {**two_levels, "reverse": symbolic.DECOMPOSERS["reverse"]}
    yield Method("decomposed", Library({**handlers, **lists}, whole), {**WORDS, "reverse": "reverse"})
    exact = {**handlers, "str_position": symbolic.HANDLERS["letter"]}
    yield Method("replaced", Library(exact, top), {"letters": "letter_cat"})
    looked_up = {**handlers, "arr_position": symbolic.HANDLERS["arr_position"]}
    yield Method("replaced lookup", Library(looked_up, two_levels), {"letters": "letter_cat"})
    one_step = {**handlers, "str_position": handler(own, "letter")}
    yield Method("one level", Library(one_step, top), WORDS)
    yield from baselines({name: models[name] for name in BASELINES if name in models})


def baselines(models: Mapping[str, Model]) -> Iterator[Method]:
    """Answers in one generation: at once, or after a chain of thought, which the control writes too."""
    for name, model in models.items():
        tag = "direct" if name == "direct" else "chain"
        answer = handler(model, tag) if tag == "direct" else concluded(handler(model, tag))
        yield Method(name, Library({name: answer}, {}), {"letters": name, "reverse": name})


def prompted_methods(name: str, model: Model, hierarchy: bool) -> Iterator[Method]:
    """By one prompted model for everything; without `hierarchy` it answers for single letters in one step."""
    handlers = {key: handler(model, key) for key in ("split", "arr_position", "merge", "base", *LISTS)}
    decomposers = {key: decomposer(model, key) for key in ("letter_cat", "str_position", "reverse")}
    if not hierarchy:
        handlers["str_position"] = handler(model, "letter")
        del decomposers["str_position"]
    yield Method(f"{name} decomposed", Library(handlers, decomposers), {"letters": "letter_cat", "reverse": "reverse"})
    for method in baselines({"direct": model, "chain": model}):
        yield Method(f"{name} {method.name}", method.library, {"letters": method.entry["letters"]})


def prompted_look_ups(name: str, model: Model, context: Sequence[str]) -> Iterator[Method]:
    """Look-ups by one prompted model: a hop at a time in what is retrieved for it, or at once in the whole context."""
    retriever, by_rule = symbolic.Retriever(context), symbolic.look_up(context, "fine")
    read, whole = handler(model, "read"), handler(model, "whole")

    def reader(questions: Sequence[str]) -> list[str]:
        return list(read([shown(retriever.best(question), question) for question in questions]))

    def at_once(questions: Sequence[str]) -> list[str]:
        return list(whole([shown(context, question) for question in questions]))

    hops = Library(dict.fromkeys(by_rule.handlers, reader), by_rule.decomposers)
    yield Method(f"{name} hops", hops, {"look_up": "look_up"})
    yield Method(f"{name} whole context", Library({"whole": at_once}, {}), {"look_up": "whole"})
