"""The local language model's reader, on a folder without one; the model itself is heavy and runs in the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from systems.language.decomp.local_lm import EXAMPLES, PROGRAMS, LocalModel, conversation
from systems.language.decomp.prompts import one_line, worked
from systems.parts.errors import UserError


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no GGUF file"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [(' "a b"\nWhat', '"a b"'), ("QS: [EOQ]", "[EOQ]"), ("\n  \n", ""), ("[split] A: x", "[split] A: x")],
)
def test_one_line_is_read_of_what_a_model_says(answer: str, wanted: str) -> None:
    assert one_line(answer, "QC: q\nQS: ") == wanted


def test_a_question_follows_its_worked_examples_in_turns() -> None:
    said = conversation("letter", 0, 'What is the letter at position 2 in "cat"?\nA: ')
    assert [turn["role"] for turn in said] == ["system", *["user", "assistant"] * EXAMPLES, "user"]
    assert said[-1]["content"] == 'What is the letter at position 2 in "cat"?\nA:'
    question, answer = worked("letter", 0, 1)[0]
    assert [turn["content"] for turn in said[1:3]] == [question.strip(), answer.strip()]


def test_the_steps_of_a_draft_are_the_model_s_own_turns() -> None:
    draft = 'QC: q\nQS: [split] a\nA: ["b"]\nQS: [merge] c\nA: "d"\nQS: '
    said = conversation("letter_cat", 0, draft)
    assert [(turn["role"], turn["content"]) for turn in said[-5:]] == [
        ("user", "QC: q\nQS:"),
        ("assistant", "[split] a"),
        ("user", 'A: ["b"]\nQS:'),
        ("assistant", "[merge] c"),
        ("user", 'A: "d"\nQS:'),
    ]
    programs = worked("letter_cat", 0, PROGRAMS)
    assert len(said) == 1 + sum(map(len, programs)) + 5
    assert [turn["role"] for turn in said[1:]] == [("user", "assistant")[place % 2] for place in range(len(said) - 1)]
