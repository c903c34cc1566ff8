"""decompose@decomp: the programs of the test questions, run by every method, with their whole traces.

python -m stages decompose decomp
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.language.decomp import models
from systems.language.decomp.draw import tree
from systems.language.decomp.methods import (
    TRAINED,
    Method,
    prompted_look_ups,
    prompted_methods,
    symbolic_methods,
    trained_methods,
)
from systems.language.decomp.prompts import ChatModel
from systems.parts.chat import Chat, Endpoint
from systems.parts.errors import UserError
from systems.parts.interpreter import Limits, Outcome, solve
from systems.parts.programs import from_plain, to_plain, to_text, to_value
from systems.parts.run import Run, Strict

Backend = Literal["symbolic", "trained", "local", "hosted"]
RUNS = pa.schema(
    [
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("id", pa.string()),
        ("suite", pa.string()),
        ("size", pa.int64()),
        ("answer", pa.string()),
        ("given", pa.string()),
        ("error", pa.string()),
        ("trace", pa.string()),
    ]
)
"""`answer` is the true one, `given` that of the method, both JSON; `trace` is JSON and empty where `error` is not."""
Row = dict[str, Any]


class Params(Strict):
    """Parameters of the runs."""

    data: str = Field(description="data set whose questions are asked, as decomp")
    model: str = Field(default="", description="trained models, as decomp; empty without backend trained")
    weights: str = Field(default="", description="fetched language model, as smollm2; empty without backend local")
    backends: tuple[Backend, ...] = Field(default=("symbolic", "trained"), description="who answers")
    steps: int = Field(default=10, gt=0, description="steps of one program at most")
    depth: int = Field(default=20, gt=0, description="programs inside each other at most")
    learned_lists: bool = Field(default=False, description="halve and join by the trained handlers too")
    local_questions: int = Field(default=8, gt=0, description="questions of the local model: the first two-word ones")
    local_contexts: int = Field(default=1, ge=0, description="sets of facts whose look-ups it is asked too")
    prompt_sets: tuple[int, ...] = Field(default=(0,), min_length=1, description="sets of worked examples, a seed each")
    hosted_questions: int = Field(default=200, gt=0, description="questions a suite and size for the hosted model")
    endpoint: Endpoint = Field(default=Endpoint(), description="where the hosted model answers")


def decompose(run: Run[Params]) -> None:
    """Write `<method>-<seed>.parquet`, the answers to sub-questions, and two traces as trees."""
    tests = pq.read_table(run.inputs["data"] / "tests.parquet").to_pylist()
    writers = {"symbolic": by_rule, "trained": by_training, "local": by_local_model, "hosted": by_endpoint}
    for backend in run.params.backends:
        writers[backend](run, tests)
    draw(run)


def by_rule(run: Run[Params], tests: Sequence[Row]) -> None:
    """The symbolic library, a context at a time for the look-ups."""
    found: dict[str, list[Row]] = defaultdict(list)
    for context, rows in by_context(tests).items():
        for method in symbolic_methods(context):
            found[method.name] += answers(run, method, 0, rows)
    for name, rows in found.items():
        write(run.output, name, 0, rows)


def by_context(tests: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Questions by the facts they are about; those that are about none under none."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in tests:
        groups[tuple(row["context"])].append(row)
    return groups


def by_training(run: Run[Params], tests: Sequence[Row]) -> None:
    """Every method of every seed, and the handlers' own answers to sub-questions."""
    folder = run.inputs.get("model")
    if folder is None:
        raise UserError("parameter model is empty: backend 'trained' needs the folder of trained models")
    saved = models.read_saved(folder)
    subtasks = pq.read_table(run.inputs["data"] / "subtasks.parquet").to_pylist()
    for seed in run.track(models.seeds_of(saved, TRAINED), "seeds"):
        own = {
            name: models.load(folder, saved, f"{name}-{seed}") for name in saved.models if seed in saved.models[name]
        }
        for method in trained_methods(own, run.params.learned_lists):
            write(run.output, method.name, seed, answers(run, method, seed, tests))
        write(run.output, "handlers", seed, list(sub_answers(own["handlers"], seed, subtasks)))


def sub_answers(model: models.CharModel, seed: int, subtasks: Sequence[Row]) -> Iterator[Row]:
    """Each handler alone on held-out sub-questions."""
    for name in dict.fromkeys(row["suite"] for row in subtasks):
        rows = [row for row in subtasks if row["suite"] == name]
        texts = models.handler(model, name)([row["question"] for row in rows])
        for row, text in zip(rows, texts, strict=True):
            yield {**known(row, "handlers", seed), "given": to_text(to_value(text)), "error": "", "trace": ""}


