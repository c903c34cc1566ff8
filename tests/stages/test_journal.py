"""Nothing is lost while a server is away, one that is gone costs one call, and what it refuses is set aside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from stages import journal, mlflow_runs, tracking_store
from tests.stages.tracked_runs import (
    NOWHERE,
    Server,
    Silent,
    a_run,
    assert_whole,
    perform,
    runs,
    sync,
    waiting,
)

Patch = pytest.MonkeyPatch


def without_server(patch: Patch, track: Callable[[], object]) -> None:
    """Track something while the server is down; afterwards the project's own database answers."""
    patch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    track()
    patch.delenv("MLFLOW_TRACKING_URI")


def a_run_of_a_name_refused() -> None:
    run = a_run()

    def spoil() -> None:
        assert isinstance(run.tracker, journal.Journal)
        for step in range(3):
            run.tracker.add(kind="metric", key="what?", value=1.0, step=step)
        run.tracker.add(kind="param", key="k" * 300, value="1")

    perform(run, spoil)


def test_what_waited_comes_to_the_run_its_parent_included(
    blank: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    assert "records wait in .work/mlflow-spool" in capsys.readouterr().err
    assert len(waiting()) == 1
    perform(a_run())  # the next stage sends it
    assert not list(journal.SPOOL.iterdir())
    for one in runs():
        assert_whole(one)
    (above,) = runs(mlflow_runs.PIPELINES)
    assert {one.data.tags["mlflow.parentRunId"] for one in runs()} == {above.info.run_id}


def test_a_silent_server_is_asked_once_a_stage(silent: Silent) -> None:
    perform(a_run())
    assert len(silent.connections) == 1
    perform(a_run())  # which finds a run that waits
    assert len(silent.connections) == 2
    assert sync() == 2
    assert len(silent.connections) == 3
    assert mlflow_runs.open_parent("flow") == ""
    assert len(silent.connections) == 4


def test_a_server_that_falls_silent_in_mid_run_is_asked_once_more(silent: Silent, monkeypatch: Patch) -> None:
    address = silent.uri
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    run = a_run()

    def silence() -> None:
        assert isinstance(run.tracker, journal.Journal)
        run.tracker.flush()
        assert run.tracker.line.client is not None
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        run.tracker.line.client = tracking_store.connect()

    perform(run, silence)
    assert len(silent.connections) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync() == 0
    (one,) = runs()
    assert_whole(one)


@pytest.mark.parametrize("away", [False, True])
def test_what_is_refused_is_kept_and_named_and_holds_up_nothing(
    blank: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str], away: bool
) -> None:
    if away:
        without_server(monkeypatch, a_run_of_a_name_refused)
        without_server(monkeypatch, lambda: perform(a_run("evaluate")))
        assert sync() == 0
    else:
        a_run_of_a_name_refused()
        perform(a_run("evaluate"))
    assert not waiting()
    for one in runs():
        assert_whole(one)
    said = [line for line in capsys.readouterr().err.splitlines() if "refuses" in line]
    assert [line.split("refuses ")[1].split(" (")[0] for line in said] == [
        f"param {'k' * 300} of train@toy",
        "metric what? of train@toy",
    ]
    (kept,) = waiting("refused")
    start, *records = journal.read(kept)
    assert start["name"] == "train@toy"
    assert [(one["kind"], one.get("step")) for one in records] == [("param", None), *(("metric", k) for k in range(3))]
    (train,) = (one for one in runs() if one.info.run_name == "train@toy")
    assert train.data.tags[journal.MISSING] == f"metric what?, param {'k' * 300}"


def test_what_was_refused_can_be_sent_again(blank: Path) -> None:
    a_run_of_a_name_refused()
    (kept,) = waiting("refused")
    kept.write_text(kept.read_text().replace("what?", "what").replace("k" * 300, "k"))
    kept.rename(kept.with_suffix(".jsonl"))
    assert sync() == 0
    (one,) = runs()
    assert_whole(one)
    assert (one.data.metrics["what"], one.data.params["k"], one.data.tags[journal.MISSING]) == (1.0, "1", "")
    assert not list(journal.SPOOL.iterdir())


def test_a_file_that_is_gone_holds_up_nothing(blank: Path, monkeypatch: Patch) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    for copy in journal.SPOOL.rglob("note.txt"):
        copy.unlink()
    assert sync() == 0
    (kept,) = waiting("refused")
    assert [one["kind"] for one in journal.read(kept)[1:]] == ["artifact"]
    assert [one.info.status for one in runs()] == ["FINISHED"]


