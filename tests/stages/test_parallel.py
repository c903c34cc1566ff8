"""Work on local processes: results in order, the first error in order, bounded memory, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.execute import command
from stages.parallel import AHEAD, in_order, on_processes
from stages.run import StageRun
from systems.parts.errors import UserError
from systems.parts.run import Strict
from tests.smoke import PROJECT


def slow_first(item: int) -> tuple[int, int]:
    """An item, the sooner the later it comes, and who worked on it."""
    time.sleep(0.2 / (1 + item))
    return item, os.getpid()


def faulty(item: int) -> int:
    """An item; of those that fail, the first takes longest to do so."""
    if item == 3:
        time.sleep(0.5)
        raise ZeroDivisionError("item 3 comes first")
    if item > 3:
        raise ValueError(f"item {item}")
    return item


def refuse(_inputs: Mapping[str, Path], item: int) -> int:
    """A user's error at item 2."""
    if item == 2:
        raise UserError(f"item {item}:\n1 is allowed")
    return item


def asleep(item: int) -> int:
    """Long work; but for item 0, who does it writes its process number first."""
    if item:
        Path(f"{os.getpid()}.worker").touch()
        time.sleep(600)
    return item


def read(inputs: Mapping[str, Path], item: int) -> str:
    """What the inputs hold."""
    return f"{sorted(inputs)} {inputs['data'].read_text()} {item}"


@given(st.integers(0, 30), st.lists(st.integers(-1, 5), min_size=1, max_size=5))
def test_results_keep_their_order_and_no_more_items_than_there_is_room_for_are_ahead(
    count: int, rooms: list[int]
) -> None:
    """Room may change at any time, to nothing too: then work goes on one by one."""
    room = deque(rooms)
    taken = 0
    given_out: list[int] = []

    def submit(item: int) -> int:
        given_out.append(item)
        assert len(given_out) - taken <= max(1, *rooms)
        return item

    def now() -> int:
        room.rotate()
        return room[0]

    for result in in_order(range(count), submit, lambda item: -item, now):
        assert result == -taken
        taken += 1
    assert (taken, given_out) == (count, list(range(count)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_results(count: int) -> None:
    before = set(multiprocessing.active_children())
    results, workers = zip(*on_processes(count, slow_first, range(12)), strict=True)
    assert results == tuple(range(12))
    assert (os.getpid() in workers) == (count == 1)
    assert set(multiprocessing.active_children()) <= before


def test_items_are_taken_no_faster_than_results_are() -> None:
    taken = 0

    def items() -> Iterator[int]:
        for item in range(20):
            assert item - taken < 2 * AHEAD
            yield item

    for _ in on_processes(2, slow_first, items()):
        taken += 1
    assert taken == 20


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_in_order_ends_all_and_keeps_its_traceback(count: int) -> None:
    before, results = set(multiprocessing.active_children()), list[int]()
    with pytest.raises(ZeroDivisionError, match="item 3 comes first") as caught:
        results.extend(on_processes(count, faulty, range(20)))
    assert "in faulty" in "".join(traceback.format_exception(caught.value))
    assert results == [0, 1, 2]
    assert set(multiprocessing.active_children()) <= before


def run_of(folder: Path) -> StageRun[Strict]:
    """A stage with one input and two processes."""
    (folder / "data").write_text("seen")
    inputs = {"data": folder / "data", "model": folder / "model"}
    return StageRun("synthesize", "alphablend", Strict(), inputs, folder / "f", folder / "r", 2, quiet=True)


def test_a_stage_maps_with_the_inputs_it_asks_for(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for alone in (False, True):
        found = list(run.map(read, range(3), "read", reads=["data"], alone=alone))
        assert found == [f"['data'] seen {item}" for item in range(3)]


def test_work_that_uses_every_core_itself_stays_in_this_process(tmp_path: Path) -> None:
    own = SimpleNamespace(calls=0)

    def count(_inputs: Mapping[str, Path], item: int) -> int:
        own.calls += 1
        return item

    assert list(run_of(tmp_path).map(count, range(3), "count", alone=True)) == [0, 1, 2]
    assert own.calls == 3


def test_a_users_error_at_a_worker_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lambda _: list(run_of(tmp_path).map(refuse, range(9), "refuse")) and None, []) == 2
    assert capsys.readouterr().err == "delaminate: item 2: 1 is allowed\n"


def test_a_stage_that_stops_taking_results_ends_its_processes(tmp_path: Path) -> None:
    before, run = set(multiprocessing.active_children()), run_of(tmp_path)
    results = run.map(refuse, [0, 1, 1, 1, 1, 1, 1], "refuse")
    assert next(results) == 0
    assert set(multiprocessing.active_children()) - before
    run.stop()
    assert set(multiprocessing.active_children()) <= before


def alive(process: int) -> bool:
    """Whether a process still runs."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    """Only the parent is told, as by `kill`; Ctrl-C, which tells the children too, is left to it by them."""
    code = "import signal; from stages.parallel import on_processes; from tests.stages.test_parallel import asleep\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell in the background has it ignored
    code += "if __name__ == '__main__': list(on_processes(2, asleep, range(9)))"
    (tmp_path / "script.py").write_text(code)
    variables = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=variables, stderr=subprocess.PIPE) as parent:
        while len(list(tmp_path.glob("*.worker"))) < 2:
            assert parent.poll() is None
            time.sleep(0.1)
        workers = [int(path.stem) for path in tmp_path.glob("*.worker")]
        for process in [*workers, parent.pid] if sent == signal.SIGINT else [parent.pid]:
            os.kill(process, sent)
        words = parent.communicate()[1].decode()
    assert parent.returncode == -sent
    assert ("KeyboardInterrupt" in words) == (sent == signal.SIGINT)
    while any(alive(worker) for worker in workers):
        time.sleep(0.1)
