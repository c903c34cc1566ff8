"""What is synthesised: the same twice, nothing of the tests in the training, and validation that sees what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.expectations import expect
from stages.run import StageRun
from systems.language.decomp import tasks, validate, words
from systems.language.decomp.prompts import DRAWN, examples
from systems.language.decomp.synthesize import SOURCES, SUBTASKS, held_out
from systems.parts.char_lm import Vocabulary
from systems.parts.errors import UserError
from tests.systems.language.decomp.conftest import make_data


def validated(data: Path, folder: Path) -> None:
    run = StageRun("validate", "decomp", validate.Params(data="decomp"), {"data": data}, folder / "v", folder / "r")
    run.expecter = expect
    run.begin()
    validate.validate(run)


def changed(data: Path, folder: Path, name: str, change: dict[str, Any]) -> Path:
    """A copy of the data set with values of the first row of a table replaced."""
    folder.mkdir()
    for path in data.glob("*.parquet"):
        rows = pq.read_table(path)
        first = {**rows.slice(0, 1).to_pylist()[0], **(change if path.stem == name else {})}
        table = pa.concat_tables([pa.Table.from_pylist([first], schema=rows.schema), rows.slice(1)])
        pq.write_table(table, folder / path.name)
    return folder


def test_one_seed_gives_the_same_bytes_twice_and_another_gives_others(data: Path, tmp_path: Path) -> None:
    again, other = make_data(tmp_path / "again"), make_data(tmp_path / "other", seed=1)
    for name in ("train", "tests", "subtasks"):
        content = (data / f"{name}.parquet").read_bytes()
        assert (again / f"{name}.parquet").read_bytes() == content
        assert (other / f"{name}.parquet").read_bytes() != content


def test_a_good_data_set_is_valid(data: Path, tmp_path: Path) -> None:
    validated(data, tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("tests", {"answer": '"x y"'}, "the stored answer is not what the program computes"),
        ("subtasks", {"answer": '["x"]'}, "the stored answer is not what the program computes"),
        ("train", {"parts": ["given"]}, "a part without its continuation"),
        ("train", {"parts": ["given", "no end"]}, "a model would not learn to stop"),
        ("train", {"source": "nowhere"}, "models are trained by source"),
    ],
)
def test_validation_names_what_is_wrong(
    data: Path, tmp_path: Path, name: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        validated(changed(data, tmp_path / "data", name, change), tmp_path)


def test_a_word_of_the_tests_in_the_training_is_found(data: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    word = next(word for word in iter(lambda: words.word(rng, 4), "") if held_out(word))
    parts = tasks.answered("split", tasks.WORDS.format(words=f"free {word}"), ["free", word])
    with pytest.raises(UserError, match="a word of the tests is trained on"):
        validated(changed(data, tmp_path / "data", "train", {"parts": parts}), tmp_path)


def test_no_task_of_the_training_is_longer_than_three(data: Path) -> None:
    rows = pq.read_table(data / "train.parquet").to_pylist()
    assert {row["source"] for row in rows} == set(SOURCES)
    for row in rows:
        text = "".join(row["parts"])
        if row["source"] in {"program", "direct", "chain"} and "Take the letters" in text:
            named = text.split('of the words in "')[1].split('"')[0]
            assert len(named.split()) <= 3
        if "Reverse the list" in text:
            assert len(json.loads(text.split("Reverse the list ")[1].split(".\n")[0])) <= tasks.BASE


def test_every_text_can_be_written_in_the_vocabulary(data: Path) -> None:
    vocabulary = Vocabulary(tasks.PIECES)
    for row in pq.read_table(data / "train.parquet").to_pylist():
        text = "".join(row["parts"])
        assert vocabulary.decode(vocabulary.encode(text)) == text
    for row in pq.read_table(data / "tests.parquet").to_pylist():
        if not row["context"]:
            assert vocabulary.decode(vocabulary.encode(row["question"])) == row["question"]


def test_the_paper_s_47_nouns() -> None:
    assert len(set(words.NOUNS)) == 47


def test_examples_are_worked_right_and_differ_between_sets() -> None:
    for name in DRAWN:
        shown = examples(name, 0, 3)
        assert shown == examples(name, 0, 3)
        assert shown != examples(name, 1, 3)
        assert "[letter_cat] QC" not in shown
    assert set(SUBTASKS) - {"spell"} <= set(DRAWN)
