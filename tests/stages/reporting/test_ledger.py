"""The ledger shows every check: held, failed, or not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.reporting import ledger

ASKED = [
    {"id": "4.1", "kind": "test", "statement": "first"},
    {"id": "4.6", "kind": "hold", "statement": "second"},
    {"id": "4.7", "kind": "test", "statement": "third"},
]
FAILING = {
    "id": "4.6",
    "statement": "share",
    "kind": "hold",
    "value": 0.8,
    "op": "<=",
    "bound": 0.7,
    "seeds": 3,
    "holds": False,
}


def test_every_check_has_its_rows_and_a_missing_one_says_so() -> None:
    tests = {"4.1": {"test_holds_4_1_a_thing": "passed", "test_holds_4_1_another": "failed"}}
    rows = list(ledger.checks(ASKED, [FAILING], tests))
    assert [(row["id"], row["holds"]) for row in rows] == [("4.1", True), ("4.1", False), ("4.6", False), ("4.7", None)]
    assert rows[0]["statement"] == "a thing"
    assert rows[2] == FAILING


def test_a_skipped_test_counts_as_not_run() -> None:
    assert ledger.tested("4.1", "test_holds_4_1_x", "skipped")["holds"] is None


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the results of one evaluation."""
    folder = tmp_path / "reports" / "evaluate" / "diffdecompose"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"headline/background RMSE: one sample": 25.5}))
    (folder / "holds.json").write_text(json.dumps([FAILING]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_entry_of_a_card_follows_the_schema(results: Path) -> None:
    row = ledger.build("small")["diffdecompose"]
    assert set(row) == {"system", "name", "track", "scale", "published", "measured", "checks"}
    assert (row["system"], row["track"], row["scale"]) == ("04", "image_layers", "small")
    assert row["measured"] == {"headline/background RMSE: one sample": 25.5}
    assert {check["id"] for check in row["checks"]} == {f"4.{number}" for number in range(1, 8)}
    keys = {"id", "statement", "kind", "value", "op", "bound", "seeds", "holds"}
    assert all(set(check) == keys for check in row["checks"])


def test_the_page_of_docs_marks_what_fails_and_what_was_not_run(results: Path) -> None:
    text = ledger.markdown(ledger.build("small").values())
    assert "| 4.6 | share | hold | 0.8 | <= 0.7 | 3 | FAILS |" in text
    assert "not run" in text
    assert "3.232" in text
