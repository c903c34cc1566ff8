"""Runs of a toy stage to be tracked, what MLflow must have of them, and servers to track them with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from stages import journal, lineage, tracking, tracking_store
from stages.run import StageRun
from systems.parts.run import Strict

POINTS = 1500
DATA = Path("data/toy")
NOWHERE = "http://127.0.0.1:9"
"""Address of a server that is down."""


class Params(Strict):
    size: int = 3
    words: str = "w" * 7000


def a_run(stage: str = "train", name: str = "toy") -> StageRun[Params]:
    inputs = {"data": DATA, "validated": Path("reports/validate/toy/metrics.json")}
    return StageRun(stage, name, Params(), inputs, Path("models", name), Path("reports", stage, name))


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
    client = MlflowClient(tracking_store.uri())
    place = client.get_experiment_by_name(track)
    assert place is not None
    return list(client.search_runs([place.experiment_id]))


def assert_whole(one: Any) -> None:
    """The run has every point, parameter and file once."""
    client = MlflowClient(tracking_store.uri())
    points = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(step, step / 7) for step in range(POINTS)]
    assert one.data.params["size"] == "3"
    assert one.data.params["words"].endswith(lineage.CUT)
    assert [file.path for file in client.list_artifacts(one.info.run_id, "notes")] == ["notes/note.txt"]
    assert Path(client.download_artifacts(one.info.run_id, "notes/note.txt")).read_text() == "kept"
    assert one.info.status == "FINISHED"


def waiting(kind: str = "jsonl") -> list[Path]:
    """Journals in the spool."""
    return sorted(journal.SPOOL.glob(f"*.{kind}"))


def sync() -> int:
    return journal.sync(tracking_store.Line())


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
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError((self.folder / "log.txt").read_text())

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Silent:
    """A server that accepts every connection and never answers; it counts them."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self.connections.append(self.listener.accept()[0])
        except OSError:  # closed by the test
            return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for one in (self.listener, *self.connections):
            one.close()