def by_local_model(run: Run[Params], tests: Sequence[Row]) -> None:
    """The packaged language model, on few questions: it takes seconds a sentence."""
    from systems.language.decomp.local_lm import LocalModel

    folder = run.inputs.get("weights")
    if folder is None:
        raise UserError("parameter weights is empty: backend 'local' needs the folder of a fetched language model")
    if not any(folder.glob("*.gguf")):
        print(f"decompose: backend 'local' is left out: {folder} holds no model", file=sys.stderr)
        return
    few = [row for row in tests if row["suite"] == "letters" and row["size"] == min(sizes(tests, "letters"))]
    model = LocalModel(folder)
    found: dict[str, list[Row]] = defaultdict(list)
    for method in prompted_methods("smollm2", model, hierarchy=False):
        found[method.name] += answers(run, method, 0, few[: run.params.local_questions])
    looked_up = by_context([row for row in tests if row["suite"] == "look_up"])
    for context, rows in islice(looked_up.items(), run.params.local_contexts):
        for method in prompted_look_ups("smollm2", model, context):
            found[method.name] += answers(run, method, 0, rows)
    for name, rows in found.items():
        write(run.output, name, 0, rows)


def by_endpoint(run: Run[Params], tests: Sequence[Row]) -> None:
    """A hosted model, a prompt set after the other."""
    chat = Chat(run.params.endpoint)
    most = run.params.hosted_questions
    some = [row for row in tests if row["suite"] != "look_up" and int(row["id"].rsplit("-", 1)[-1]) < most]
    for prompt_set in run.params.prompt_sets:
        for method in prompted_methods("hosted", ChatModel(chat, prompt_set), hierarchy=True):
            write(run.output, method.name, prompt_set, answers(run, method, prompt_set, some))


def sizes(tests: Sequence[Row], suite: str) -> list[int]:
    """Sizes of a suite."""
    return sorted({row["size"] for row in tests if row["suite"] == suite})


def answers(run: Run[Params], method: Method, seed: int, tests: Sequence[Row]) -> list[Row]:
    """Rows of `RUNS`: what a method makes of the questions that are for it."""
    limits = Limits(steps=run.params.steps, depth=run.params.depth)
    found: list[Row] = []
    for suite, asked in method.entry.items():
        rows = [row for row in tests if row["suite"] == suite]
        outcomes = solve(method.library, asked, [row["question"] for row in rows], limits)
        found += [{**known(row, method.name, seed), **given(out)} for row, out in zip(rows, outcomes, strict=True)]
    return found


def known(row: Row, method: str, seed: int) -> Row:
    """What is known of a question before it is asked."""
    return {"method": method, "seed": seed, **{name: row[name] for name in ("id", "suite", "size", "answer")}}


def given(outcome: Outcome) -> Row:
    """What came of it."""
    if outcome.node is None:
        return {"given": "", "error": outcome.error, "trace": ""}
    return {"given": to_text(outcome.node.answer), "error": "", "trace": to_text(to_plain(outcome.node))}


def write(folder: Path, method: str, seed: int, rows: Sequence[Row]) -> None:
    """One file a method and seed."""
    table = pa.Table.from_pylist(list(rows), schema=RUNS)
    pq.write_table(table, folder / f"{method.replace(' ', '_')}-{seed}.parquet")


def draw(run: Run[Params]) -> None:
    """The trace of one letter concatenation and of one recursive reversal, by the best method there is."""
    found = pa.concat_tables(pq.read_table(path) for path in sorted(run.output.glob("*.parquet")))
    run.metric("runs", found.num_rows)
    run.metric("failed runs", sum(bool(error) for error in found["error"].to_pylist()))
    for suite, size, words in (("letters", 3, "a letter concatenation"), ("reverse", 8, "a recursive reversal")):
        rows = [row for row in found.to_pylist() if row["suite"] == suite and '"steps"' in row["trace"]]
        if rows:
            best = min(rows, key=lambda row: (row["given"] != row["answer"], abs(row["size"] - size), row["method"]))
            node = from_plain(to_value(best["trace"]))
            run.figure(
                f"trace-{suite}", tree(node), f"Every call made for {words} ({best['method']}), with its answer."
            )