def test_a_run_that_cannot_be_made_is_kept_whole(
    blank: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    (first,) = waiting()
    before = first.read_text()
    first.write_text(before.replace('"experiment": "toys"', f'"experiment": "{"t" * 600}"'))
    without_server(monkeypatch, lambda: perform(a_run("evaluate")))
    assert sync() == 0
    assert [one.info.run_name for one in runs()] == ["evaluate@toy"]
    assert "gives train@toy no run (" in capsys.readouterr().err
    (kept,) = waiting("refused")
    kept.write_text(before)
    kept.rename(first)
    assert sync() == 0
    assert len(runs()) == 2
    for one in runs():
        assert_whole(one)


def test_a_server_that_fails_over_one_run_takes_the_others(blank: Path, monkeypatch: Patch) -> None:
    for _ in range(3):
        without_server(monkeypatch, lambda: perform(a_run()))
    poison, log = waiting()[0].stem, MlflowClient.log_artifact

    def fail(client: MlflowClient, run_id: str, path: str, folder: str) -> None:
        if poison in path:
            raise RestException({"error_code": "INTERNAL_ERROR", "message": "no room"})
        log(client, run_id, path, folder)

    with monkeypatch.context() as failing:
        failing.setattr(MlflowClient, "log_artifact", fail)
        assert [sync() for _ in range(3)][-1] == 1
        assert [path.stem for path in waiting()] == [poison]
    assert sync() == 0
    assert len(runs()) == 3


def test_an_interrupt_in_mid_call_loses_nothing(blank: Path, monkeypatch: Patch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = a_run()
    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        perform(run, lambda: interrupted.setattr(MlflowClient, "log_batch", interrupt))
    assert len(waiting()) == 1
    assert sync() == 0
    (one,) = runs()
    client = MlflowClient(tracking_store.uri())
    points = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == run.curves["loss"]
    assert one.info.status == "KILLED"


def test_lines_that_a_full_disk_cut_hold_up_nothing(blank: Path, monkeypatch: Patch) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    (path,) = waiting()
    lines = path.read_text().splitlines(keepends=True)
    lines[5:7] = [lines[5][:20] + lines[6]]
    path.write_text("".join(lines))
    without_server(monkeypatch, lambda: perform(a_run("evaluate")))
    assert sync() == 0
    (kept,) = waiting("refused")
    assert [one["line"] for one in journal.read(kept)[1:]] == [lines[5].rstrip("\n")]
    assert sorted(one.info.status for one in runs()) == ["FINISHED"] * 2


@pytest.mark.parametrize("left", ["", "half a li", 'no js{"on\n'])
def test_a_journal_without_a_beginning_holds_up_nothing(blank: Path, monkeypatch: Patch, left: str) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    (journal.SPOOL / "0.jsonl").write_text(left)
    assert sync() == 0
    assert not waiting()
    assert [path.read_text() for path in waiting("refused")] == ([left] if left.endswith("\n") else [])
    (one,) = runs()
    assert_whole(one)


def test_a_process_that_was_killed_is_recorded_as_killed(blank: Path, monkeypatch: Patch) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    (path,) = waiting()
    *lines, last = path.read_text().splitlines(keepends=True)
    assert json.loads(last)["kind"] == "end"
    path.write_text("".join(lines) + last[:10])
    assert sync() == 0
    assert [one.info.status for one in runs()] == ["KILLED"]


def test_what_waits_moves_with_the_project(blank: Path, monkeypatch: Patch) -> None:
    without_server(monkeypatch, lambda: perform(a_run()))
    there = blank.with_name("two")
    shutil.move(blank, there)
    monkeypatch.chdir(there)
    assert sync() == 0
    (one,) = runs()
    assert_whole(one)


@pytest.mark.slow
def test_a_stage_without_its_server_ends_well_and_catches_up(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    perform(a_run())
    assert "records wait in .work/mlflow-spool" in capsys.readouterr().err
    assert len(waiting()) == 1
    server.start()
    assert sync() == 0
    (one,) = runs()
    assert_whole(one)
    assert not waiting()


@pytest.mark.slow
def test_a_server_killed_in_mid_run_loses_and_doubles_nothing(server: Server) -> None:
    server.start()
    run = a_run()

    def die() -> None:
        assert isinstance(run.tracker, journal.Journal)
        run.tracker.flush()
        server.kill()

    perform(run, die)
    server.start()
    assert sync() == 0
    (one,) = runs()
    assert_whole(one)
    assert not waiting()
