"""A real Dask cluster on loopback whose workers can be killed, and functions for it to run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import distributed
import psutil

from systems.parts.errors import UserError
from tests.smoke import PROJECT, environment


class Halt(distributed.WorkerPlugin):
    """Halts the first worker that begins its second item, for good: it holds work and has done some."""

    def __init__(self, mark: Path) -> None:
        """The first of all workers is the one that makes the file `mark`."""
        self.mark, self.begun = mark, 0

    def transition(self, key: str, _start: str, finish: str, **_more: Any) -> None:
        """A task at this worker moves on."""
        self.begun += finish == "executing" and key.startswith("item ")
        if self.begun == 2:
            with suppress(FileExistsError):
                self.mark.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGSTOP)


class Cluster:
    """A scheduler and its workers, each a process in checkout `project`; the scheduler chooses a free port."""

    def __init__(self, folder: Path, project: Path = PROJECT) -> None:
        self.folder, self.project = folder, project
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(exist_ok=True)
        told = folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        while not told.exists():
            assert self.processes[0].poll() is None, self.log()
            time.sleep(0.1)
        self.address: str = json.loads(told.read_text())["address"]

    def worker(self, project: Path | None = None) -> None:
        """Start one more worker, of one thread; its number is its place among the processes."""
        place = str(self.place(len(self.processes)))
        here = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", place)
        self._start("worker", self.address, *here, project=project)

    def place(self, number: int) -> Path:
        """Folder in which a worker keeps its files while it lives."""
        return self.folder / f"worker-{number}"

    def inputs(self, number: int) -> list[Path]:
        """What a worker has laid out: something as soon as it begins its first item."""
        return [path for path in self.place(number).glob("dask-scratch-space/*/inputs/*") if path.name[0] != "."]

    def halt_one(self) -> None:
        """Have a worker halt in the middle of its items: of three items one worker begins two."""
        with distributed.Client(self.address) as client:
            client.register_plugin(Halt(self.folder / "halted"))

    def halted(self) -> int | None:
        """The number of the worker that halted."""
        states = [psutil.Process(process.pid).status() for process in self.processes]
        return states.index(psutil.STATUS_STOPPED) if psutil.STATUS_STOPPED in states else None

    def kill(self, number: int) -> None:
        """End a process without a chance to clean up."""
        self.processes[number].send_signal(signal.SIGKILL)
        self.processes[number].wait()

    def log(self) -> str:
        """What all processes said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def _start(self, kind: str, *arguments: str, project: Path | None = None) -> None:
        variables = environment(DASK_CONFIG=str(self.folder), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1")
        with (self.folder / f"{len(self.processes)}-{kind}.log").open("wb") as log:
            command = ("python", "-m", "dask", kind, *arguments)
            where = project or self.project
            self.processes.append(subprocess.Popen(command, cwd=where, env=variables, stdout=log, stderr=log))


@contextmanager
def cluster(folder: Path, workers: int = 2, project: Path = PROJECT) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    made = Cluster(folder, project)
    try:
        for _ in range(workers):
            made.worker()
        if workers:
            with distributed.Client(made.address) as client:
                client.wait_for_workers(workers)
        yield made
    finally:
        for number in range(len(made.processes)):
            made.kill(number)


def square(_inputs: Mapping[str, Path], item: int) -> tuple[int, int]:
    """The square of an item, slowly, and who found it."""
    time.sleep(0.05)
    return item**2, os.getpid()


def contents(inputs: Mapping[str, Path], item: int) -> tuple[int, dict[str, str]]:
    """What the inputs hold where the item is worked on."""
    found = {name: path if path.is_file() else path / "inner" / "b.txt" for name, path in inputs.items()}
    return item, {name: f"{inputs[name].name}: {path.read_text()}" for name, path in found.items()}


def poison(_inputs: Mapping[str, Path], _item: int) -> None:
    """End whoever works on it."""
    os._exit(9)


def faulty(_inputs: Mapping[str, Path], item: int) -> int:
    """An item; of two that fail, the first takes longer to do so."""
    if item == 3:
        time.sleep(0.3)
        raise ZeroDivisionError("item 3 comes first")
    if item > 3:
        raise UserError(f"item {item}: at most 3 is allowed")
    return item


def careful(_inputs: Mapping[str, Path], item: int) -> int:
    """An item, or a user's error."""
    if item == 5:
        raise UserError("item 5: 4 is allowed")
    return item
