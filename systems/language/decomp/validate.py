"""validate@decomp: every stored answer is computed again by rule, and no training text holds what the tests ask.

python -m stages validate decomp
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.language.decomp import symbolic
from systems.language.decomp.synthesize import SOURCES, held_out
from systems.parts.expectations import column
from systems.parts.interpreter import Library, solve
from systems.parts.programs import Json, to_text, to_value
from systems.parts.run import Expectation, Run, Strict

ENTRY = {"letters": "letter_cat", "reverse": "reverse", "long": "str_position", "look_up": "look_up"}
"""Who is asked the questions of a suite."""
QUOTED = re.compile(r'(?:words in|positions in|position \d in|position \d of|of) "([a-z ]+)"')


class Params(Strict):
    """What is validated."""

    data: str = Field(description="data set below data/, as decomp")


def validate(run: Run[Params]) -> None:
    """Check the training texts and both sets of test questions."""
    folder = run.inputs["data"]
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in ("train", "tests", "subtasks")}
    texts = pa.Table.from_pylist([text_facts(row) for row in tables["train"].to_pylist()])
    run.expect("texts", texts, TEXTS)
    for name in ("tests", "subtasks"):
        run.expect(name, pa.Table.from_pylist(list(computed(tables[name]))), QUESTIONS)
    sizes = [{"suite": suite, "sizes": n} for suite, n in sorted(_sizes(tables["tests"]).items())]
    run.table("suites", pa.Table.from_pylist(sizes))


def _sizes(tests: pa.Table) -> dict[str, int]:
    pairs = set(zip(tests["suite"].to_pylist(), tests["size"].to_pylist(), strict=True))
    return {suite: sum(1 for name, _ in pairs if name == suite) for suite in {name for name, _ in pairs}}


def text_facts(row: dict[str, Any]) -> dict[str, Any]:
    """A training text with what can be wrong with it."""
    parts = row["parts"]
    named = [word for part in parts for found in QUOTED.findall(part) for word in found.split()]
    return {
        "id": row["id"],
        "source": row["source"],
        "parts": len(parts) % 2,
        "ends": all(part.endswith("\n") for part in parts[1::2]),
        "held_out": sum(map(held_out, named)),
    }


def computed(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Test questions with the answers that the symbolic handlers give."""
    rows = table.to_pylist()
    groups: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["suite"], tuple(row["context"])), []).append(row)
    for (suite, context), some in groups.items():
        library: Library = symbolic.look_up(context, "fine") if context else symbolic.library()
        outcomes = solve(library, ENTRY.get(suite, suite), [row["question"] for row in some])
        for row, outcome in zip(some, outcomes, strict=True):
            found = outcome.node.answer if outcome.node else outcome.error
            stored = canonical(suite, to_value(row["answer"]))
            yield {"id": row["id"], "suite": suite, "answer": stored, "computed": canonical(suite, found)}


def canonical(suite: str, answer: Json) -> str:
    """An answer as text by which it is compared; those of look-ups are sets."""
    return to_text(sorted(answer) if suite == "look_up" and isinstance(answer, list) else answer)


TEXTS = [
    column("values_to_be_unique", "id", "an id names one text"),
    column("values_to_be_in_set", "source", "models are trained by source", value_set=list(SOURCES)),
    column("values_to_be_in_set", "parts", "a part without its continuation", value_set=[0]),
    column("values_to_be_in_set", "ends", "a model would not learn to stop", value_set=[True]),
    column("values_to_be_in_set", "held_out", "a word of the tests is trained on", value_set=[0]),
]
QUESTIONS = [
    column("values_to_be_unique", "id", "an id names one question"),
    Expectation(
        type="expect_column_pair_values_to_be_equal",
        kwargs={"column_A": "answer", "column_B": "computed"},
        why="the stored answer is not what the program computes",
    ),
]
