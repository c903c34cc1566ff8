"""What was done before a run ended is not done again, and the results are those of a run that was never ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stages.run import StageRun
from systems.parts.resumed import map_resumed
from systems.parts.run import Strict

ITEMS = {f"part-{number}": number for number in range(6)}


class Work:
    """Squares, until it is killed at one of them."""

    def __init__(self, killed_at: int) -> None:
        self.killed_at = killed_at
        self.done: list[int] = []

    def __call__(self, inputs: Mapping[str, Path], item: int) -> bytes:
        if item == self.killed_at:
            raise KeyboardInterrupt
        self.done.append(item)
        return f"{inputs['data'].name} {item**2}".encode()


def run_in(folder: Path) -> StageRun[Strict]:
    return StageRun("decompose", "toy", Strict(), {"data": folder}, folder / "o", folder / "r", work=folder / "work")


def test_a_run_goes_on_where_another_was_ended(tmp_path: Path) -> None:
    for killed_at, done in ((2, [0, 1]), (5, [2, 3, 4])):
        work = Work(killed_at)
        with pytest.raises(KeyboardInterrupt):
            map_resumed(run_in(tmp_path), work, ITEMS, "squares", ["data"])
        assert work.done == done
    work = Work(-1)
    paths = map_resumed(run_in(tmp_path), work, ITEMS, "squares", ["data"])
    assert work.done == [5]
    assert [path.name for path in paths] == list(ITEMS)
    assert [path.read_text() for path in paths] == [f"{tmp_path.name} {item**2}" for item in ITEMS.values()]


def test_a_result_that_was_not_written_whole_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".part-1.partial").write_text("half")
    paths = map_resumed(run_in(tmp_path), Work(-1), ITEMS, "squares", ["data"])
    assert paths[1].read_text() == f"{tmp_path.name} 1"
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == list(ITEMS)
