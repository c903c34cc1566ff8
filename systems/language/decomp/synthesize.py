"""synthesize@decomp: texts to train small models on, and questions longer than any of them.

python -m stages synthesize decomp
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.language.decomp import symbolic, tasks
from systems.language.decomp import words as make
from systems.parts.programs import to_text
from systems.parts.run import Run, Strict
from systems.parts.tables import counted

TEST_SHARE = 5
"""One word in so many is kept for the tests."""
TRAIN = pa.schema([("id", pa.string()), ("source", pa.string()), ("parts", pa.list_(pa.string()))])
"""`parts` of a text are given and to be written in turn."""
TESTS = pa.schema(
    [
        ("id", pa.string()),
        ("suite", pa.string()),
        ("size", pa.int64()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("context", pa.list_(pa.string())),
    ]
)
"""`answer` is JSON; `size` counts words, items, letters or hops; only look-ups have a context, a fact a sentence."""


class Params(Strict):
    """Parameters of the synthesis."""

    seed: int = Field(default=0, ge=0, description="seed of every text")
    texts: int = Field(default=20_000, gt=0, description="training texts a source")
    tests: int = Field(default=200, gt=0, description="questions a suite and size")
    contexts: int = Field(default=10, gt=0, description="sets of facts for the look-ups")
    letters: tuple[int, int] = Field(default=(3, 5), description="letters of a word, least and most")
    long_letters: tuple[int, int] = Field(default=(6, 8), description="letters of the words of suite `long`")
    trained_words: int = Field(default=3, gt=0, description="most words of a task that a model is trained on")
    handled_words: int = Field(default=6, gt=0, description="most words of a sub-task that a model is trained on")
    words: tuple[int, ...] = Field(default=(2, 3, 4, 5), description="words of the test questions")
    items: tuple[int, ...] = Field(default=(4, 6, 8, 10), description="items of the test lists")


def synthesize(run: Run[Params]) -> None:
    """Write train.parquet, tests.parquet and subtasks.parquet (sub-questions by which each handler is tested)."""
    params = run.params
    texts = [
        {"id": f"{source}-{number:06d}", "source": source, "parts": write(params, run.generator(source, number))}
        for source, write in SOURCES.items()
        for number in run.track(range(params.texts), source)
    ]
    train = pa.Table.from_pylist(texts, schema=TRAIN)
    tests = pa.Table.from_pylist(list(test_questions(run)), schema=TESTS)
    subtasks = pa.Table.from_pylist(list(subtask_questions(run)), schema=TESTS)
    for name, table in {"train": train, "tests": tests, "subtasks": subtasks}.items():
        pq.write_table(table, run.output / f"{name}.parquet")
        run.metric(f"{name}/rows", table.num_rows)
    run.table("texts", counted(train, ["source"], "texts"))
    run.table("questions", counted(tests, ["suite", "size"], "questions"))
    shown = [next(text for text in texts if text["source"] == source) for source in SOURCES]
    run.table("samples", pa.table({"source": list(SOURCES), "text": ["".join(text["parts"]) for text in shown]}))


def held_out(word: str) -> bool:
    """Whether a word is for the tests; no training text holds it."""
    return zlib.crc32(word.encode()) % TEST_SHARE == 0


def some_words(rng: np.random.Generator, count: int, letters: tuple[int, int], tested: bool) -> list[str]:
    """Words of the training or of the tests."""
    found: list[str] = []
    while len(found) < count:
        (word,) = make.words(rng, 1, *letters)
        if held_out(word) == tested:
            found.append(word)
    return found


def any_of(rng: np.random.Generator, most: int) -> int:
    """A number of 1 to `most`."""
    return int(rng.integers(1, most + 1))


def details(rng: np.random.Generator, words: list[str]) -> tuple[list[str], int, str]:
    """Words with a position that all of them have, and a delimiter."""
    return words, any_of(rng, min(map(len, words))), list(tasks.DELIMITERS)[int(rng.integers(2))]


def task(params: Params, rng: np.random.Generator, most: int) -> tuple[list[str], int, str]:
    """A letter concatenation of the training with at most so many words."""
    return details(rng, some_words(rng, any_of(rng, most), params.letters, tested=False))


def subtask(params: Params, rng: np.random.Generator) -> tasks.Parts:
    """What the handlers are trained on: each of the sub-questions, alone."""
    handler = list(SUBTASKS)[int(rng.choice(len(SUBTASKS), p=SHARES))]
    return tasks.answered(*SUBTASKS[handler](params, rng, False))


def _split(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:
    words = some_words(rng, any_of(rng, params.handled_words), params.letters, tested)
    return "split", tasks.WORDS.format(words=" ".join(words)), words


def _spell(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:
    (word,) = some_words(rng, 1, (params.letters[0], params.long_letters[1]), tested)
    return "split", tasks.SPELL.format(word=word), tasks.spelled(word)


def _arr_position(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:
    (word,) = some_words(rng, 1, (params.letters[0], params.long_letters[1]), tested)
    k = any_of(rng, len(word))
    return "arr_position", tasks.ITEM.format(k=k, items=to_text(tasks.spelled(word))), word[k - 1]


def _letter(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:
    (word,) = some_words(rng, 1, params.letters, tested)
    k = any_of(rng, len(word))
    return "letter", tasks.LETTER.format(k=k, word=word), word[k - 1]


def _merge(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:  # noqa: ARG001 - no words
    letters = [chr(ord("a") + int(place)) for place in rng.integers(26, size=any_of(rng, params.handled_words))]
    delimiter = list(tasks.DELIMITERS)[int(rng.integers(2))]
    question = tasks.MERGE.format(items=to_text(letters), delimiter=delimiter)
    return "merge", question, tasks.DELIMITERS[delimiter].join(letters)


def _base(params: Params, rng: np.random.Generator, tested: bool) -> tuple[str, str, Any]:  # noqa: ARG001 - no words
    return "base", *tasks.reversal(make.nouns(rng, any_of(rng, tasks.BASE)))


SUBTASKS: dict[str, Callable[[Params, np.random.Generator, bool], tuple[str, str, Any]]] = {
    "split": _split,
    "spell": _spell,
    "arr_position": _arr_position,
    "letter": _letter,
    "merge": _merge,
    "base": _base,
}
SHARES = (0.21, 0.12, 0.28, 0.13, 0.13, 0.13)
"""How often each sub-task is drawn: long ones learn slower, and a look-up, which teaches one letter, slowest."""


def quote(params: Params, rng: np.random.Generator) -> tasks.Parts:
    """The first line of a program alone: quoting words out of a question, which is a sub-task of writing programs."""
    return letter_cat_program(task(params, rng, params.handled_words))[:2]


def program(params: Params, rng: np.random.Generator) -> tasks.Parts:
    """A program of a task of few words, or, one in four, of one letter of a word."""
    if rng.integers(4):
        return letter_cat_program(task(params, rng, params.trained_words))
    (word,) = some_words(rng, 1, (params.letters[0], params.long_letters[1]), tested=False)
    k = any_of(rng, len(word))
    return tasks.program("str_position", tasks.LETTER.format(k=k, word=word), tasks.str_position_steps(word, k))


def letter_cat_program(drawn: tuple[list[str], int, str]) -> tasks.Parts:
    """The program of a drawn task."""
    return tasks.program("letter_cat", tasks.letter_cat(*drawn)[0], tasks.letter_cat_steps(*drawn, "str_position"))


def direct(params: Params, rng: np.random.Generator) -> tasks.Parts:
    """A task of few words or items, answered at once."""
    if is_reversal(rng):
        return tasks.answered("direct", *tasks.reversal(make.nouns(rng, any_of(rng, tasks.BASE))))
    return tasks.answered("direct", *tasks.letter_cat(*task(params, rng, params.trained_words)))


def chain(params: Params, rng: np.random.Generator) -> tasks.Parts:
    """A task of few words or items, with its chain of thought."""
    if is_reversal(rng):
        return tasks.reversal_chain(make.nouns(rng, any_of(rng, tasks.BASE)))
    return tasks.chain(*task(params, rng, params.trained_words))


def is_reversal(rng: np.random.Generator) -> bool:
    """One task in four is a reversal."""
    return bool(rng.integers(4) == 0)


SOURCES: dict[str, Callable[[Params, np.random.Generator], tasks.Parts]] = {
    "subtask": subtask,
    "quote": quote,
    "program": program,
    "direct": direct,
    "chain": chain,
}
"""Kinds of training text."""


def test_questions(run: Run[Params]) -> Iterator[dict[str, Any]]:
    """Rows of `TESTS` of all suites."""
    params = run.params
    for size in params.words:
        for number in range(params.tests):
            rng = run.generator("letters", size, number)
            drawn = details(rng, some_words(rng, size, params.letters, tested=True))
            yield row("letters", size, number, *tasks.letter_cat(*drawn))
    for size in params.items:
        for number in range(params.tests):
            yield row(
                "reverse", size, number, *tasks.reversal(make.nouns(run.generator("reverse", size, number), size))
            )
    for size in range(params.long_letters[0], params.long_letters[1] + 1):
        for number in range(params.tests):
            rng = run.generator("long", size, number)
            ((word,), k, _) = details(rng, some_words(rng, 1, (size, size), tested=True))
            yield row("long", size, number, tasks.LETTER.format(k=k, word=word), word[k - 1])
    yield from look_ups(run)


def look_ups(run: Run[Params]) -> Iterator[dict[str, Any]]:
    """Questions over sets of facts, answered by reading all facts."""
    for number in range(run.params.contexts):
        facts = make.facts(run.generator("facts", number), films=9, people=12)
        context = [
            facts.sentences()[place] for place in run.generator("order", number).permutation(len(facts.sentences()))
        ]
        for director, films in facts.directed.items():
            actors = dict.fromkeys(actor for film in films for actor in facts.acted[film])
            for hops, asked, winners in ((2, symbolic.HOPS[0][0], films), (3, symbolic.HOPS[1][0], list(actors))):
                prizes = dict.fromkeys(prize for winner in winners for prize in facts.awarded.get(winner, []))
                question = asked.format(who=director)
                yield row("look_up", hops, number, question, sorted(prizes), context)


def subtask_questions(run: Run[Params]) -> Iterator[dict[str, Any]]:
    """Sub-questions of every kind over held-out words; the suite is the handler."""
    for number in range(run.params.tests):
        for kind, draw in SUBTASKS.items():
            handler, question, answer = draw(run.params, run.generator("test", kind, number), True)
            yield {**row(handler, 1, number, question, answer), "id": f"{kind}-{number:06d}"}


def row(
    suite: str, size: int, number: int, question: str, answer: Any, context: list[str] | None = None
) -> dict[str, Any]:
    """A row of `TESTS`."""
    name = f"{suite}-{size}-{number:06d}" if context is None else f"{suite}-{size}-{number:06d}-{question[-24:]}"
    known = {"id": name, "suite": suite, "size": size, "question": question}
    return {**known, "answer": to_text(answer), "context": context or []}
