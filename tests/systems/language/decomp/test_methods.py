"""Look-ups by a prompted model: what it is shown, and what comes of perfect answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from systems.language.decomp import symbolic
from systems.language.decomp.methods import prompted_look_ups
from systems.language.decomp.prompts import worked
from systems.parts.interpreter import Limits, solve
from systems.parts.programs import Json, to_text, to_value


def parted(text: str) -> tuple[list[str], str]:
    """The sentences of a prompt and its question."""
    *sentences, question = text.removesuffix("\nA: ").split(". ")
    return [f"{sentence}." for sentence in sentences], question


def hop_by_hop(sentences: Sequence[str], question: str) -> Json:
    """A look-up by rule."""
    (outcome,) = solve(symbolic.look_up(sentences, "fine"), "look_up", [question], Limits())
    assert outcome.node is not None
    return outcome.node.answer


class Perfect:
    """Answers by rule from what stands in the prompt; keeps how many sentences it was shown."""

    def __init__(self) -> None:
        self.shown: dict[str, set[int]] = {}

    def complete(self, handler: str, texts: Sequence[str]) -> list[str]:
        answers = []
        for sentences, question in map(parted, texts):
            self.shown.setdefault(handler, set()).add(len(sentences))
            answers.append(
                (hop_by_hop if handler == "whole" else lambda told, q: symbolic.read(q, told))(sentences, question)
            )
        return [to_text(answer) for answer in answers]


def test_a_perfect_model_is_right_hop_by_hop_and_at_once(data: Path) -> None:
    rows = [row for row in pq.read_table(data / "tests.parquet").to_pylist() if row["suite"] == "look_up"]
    context = rows[0]["context"]
    about = [row for row in rows if row["context"] == context]
    model = Perfect()
    for method in prompted_look_ups("perfect", model, context):
        outcomes = solve(method.library, method.entry["look_up"], [row["question"] for row in about], Limits())
        given = [
            set(outcome.node.answer) for outcome in outcomes if outcome.node and isinstance(outcome.node.answer, list)
        ]
        assert given == [set(to_value(row["answer"])) for row in about], method.name
    assert model.shown == {"read": {symbolic.RETRIEVED}, "whole": {len(context)}}


def test_worked_look_ups_are_right() -> None:
    for handler, rule in (("read", lambda told, question: symbolic.read(question, told)), ("whole", hop_by_hop)):
        examples = worked(handler, 0, 8)
        assert len({question for question, _ in examples}) == 8
        for question, answer in examples:
            assert set(to_value(answer)) == set(rule(*parted(question))), question
