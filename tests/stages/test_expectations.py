"""Great Expectations behind `run.expect`: what a violation says, and what is left to look at."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest

from stages.expectations import expect
from stages.run import StageRun
from systems.parts.errors import UserError
from systems.parts.run import Expectation, Strict

SMALL = Expectation(
    type="expect_column_values_to_be_between", kwargs={"column": "size", "max_value": 5}, why="large ones do not fit"
)
UNIQUE = Expectation(type="expect_column_values_to_be_unique", kwargs={"column": "id"}, why="ids name one row")
SAME = Expectation(
    type="expect_column_pair_values_to_be_equal", kwargs={"column_A": "size", "column_B": "twin"}, why="twins differ"
)
COLUMNS = Expectation(type="expect_column_to_exist", kwargs={"column": "colour"}, why="readers rely on it")


@pytest.fixture
def run(tmp_path: Path) -> StageRun[Strict]:
    """A validating run on an empty folder."""
    reports = tmp_path / "reports" / "validate" / "toy"
    return StageRun("validate", "toy", Strict(), {}, tmp_path / "unused", reports, expecter=expect)


def table(*sizes: int) -> pa.Table:
    """Rows `a`, `b`, ... with a size, an equal twin, a list and a picture each."""
    image = [{"bytes": b"pixels", "path": None}] * len(sizes)
    return pa.table(
        {
            "id": pa.array([chr(ord("a") + i) for i in range(len(sizes))], pa.string()),
            "size": pa.array(sizes, pa.int64()),
            "twin": pa.array(sizes, pa.int64()),
            "parts": pa.array([[size] for size in sizes], pa.list_(pa.int64())),
            "image": pa.array(image, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        }
    )


def test_a_table_that_holds_is_counted_and_documented(run: StageRun[Strict], tmp_path: Path) -> None:
    run.expect("sizes", table(1, 2, 3), [SMALL, UNIQUE, SAME])
    assert run.metrics == {"sizes/expectations": 3, "sizes/rows": 3}
    docs = tmp_path / "reports" / "data_docs" / "toy" / "sizes"
    pages = "".join(page.read_text() for page in docs.rglob("*.html"))
    assert "sizes" in (docs / "index.html").read_text()
    assert SMALL.why in pages


def test_a_violation_names_expectation_reason_and_rows(run: StageRun[Strict], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run.expect("sizes", table(1, 7, 3, 9), [UNIQUE, SMALL, COLUMNS])
    message = str(caught.value)
    assert "\n" not in message
    assert "table sizes violates expect_column_values_to_be_between(column='size', max_value=5)" in message
    assert "large ones do not fit; 2 of 4 rows, first by id: b, d; 1 other" in message
    assert str(tmp_path / "reports" / "data_docs" / "toy" / "sizes-failing.csv") in message
    assert str(tmp_path / "reports" / "data_docs" / "toy" / "sizes" / "index.html") in message
    assert run.metrics == {}


def test_every_failing_row_of_every_expectation_is_in_the_csv(run: StageRun[Strict], tmp_path: Path) -> None:
    rows = pa.table({"asset_id": ["a", "b", "b"], "id": ["x", "x", "z"], "size": [9, 1, 8], "twin": [9, 2, 8]})
    with pytest.raises(UserError):
        run.expect("sizes", rows, [SMALL, UNIQUE, SAME, COLUMNS])
    with (tmp_path / "reports" / "data_docs" / "toy" / "sizes-failing.csv").open() as file:
        found = [(row["why"], row["asset_id"], row["id"]) for row in csv.DictReader(file)]
    assert found == [
        (SMALL.why, "a", "x"),
        (SMALL.why, "b", "z"),
        (UNIQUE.why, "a", "x"),
        (UNIQUE.why, "b", "x"),
        (SAME.why, "b", "x"),
        (COLUMNS.why, "", ""),
    ]


def test_a_later_success_leaves_no_failing_rows(run: StageRun[Strict], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        run.expect("sizes", table(9), [SMALL])
    run.expect("sizes", table(1), [SMALL])
    assert not (tmp_path / "reports" / "data_docs" / "toy" / "sizes-failing.csv").exists()


def test_a_missing_column_is_a_violation(run: StageRun[Strict]) -> None:
    with pytest.raises(UserError, match='The column "size" in BatchData does not exist'):
        run.expect("sizes", table(1).drop_columns("size"), [SMALL])


def test_an_empty_table_holds_but_for_its_columns(run: StageRun[Strict]) -> None:
    run.expect("sizes", table(), [SMALL, UNIQUE, SAME])
    assert run.metrics == {"sizes/expectations": 3, "sizes/rows": 0}
    with pytest.raises(UserError, match="expect_column_to_exist"):
        run.expect("sizes", table(), [COLUMNS])


def test_an_unknown_expectation_is_our_fault(run: StageRun[Strict]) -> None:
    with pytest.raises(Exception, match="expect_magic") as caught:
        run.expect("sizes", table(1), [Expectation(type="expect_magic", why="none")])
    assert not isinstance(caught.value, UserError)
