"""Handlers and decomposers that are functions: what a perfect model would answer, and the parts left to code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from rank_bm25 import BM25Okapi

from systems.language.decomp import tasks
from systems.parts.interpreter import Decomposer, Draft, Guess, Handler, Library
from systems.parts.programs import END, Json, to_text

Fields = dict[str, str]
RETRIEVED = 8
"""Sentences a reader is shown."""


def fields(template: str, text: str) -> Fields | None:
    """What stands in the places of a template in a text; none where it does not fit."""
    parts = re.split(r"\{(\w+)\}", template)
    pattern = "".join(f"(?P<{part}>.*)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    match = re.fullmatch(pattern, text, re.DOTALL)
    return match.groupdict() if match else None


def answering(*rules: tuple[str, Callable[[Fields], Json]]) -> Handler:
    """A handler that answers by the first template that fits; to any other question it answers "unknown"."""

    def one(question: str) -> str:
        for template, rule in rules:
            found = fields(template, question)
            if found is not None:
                return to_text(rule(found))
        return to_text("unknown")

    return lambda questions: [one(question) for question in questions]


def listed(text: str) -> list[str]:
    """A JSON list in a question; words that are none are a list of one."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def letter_at(word: str, k: str) -> str:
    """The k-th letter, empty where there is none."""
    return word[int(k) - 1 : int(k)] if k.isdigit() and int(k) else ""


def item_at(found: Fields) -> str:
    """The letter of the spelling item that starts with the number asked for."""
    return next((item[len(found["k"]) :] for item in listed(found["items"]) if item.startswith(found["k"])), "")


def halved(found: Fields, second: bool) -> list[str]:
    """Half of a list; the first one has floor(n / 2) items."""
    items = listed(found["items"])
    return items[len(items) // 2 :] if second else items[: len(items) // 2]


HANDLERS: dict[str, Handler] = {
    "split": answering(
        (tasks.WORDS, lambda found: found["words"].split()), (tasks.SPELL, lambda found: tasks.spelled(found["word"]))
    ),
    "arr_position": answering((tasks.ITEM, item_at)),
    "letter": answering((tasks.LETTER, lambda found: letter_at(found["word"], found["k"]))),
    "merge": answering(
        (tasks.MERGE, lambda found: tasks.DELIMITERS.get(found["delimiter"], " ").join(listed(found["items"])))
    ),
    "base": answering((tasks.REVERSE, lambda found: listed(found["items"])[::-1])),
    "first_half": answering((tasks.FIRST, lambda found: halved(found, second=False))),
    "second_half": answering((tasks.SECOND, lambda found: halved(found, second=True))),
    "join": answering((tasks.JOIN, lambda found: listed(found["items"]) + listed(found["more"]))),
}


def programmed(template: str, write: Callable[[Fields], Sequence[tuple[str, Json]]]) -> Decomposer:
    """A decomposer that knows the worked program of its questions and writes its next step."""

    def step(draft: Draft) -> str:
        found = fields(template, draft.question)
        steps = [text for text, _ in write(found)] if found else []
        return [*steps, END][min(len(draft.steps), len(steps))]

    return lambda drafts: [[Guess(step(draft))] for draft in drafts]


def _letter_cat(letter: str) -> Decomposer:
    def write(found: Fields) -> list[tuple[str, Json]]:
        words = [word.ljust(int(found["k"])) for word in found["words"].split()]
        return tasks.letter_cat_steps(words, int(found["k"]), found["delimiter"], letter)

    return programmed(tasks.LETTER_CAT, write)


def _str_position(found: Fields) -> list[tuple[str, Json]]:
    return tasks.str_position_steps(found["word"].ljust(int(found["k"])), int(found["k"]))


DECOMPOSERS: dict[str, Decomposer] = {
    "letter_cat": _letter_cat("str_position"),
    "letter_cat_flat": _letter_cat("letter"),
    "str_position": programmed(tasks.LETTER, _str_position),
    "reverse": programmed(tasks.REVERSE, lambda found: tasks.reverse_steps(listed(found["items"]))),
}


def library() -> Library:
    """Everything by rule."""
    return Library(HANDLERS, DECOMPOSERS)


READ: tuple[tuple[str, str], ...] = (
    ("Which films did {who} direct?", "{who} directed (.+)\\."),
    ("Who directed {what}?", "(.+) directed {what}\\."),
    ("Who acted in {what}?", "(.+) acted in {what}\\."),
    ("Which prizes did {who} win?", "{who} won the (.+) prize\\."),
)
"""One-hop questions and the sentences that answer them."""
HOPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Which prizes did the films of {who} win?",
        ("[{simple}] Which films did {who} direct?", "(project_values_flat_unique) [{award}] Which prizes did #1 win?"),
    ),
    (
        "Which prizes did the actors in the films of {who} win?",
        (
            "[{simple}] Which films did {who} direct?",
            "(project_values_flat_unique) [{position}] Who acted in #1?",
            "(project_values_flat_unique) [{award}] Which prizes did #2 win?",
        ),
    ),
)
"""Questions of two and three hops and their programs; {simple}, {position} and {award} are the hops' handlers."""
GRAINS = {
    "coarse": {"simple": "qa", "position": "qa", "award": "qa"},
    "fine": {"simple": "simple", "position": "position", "award": "award"},
}


class Retriever:
    """The sentences of a text that share most with a question, by BM25."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = list(sentences)
        self.index = BM25Okapi([_tokens(sentence) for sentence in sentences])

    def best(self, question: str, most: int = RETRIEVED) -> list[str]:
        """At most so many sentences, the best first; ties keep the order of the text."""
        scores = self.index.get_scores(_tokens(question))
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        return [self.sentences[place] for place in order[:most]]


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def read(question: str, sentences: Sequence[str]) -> list[str]:
    """All answers to a one-hop question that the sentences hold."""
    for asked, told in READ:
        found = fields(asked, question)
        if found:
            pattern = told.format(**{name: re.escape(value) for name, value in found.items()})
            matches = (re.fullmatch(pattern, sentence) for sentence in sentences)
            return [match[1] for match in matches if match]
    return []


def look_up(context: Sequence[str], grain: str) -> Library:
    """The multi-hop look-up in a context: retrieve, then read, by one handler for all hops or by one for each."""
    retriever = Retriever(context)

    def reader(questions: Sequence[str]) -> list[str]:
        return [to_text(read(question, retriever.best(question))) for question in questions]

    names = GRAINS[grain]

    def step(draft: Draft) -> str:
        for asked, lines in HOPS:
            found = fields(asked, draft.question)
            if found:
                steps = [line.format(**names, **found) for line in lines]
                return [*steps, END][min(len(draft.steps), len(steps))]
        return END

    handlers: dict[str, Handler] = dict.fromkeys(names.values(), reader)
    return Library(handlers, {"look_up": lambda drafts: [[Guess(step(draft))] for draft in drafts]})
