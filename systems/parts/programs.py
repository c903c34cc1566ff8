"""Programs whose steps call handlers: the grammar of a step, its operators, and the trace that a run leaves.

A step is `(operator) [handler] question`, `[handler] question` (select), or `[EOQ]`; #1, #2... in a question stand for
earlier answers, which are JSON values. Source: Khot et al. 2023 (Decomposed Prompting).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Any
END = "[EOQ]"
OPERATORS = ("select", "project", "projectValues", "projectKeys", "filter")
GRAMMAR = re.compile(
    r"(?:\((?P<operator>[A-Za-z]+)(?:\(#(?P<target>\d+)\))?(?P<suffixes>(?:_\w+)?)\) )?"
    r"\[(?P<handler>\w+)\] (?P<question>.*)",
    re.DOTALL,
)
REFERENCE = re.compile(r"#(\d+)")
YES, NO = ("yes", "true", "1"), ("no", "false", "0")
PAIR = 2


class ProgramError(Exception):
    """A step that cannot be run; the text names the step and the part of it that is wrong."""


@dataclass(frozen=True)
class Step:
    """One line of a program. `target` is the index that a filter with several in its question names."""

    text: str
    operator: str
    suffixes: tuple[str, ...]
    handler: str
    question: str
    target: int | None = None

    def error(self, what: str) -> ProgramError:
        """What is wrong with this step."""
        return ProgramError(f"step {self.text!r}: {what}")


@dataclass(frozen=True)
class Calls:
    """What a step asks its handler: one question, or one for each of `items`."""

    questions: tuple[str, ...]
    items: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Done:
    """A step that was run: its text, the calls it made and the answer they came to."""

    text: str
    answer: Json
    calls: tuple[Node, ...]


@dataclass(frozen=True)
class Node:
    """An answered call, the trace of all that was done for it. Only a decomposer has steps."""

    handler: str
    question: str
    answer: Json
    steps: tuple[Done, ...] = ()

    def counts(self) -> Counter[str]:
        """Calls by handler, this one and all below."""
        below = (call.counts() for step in self.steps for call in step.calls)
        return sum(below, Counter({self.handler: 1}))

    def depth(self) -> int:
        """Decomposers inside each other."""
        if not self.steps:
            return 0
        return 1 + max((call.depth() for step in self.steps for call in step.calls), default=0)


def parse(text: str) -> Step | None:
    """A step of its text; none for the end of the program."""
    text = text.strip()
    if text == END:
        return None
    match = GRAMMAR.fullmatch(text)
    if match is None:
        raise ProgramError(f"step {text!r}: not of the form `(operator) [handler] question` or {END}")
    operator, target = match["operator"] or "select", match["target"]
    suffixes = tuple((match["suffixes"] or "").split("_")[1:])
    step = Step(text, operator, suffixes, match["handler"], match["question"], int(target) if target else None)
    if operator not in OPERATORS:
        raise step.error(f"operator '{operator}' is unknown; there are {', '.join(OPERATORS)}")
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            raise step.error(f"suffix '_{suffix}' is unknown; there are {', '.join('_' + name for name in SUFFIXES)}")
    return step


def calls_of(step: Step, answers: Sequence[Json]) -> Calls:
    """The questions of a step, with earlier answers in the place of their references."""
    named = list(dict.fromkeys(int(index) for index in REFERENCE.findall(step.question)))
    for index in named:
        if not 1 <= index <= len(answers):
            raise step.error(f"#{index} is not defined yet; there are {len(answers)} answers")
    texts = {index: to_text(answers[index - 1]) for index in named}
    if step.operator == "select":
        return Calls((substitute(step.question, texts),))
    index = _iterated(step, named)
    items = tuple(_items(step, index, answers[index - 1]))
    place = {"projectValues": 1, "projectKeys": 0}.get(step.operator)
    shown = [_bare(item if place is None else _pair(step, item)[place]) for item in items]
    return Calls(tuple(substitute(step.question, {**texts, index: text}) for text in shown), items)


def _iterated(step: Step, named: Sequence[int]) -> int:
    """The reference whose items a step goes through."""
    if step.operator == "filter" and step.target is not None and step.target in named:
        return step.target
    if len(named) != 1 or step.target is not None:
        wanted = "one of the question's, as filter(#2)," if step.operator == "filter" else "exactly one"
        found = ", ".join(f"#{index}" for index in named) or "none"
        raise step.error(f"'{step.operator}' wants {wanted} reference; the question has {found}")
    return named[0]


def _items(step: Step, index: int, answer: Json) -> list[Json]:
    if isinstance(answer, str) and step.operator == "project":
        return [answer]
    if not isinstance(answer, list):
        raise step.error(f"'{step.operator}' wants a list, and #{index} is {to_text(answer)}")
    return answer


def _pair(step: Step, item: Json) -> list[Json]:
    if not isinstance(item, list) or len(item) != PAIR:
        raise step.error(f"'{step.operator}' wants pairs, and an item is {to_text(item)}")
    return item


def combine(step: Step, calls: Calls, answers: Sequence[Json]) -> Json:
    """The answer of a step from those of its calls, after its suffixes from left to right."""
    pairs = list(zip(calls.items, answers, strict=True)) if step.operator != "select" else []
    value: Json
    if step.operator == "select":
        (value,) = answers
    elif step.operator == "filter":
        value = [item for item, answer in pairs if _is_true(step, answer)]
    elif step.operator == "projectValues":
        value = [[item[0], answer] for item, answer in pairs]
    elif step.operator == "projectKeys":
        value = [[answer, item[1]] for item, answer in pairs]
    else:
        value = [[item, answer] for item, answer in pairs]
    for suffix in step.suffixes:
        value = SUFFIXES[suffix](step, value)
    return value


def _is_true(step: Step, answer: Json) -> bool:
    word = to_text(answer).strip('"').lower()
    if word not in YES + NO:
        raise step.error(f"'filter' wants answers of yes or no, and one is {to_text(answer)}")
    return word in YES


def _listed(step: Step, value: Json, suffix: str) -> list[Json]:
    if not isinstance(value, list):
        raise step.error(f"suffix '_{suffix}' wants a list, and the answer is {to_text(value)}")
    return value


def _flat(step: Step, value: Json) -> list[Json]:
    found: list[Json] = []
    for item in _listed(step, value, "flat"):
        found += _flat(step, item) if isinstance(item, list) else [item]
    return found


def _unique(step: Step, value: Json) -> list[Json]:
    return list({to_text(item): item for item in _listed(step, value, "unique")}.values())


def _keys(step: Step, value: Json) -> list[Json]:
    return [_pair(step, item)[0] for item in _listed(step, value, "keys")]


def _values(step: Step, value: Json) -> list[Json]:
    return [_pair(step, item)[1] for item in _listed(step, value, "values")]


SUFFIXES: Mapping[str, Callable[[Step, Json], Json]] = {
    "flat": _flat,
    "unique": _unique,
    "keys": _keys,
    "values": _values,
}
"""Flatten, drop repeats but the first, keep the keys or the values of pairs."""


def substitute(question: str, texts: Mapping[int, str]) -> str:
    """A question with a text for each reference; what comes in is not looked at again."""
    return REFERENCE.sub(lambda match: texts[int(match[1])], question)


def to_text(value: Json) -> str:
    """A JSON value as text."""
    return json.dumps(value, ensure_ascii=False)


def _bare(item: Json) -> str:
    """An item as it stands in a question: strings without quotes."""
    return item if isinstance(item, str) else to_text(item)


def to_value(text: str) -> Json:
    """What a handler wrote, as a JSON value; words that are no JSON are a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def replay(node: Node) -> Json:
    """The answer of a trace, computed again from its leaves alone; raises `ProgramError` where it does not fit."""
    if not node.steps:
        return node.answer
    answers: list[Json] = []
    for done in node.steps:
        step = parse(done.text)
        if step is None:
            raise ProgramError(f"step {done.text!r}: an end inside a trace")
        calls = calls_of(step, answers)
        if [(step.handler, question) for question in calls.questions] != [(c.handler, c.question) for c in done.calls]:
            raise step.error("the trace holds other calls than the step makes")
        answers.append(combine(step, calls, [replay(call) for call in done.calls]))
    return answers[-1]


def to_plain(node: Node) -> dict[str, Json]:
    """A trace as plain JSON."""
    steps = [
        {"step": done.text, "answer": done.answer, "calls": [to_plain(call) for call in done.calls]}
        for done in node.steps
    ]
    plain = {"handler": node.handler, "question": node.question, "answer": node.answer}
    return {**plain, "steps": steps} if steps else plain


def from_plain(plain: Mapping[str, Json]) -> Node:
    """The inverse of `to_plain`."""
    steps = (
        Done(done["step"], done["answer"], tuple(from_plain(call) for call in done["calls"]))
        for done in plain.get("steps", ())
    )
    return Node(plain["handler"], plain["question"], plain["answer"], tuple(steps))


def leaves(node: Node) -> Iterator[Node]:
    """Calls that no decomposer answered, in the order in which they were made."""
    if not node.steps:
        yield node
    for done in node.steps:
        for call in done.calls:
            yield from leaves(call)
