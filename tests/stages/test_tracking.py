"""What a tracked run leaves in MLflow, and that nothing is lost while its server is away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from stages import discover, lineage, tracking, tracking_store
from stages.run import StageRun
from systems.parts.run import Strict

POINTS = 1500


class Params(Strict):
    size: int = 3
    words: str = "w" * 7000


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current folder, with one system `toy` of track `toys`."""
    found = discover.Found("toy", "toys", "systems.toys.toy")
    monkeypatch.setattr(discover, "walk", lambda: {"toy": found})
    monkeypatch.setattr(lineage, "closure_hash", lambda *_: "c0de")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(tracking.PARENT, raising=False)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "reports").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path / "one"


def a_run(stage: str = "train") -> StageRun[Params]:
    return StageRun(
        stage, "toy", Params(), {"data": Path("data/toy")}, Path("models/toy"), Path(f"reports/{stage}/toy")
    )


def perform(run: StageRun[Params], between: Callable[[], object] = lambda: None) -> None:
    """A stage that logs a curve and a file; `between` happens in its middle."""
    with tracking.tracked(run, []):
        for step in range(POINTS):
            run.metric("loss", step / 7, step)
            if step == POINTS // 2:
                between()
        Path("note.txt").write_text("kept")
        run.tracker.artifact(Path("note.txt"), "notes")


def runs(track: str = "toys") -> list[Any]:
    client = MlflowClient(tracking.uri())
    place = client.get_experiment_by_name(track)
    assert place is not None
    return list(client.search_runs([place.experiment_id]))


def assert_whole(status: str = "FINISHED") -> None:
    """Exactly one run, with every point, parameter and file once."""
    (one,) = runs()
    client = MlflowClient(tracking.uri())
    points = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(step, step / 7) for step in range(POINTS)]
    assert one.data.params["size"] == "3"
    assert one.data.params["words"].endswith(lineage.CUT)
    assert [file.path for file in client.list_artifacts(one.info.run_id, "notes")] == ["notes/note.txt"]
    assert Path(client.download_artifacts(one.info.run_id, "notes/note.txt")).read_text() == "kept"
    assert one.info.status == status
    assert not list(tracking.SPOOL.glob("*.jsonl"))


def test_a_run_is_whole_and_traceable(project: Path) -> None:
    (project / "dvc.lock").write_text("stages:\n  s:\n    outs:\n    - {path: data/toy, md5: abc.dir}\n")
    perform(a_run())
    assert_whole()
    (one,) = runs()
    assert one.info.run_name == "train@toy"
    assert one.data.tags["input.data.toy"] == "abc.dir"
    assert one.data.tags["closure"] == "c0de"
    assert one.data.metrics["system/memory_mib"] > 1
    (above,) = runs(tracking.PIPELINES)
    assert one.data.tags["mlflow.parentRunId"] == above.info.run_id
    timing = json.loads((project / "reports/timings/train-toy.json").read_text())
    assert timing["peak_memory_bytes"] > 2**20


def test_a_parent_given_by_the_flow_is_the_parent(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tracking.open_parent("flow")
    monkeypatch.setenv(tracking.PARENT, opened)
    perform(a_run())
    tracking.close_parent(opened, "FAILED")
    assert runs()[0].data.tags["mlflow.parentRunId"] == opened
    assert [one.info.status for one in runs(tracking.PIPELINES)] == ["FAILED"]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_is_recorded_and_raised_again(project: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.tracked(a_run(), []):
        raise error
    assert [one.info.status for one in runs()] == [status]


def test_sigterm_is_recorded_as_killed(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        perform(a_run(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert [one.info.status for one in runs()] == ["KILLED"]


def test_results_grow_by_one_row_an_evaluation(project: Path) -> None:
    for value in (1.0, 2.0):
        run = a_run("evaluate")
        with tracking.tracked(run, []):
            run.metric("rmse", value)
    rows = [json.loads(line) for line in (project / "reports/results.jsonl").read_text().splitlines()]
    assert [row["metrics"]["rmse"] for row in rows] == [1.0, 2.0]
    assert rows[0]["data"] == {"data/toy": lineage.NOT_LOCKED}


def test_the_champion_is_the_best_model_not_the_last(project: Path) -> None:
    (project / "models/toy").mkdir(parents=True)
    (project / "models/toy/model.json").write_text('{"input_shape": [null, 3], "output_shape": [null, 2]}')
    for score in (2.0, 1.0, 3.0):
        run = a_run()
        with tracking.tracked(run, []):
            run.tracker.model(Path("models/toy"), score)
    client = MlflowClient(tracking.uri())
    champion = client.get_model_version_by_alias("toy", "champion")
    assert (int(champion.version), champion.tags["score"]) == (2, "1.0")


def test_a_moved_project_finds_its_files_and_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(a_run())
    there = project.with_name("two")
    shutil.move(project, there)
    monkeypatch.chdir(there)
    tracking_store.connect()
    assert_whole()
    perform(a_run())
    assert all(one.info.artifact_uri.startswith(f"file://{there}/mlruns/") for one in runs())


FIRST = "from stages.tracking_store import connect, experiment; experiment(connect(), 'toys')"


def test_first_runs_side_by_side_all_succeed(project: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parents[1])}
    started = [subprocess.Popen([sys.executable, "-c", FIRST], env=environment) for _ in range(4)]
    assert [one.wait(90) for one in started] == [0] * 4
    assert runs() == []


class Server:
    """A real MLflow server on loopback that can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "files"]
        log = (self.folder / "log.txt").open("w")
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError((self.folder / "log.txt").read_text())

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is not started yet, and the address of this process's records."""
    made = Server(project.parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    yield made
    if hasattr(made, "process"):
        made.kill()


@pytest.mark.slow
def test_a_stage_without_its_server_ends_well_and_catches_up(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    perform(a_run())
    assert "records wait in .work/mlflow-spool" in capsys.readouterr().err
    assert len(list(tracking.SPOOL.glob("*.jsonl"))) == 1
    server.start()
    assert tracking.sync() == 0
    assert_whole()


@pytest.mark.slow
def test_a_server_killed_in_mid_run_loses_and_doubles_nothing(server: Server) -> None:
    server.start()
    run = a_run()

    def die() -> None:
        assert isinstance(run.tracker, tracking.Journal)
        run.tracker.flush()
        server.kill()

    perform(run, die)
    server.start()
    assert tracking.sync() == 0
    assert_whole()
