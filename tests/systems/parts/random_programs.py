"""Random programs over symbolic handlers, with a direct evaluation in Python that knows nothing of the interpreter."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from systems.parts.interpreter import Draft, Guess, Library

Json = Any

LEAVES: dict[str, Callable[[str], Json]] = {
    "upper": lambda text: text.upper(),
    "letters": list,
    "pairs": lambda text: [[letter, place] for place, letter in enumerate(text)],
    "long": lambda text: "yes" if len(text) % 2 else "no",
    "size": len,
    "nested": lambda text: [[text], [text, [text[:1]]]],
}


@dataclass
class Line:
    """A step and its answer by direct evaluation."""

    text: str
    answer: Json


def bare(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def flat(value: Json) -> list[Json]:
    return [leaf for item in value for leaf in (flat(item) if isinstance(item, list) else [item])]


def unique(value: list[Json]) -> list[Json]:
    kept: list[Json] = []
    for item in value:
        if not any(json.dumps(item) == json.dumps(other) for other in kept):
            kept.append(item)
    return kept


def is_pairs(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) and len(item) == 2 for item in value)


SUFFIXES: dict[str, tuple[Callable[[Json], bool], Callable[[Json], Json]]] = {
    "flat": (lambda value: isinstance(value, list), flat),
    "unique": (lambda value: isinstance(value, list), unique),
    "keys": (is_pairs, lambda value: [item[0] for item in value]),
    "values": (is_pairs, lambda value: [item[1] for item in value]),
}


class Writer:
    """Writes programs that are valid, and evaluates each line as it goes.

    A question starts with the depth it is asked at, so that no program asks itself what it is asked.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not a secret
        self.programs: dict[tuple[str, str], list[Line]] = {}
        self.used: set[str] = set()

    def program(self, handler: str, question: str, depth: int) -> Json:
        """Write the program with which `handler` answers a question; returns its answer."""
        if (handler, question) not in self.programs:
            self.programs[handler, question] = lines = []
            for _ in range(self.random.randint(1, 4)):
                lines.append(self.line([line.answer for line in lines], question, depth))
        return self.programs[handler, question][-1].answer

    def line(self, answers: Sequence[Json], word: str, depth: int) -> Line:
        """One step on earlier answers, or on a word."""
        lists = [place for place, answer in enumerate(answers) if isinstance(answer, list)]
        pairs = [place for place in lists if is_pairs(answers[place]) and answers[place]]
        strings = [place for place, answer in enumerate(answers) if isinstance(answer, str)]
        kinds = ["select"] * 2 + ["project"] * 3 * bool(lists or strings) + ["filter"] * bool(lists)
        kinds += ["filter2"] * (len(lists) > 1) + ["projectValues", "projectKeys"] * bool(pairs)
        kind = self.random.choice(kinds)
        self.used.add(kind)
        if kind == "select":
            return self.select(answers, word, depth)
        if kind.startswith("filter"):
            return self.filtered(answers, lists, two=kind == "filter2")
        place = self.random.choice(pairs if kind != "project" else [*lists, *strings])
        handler = self.handler(depth)
        items = [answers[place]] if isinstance(answers[place], str) else answers[place]
        which = {"project": None, "projectValues": 1, "projectKeys": 0}[kind]
        shown = [item if which is None else item[which] for item in items]
        given = [self.answer(handler, f"<{depth} {bare(item)}>", depth) for item in shown]
        value: Json = [[item, answer] for item, answer in zip(items, given, strict=True)]
        if which is not None:
            value = [[answer, i[1]] if which == 0 else [i[0], answer] for i, answer in zip(items, given, strict=True)]
        value, suffix = self.suffixed(value)
        return Line(f"({kind}{suffix}) [{handler}] <{depth} #{place + 1}>", value)

    def select(self, answers: Sequence[Json], word: str, depth: int) -> Line:
        handler = self.handler(depth)
        places = [place for place in range(len(answers)) if self.random.random() < 0.6]
        question = " ".join([f"{depth} {word[:6]}|", *(f"#{place + 1}" for place in places)])
        full = " ".join([f"{depth} {word[:6]}|", *(json.dumps(answers[place]) for place in places)])
        value, suffix = self.suffixed(self.answer(handler, full, depth))
        shown = f"(select{suffix}) " if suffix or self.random.random() < 0.5 else ""
        return Line(f"{shown}[{handler}] {question}", value)

    def filtered(self, answers: Sequence[Json], lists: Sequence[int], two: bool) -> Line:
        place, *rest = self.random.sample(list(lists), 2 if two else 1)
        extra = f" #{rest[0] + 1}" if rest else ""
        full = f" {json.dumps(answers[rest[0]])}" if rest else ""
        kept = [item for item in answers[place] if LEAVES["long"](f"{bare(item)}{full}") == "yes"]
        value, suffix = self.suffixed(kept)
        target = f"(#{place + 1})" if rest else ""
        return Line(f"(filter{target}{suffix}) [long] #{place + 1}{extra}", value)

    def suffixed(self, value: Json) -> tuple[Json, str]:
        suffix = ""
        for _ in range(self.random.randint(0, 2)):
            name = self.random.choice(list(SUFFIXES))
            fits, apply = SUFFIXES[name]
            if fits(value):
                value, suffix = apply(value), f"{suffix}_{name}"
                self.used.add(name)
        return value, suffix

    def handler(self, depth: int) -> str:
        if depth and self.random.random() < 0.3:
            self.used.add("nested")
            return self.random.choice(("inner", "self"))
        return self.random.choice(list(LEAVES))

    def answer(self, handler: str, question: str, depth: int) -> Json:
        return LEAVES[handler](question) if handler in LEAVES else self.program(handler, question, depth - 1)

    def library(self) -> Library:
        """Leaves that answer, and decomposers that read the programs out line by line."""

        def reading(name: str) -> Callable[[Sequence[Draft]], list[list[Guess]]]:
            def step(draft: Draft) -> str:
                lines = [line.text for line in self.programs[name, draft.question]]
                return [*lines, "[EOQ]"][len(draft.steps)]

            return lambda drafts: [[Guess(step(draft))] for draft in drafts]

        def leaf(name: str) -> Callable[[Sequence[str]], list[str]]:
            return lambda questions: [json.dumps(LEAVES[name](question)) for question in questions]

        return Library({name: leaf(name) for name in LEAVES}, {name: reading(name) for name in ("self", "inner")})
