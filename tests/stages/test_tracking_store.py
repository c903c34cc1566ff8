"""The project's own database: made once, and true to its files wherever the project is moved or copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from stages import tracking, tracking_store
from tests.stages.tracked_runs import a_run, assert_whole, perform, runs, waiting


def test_a_moved_project_finds_its_files_and_goes_on(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(a_run())
    there = blank.with_name("two")
    shutil.move(blank, there)
    monkeypatch.chdir(there)
    tracking_store.connect()
    (one,) = runs()
    assert_whole(one)
    assert not waiting()
    perform(a_run())
    assert all(one.info.artifact_uri.startswith(f"file://{there}/mlruns/") for one in runs())


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def note(run: Any) -> str:
    """The file of a run as the dashboard shows it."""
    return Path(MlflowClient(tracking_store.uri()).download_artifacts(run.info.run_id, "notes/note.txt")).read_text()


def test_a_copied_project_keeps_to_its_own_files(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(a_run())
    there = blank.with_name("the other")
    shutil.copytree(blank, there)
    (own,) = (there / "mlruns").rglob("note.txt")
    own.write_text("the copy's")
    before = files(blank)
    monkeypatch.chdir(there)
    tracking.main(["sync"])  # what `make dashboard` does first
    assert [note(one) for one in runs()] == ["the copy's"]
    perform(a_run())
    assert sorted(note(one) for one in runs()) == ["kept", "the copy's"]
    assert files(blank) == before
    monkeypatch.chdir(blank)
    assert [note(one) for one in runs()] == ["kept"]


def test_a_copied_database_without_its_files_writes_here_too(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(a_run())
    before = files(blank)
    there = blank.with_name("the other")
    shutil.copytree(blank, there, ignore=shutil.ignore_patterns("mlruns"))
    monkeypatch.chdir(there)
    perform(a_run())
    assert len(list((there / "mlruns").rglob("note.txt"))) == 1
    assert files(blank) == before


def test_models_move_with_the_project(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracking.tracked(run := a_run(), []):
        run.final.mkdir(parents=True)
        run.tracker.model(run.final)
    there = blank.with_name("two")
    shutil.move(blank, there)
    monkeypatch.chdir(there)
    client = tracking_store.connect()
    (model,) = client.search_logged_models([runs()[0].info.experiment_id])
    for place in (model.artifact_location, client.get_model_version_download_uri("toy", "1")):
        assert place.startswith(f"{(there / 'mlruns').as_uri()}/")


FIRST = "from stages.tracking_store import connect, experiment; experiment(connect(), 'toys')"


def test_first_runs_side_by_side_all_succeed(blank: Path) -> None:
    (blank / "mlflow.db").unlink()
    environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parents[1])}
    started = [subprocess.Popen([sys.executable, "-c", FIRST], env=environment) for _ in range(4)]
    assert [one.wait() for one in started] == [0] * 4
    assert runs() == []
