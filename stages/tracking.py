"""Records every run of a stage in MLflow, and in a journal first, so that nothing is lost while a server is away.

    python -m stages.tracking sync                      # send what a server missed
    python -m stages.tracking begin NAME                # open a parent run and print its id
    python -m stages.tracking end RUN_ID [STATUS]       # close it

Stages started with DELAMINATE_PARENT_RUN=RUN_ID are its children; those of a plain `dvc repro` share a parent that
the first of them opens and the next command after it closes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock

from stages import discover, lineage, settings, tracking_store
from stages.run import StageRun
from stages.system_metrics import Sampler
from stages.tracking_store import uri as uri
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SPOOL = Path(".work/mlflow-spool")
PARENT = "DELAMINATE_PARENT_RUN"
PIPELINES = "pipelines"
PROCESS = "delaminate.process"
FLUSH_SECONDS = 10.0
FLUSH_RECORDS = 1000
STATUSES = ("FINISHED", "FAILED", "KILLED")


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


class Journal:
    """A tracker that writes every record to a file first, then to MLflow as long as that answers."""

    def __init__(self, system: str, start: dict[str, Any]) -> None:
        """Begin the journal of one run with its first record and hold it until `close`."""
        self.system, self.start = system, start
        self.path = tracking_store.root() / SPOOL / f"{start['key']}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.owner = FileLock(self.path.with_suffix(".lock"))
        self.owner.acquire()
        self.pending: list[dict[str, Any]] = []
        self.client: MlflowClient | None = None
        self.run_id, self.away, self.flushed = "", False, time.monotonic()
        self._write([start])

    def metric(self, name: str, value: float, step: int) -> None:
        """Record one point of a curve; buffered."""
        self.add(kind="metric", key=mlflow_name(name), value=value, step=step)

    def artifact(self, path: Path, folder: str) -> None:
        """Record a small file, copied first: stages rename and remove what they write."""
        copy = self.path.with_suffix("") / folder / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        self.add(kind="artifact", path=str(copy), folder=folder)

    def model(self, folder: Path, score: float | None) -> None:
        """Record the finished model in `folder`; it is sent when the stage has ended well."""
        self.add(kind="model", system=self.system, folder=str(folder), score=score)

    def add(self, **record: Any) -> None:
        """Put a record into the buffer; a full or old buffer is written and sent."""
        with self.lock:
            self.pending.append({"time": now(), **record})
            if len(self.pending) >= FLUSH_RECORDS or time.monotonic() - self.flushed > FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write the buffer to the journal and, unless a call failed before, send it."""
        with self.lock:
            records, self.pending, self.flushed = self.pending, [], time.monotonic()
            self._write(records)
            if not self.away:
                self._send(records)

    def _send(self, records: Sequence[dict[str, Any]]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            if self.client is None:
                self.client = tracking_store.connect()
                self.run_id = tracking_store.run_id(self.client, self.start)
            tracking_store.send(self.client, self.run_id, records)
        except (MlflowException, OSError) as error:
            self.away = True
            say(f"MLflow at {uri()} does not take records ({reason(error)}); records wait in {SPOOL}")

    def _write(self, records: Sequence[dict[str, Any]]) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def close(self, status: str) -> None:
        """Record the end; the journal goes only once MLflow has everything."""
        with self.lock:
            self.add(kind="end", status=status)
            self.flush()
            if not self.away:
                remove(self.path)
            self.owner.release()
            self.path.with_suffix(".lock").unlink(missing_ok=True)


def mlflow_name(name: str) -> str:
    """A metric's name as MLflow takes it: other characters as underscores, no empty part between slashes."""
    plain = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "/".join(part for part in map(str.strip, plain.split("/")) if part)


def reason(error: Exception) -> str:
    """What went wrong, short enough for one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:160]}"


def remove(journal: Path) -> None:
    """Remove a journal and the copies of its files."""
    journal.unlink()
    shutil.rmtree(journal.with_suffix(""), ignore_errors=True)


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(f"delaminate: {line}", file=sys.stderr)


def sync() -> int:
    """Send every journal that no running stage holds; returns how many are left. Ends at the first failing call."""
    from filelock import Timeout
    from mlflow.exceptions import MlflowException

    journals = sorted((tracking_store.root() / SPOOL).glob("*.jsonl"))
    for done, journal in enumerate(journals):
        try:
            with FileLock(journal.with_suffix(".lock"), timeout=0):
                replay(journal)
        except Timeout:
            continue
        except (MlflowException, OSError) as error:
            say(f"MLflow at {uri()}: {len(journals) - done} runs wait in {SPOOL} ({type(error).__name__})")
            return len(journals) - done
    return 0


def replay(journal: Path) -> None:
    """Send a whole journal and remove it; the run of a process that was killed is closed as KILLED."""
    if not journal.is_file():
        return
    records = tracking_store.read(journal)
    if records:
        client = tracking_store.connect()
        run_id = tracking_store.run_id(client, records[0])
        ended = records[-1].get("kind") == "end"
        end = [] if ended else [{"kind": "end", "status": "KILLED", "time": records[-1]["time"]}]
        tracking_store.send(client, run_id, [*records[1:], *end])
    remove(journal)


@contextmanager
def tracked(run: StageRun[Any], outputs: Sequence[Path]) -> Iterator[None]:
    """Track a run of a stage: its tracker inside, its outcome, time and memory at the end."""
    if any((tracking_store.root() / SPOOL).glob("*.jsonl")):
        sync()
    journal = Journal(run.name, _start(run))
    run.tracker = journal
    sampler, started = Sampler(journal.metric), time.monotonic()
    journal.add(kind="params", values=lineage.flat(run.params.model_dump(mode="json")))
    journal.flush()
    sampler.start()
    status = "FAILED"
    try:
        with _terminated():
            yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        peak = sampler.stop()
        _timing(run, time.monotonic() - started, peak)
        if status == "FINISHED":
            _results(run, journal, outputs)
        journal.close(status)


@contextmanager
def _terminated() -> Iterator[None]:
    """Make SIGTERM an interrupt, so that a stage which is asked to stop cleans up."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(run: StageRun[Any]) -> dict[str, Any]:
    """First record of a journal: all that is needed to make the run."""
    track = discover.walk()[run.name].track
    key, group = uuid.uuid4().hex, pipeline_process()
    parent = os.environ.get(PARENT) or _parent_of(group)
    tags = {**lineage.tags(run), PROCESS: group, **({"mlflow.parentRunId": parent} if parent else {})}
    return {
        "kind": "start",
        "key": key,
        "experiment": track,
        "name": f"{run.stage}@{run.name}",
        "time": now(),
        "tags": tags,
    }


def _timing(run: StageRun[Any], seconds: float, peak: int) -> None:
    path = Path("reports/timings") / f"{run.stage}-{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": round(seconds, 3), "peak_memory_bytes": peak}) + "\n")


def _results(run: StageRun[Any], journal: Journal, outputs: Sequence[Path]) -> None:
    for path in outputs:
        if path.suffix == ".json" and path.is_file():
            journal.artifact(path, "results")
    if run.stage == "evaluate":
        row = json.dumps(_provenance(run)) + "\n"
        with FileLock("reports/results.jsonl.lock"), Path("reports/results.jsonl").open("a") as file:
            file.write(row)


def _provenance(run: StageRun[Any]) -> dict[str, Any]:
    """Where the figures of an evaluation come from."""
    return {
        "stage": run.stage,
        "name": run.name,
        "metrics": run.metrics,
        "holds": run.holds,
        "params": run.params.model_dump(mode="json"),
        "packages": lineage.packages(),
        "commit": lineage.git("rev-parse", "HEAD"),
        "data": lineage.data_hashes(run),
        "machine": lineage.machine(),
        "scale": settings.scale(Path("params.yaml")),
    }


def pipeline_process() -> str:
    """The dvc process above this stage, else this process, as `pid-start`."""
    above = [one for one in psutil.Process().parents() if "dvc" in " ".join(one.cmdline()[:4])]
    chosen = above[0] if above else psutil.Process()
    return f"{chosen.pid}-{chosen.create_time():.2f}"


def _lives(process: str) -> bool:
    pid, started = process.split("-")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False


def _parent_of(process: str) -> str:
    """The parent run of a pipeline process, made by its first stage; empty where MLflow does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        client = tracking_store.connect()
        place = tracking_store.experiment(client, PIPELINES)
        with tracking_store.locked():
            for one in client.search_runs([place], f"attributes.status = 'RUNNING' and tags.`{PROCESS}` LIKE '%'"):
                if not _lives(one.data.tags[PROCESS]):
                    client.set_terminated(one.info.run_id, "FINISHED")
            found = client.search_runs([place], f"tags.`{PROCESS}` = '{process}'", max_results=1)
            one = found[0] if found else client.create_run(place, now(), {PROCESS: process}, "dvc repro")
        return str(one.info.run_id)
    except (MlflowException, OSError):
        return ""


def open_parent(name: str) -> str:
    """Open a parent run; returns its id, empty where MLflow does not answer: its stages are recorded without it."""
    from mlflow.exceptions import MlflowException

    try:
        client = tracking_store.connect()
        place = tracking_store.experiment(client, PIPELINES)
        return str(client.create_run(place, now(), {}, name).info.run_id)
    except (MlflowException, OSError) as error:
        say(f"MLflow at {uri()} does not answer ({type(error).__name__}); the stages have no parent run")
        return ""


def close_parent(run_id: str, status: str) -> None:
    """Close a parent run as FINISHED, FAILED or KILLED."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return
    try:
        tracking_store.connect().set_terminated(run_id, status)
    except (MlflowException, OSError) as error:
        say(f"MLflow at {uri()} does not answer ({type(error).__name__}); parent run {run_id} stays open")


def main(arguments: Sequence[str]) -> None:
    """Sync, or open or close a parent run."""
    match list(arguments):
        case ["sync"]:
            if left := sync():
                raise UserError(f"MLflow at {uri()}: {left} runs still wait in {SPOOL}")
        case ["begin", name]:
            print(open_parent(name))
        case ["end", run_id]:
            close_parent(run_id, "FINISHED")
        case ["end", run_id, status] if status in STATUSES:
            close_parent(run_id, status)
        case _:
            raise UserError("usage: python -m stages.tracking sync | begin NAME | end RUN_ID [FINISHED|FAILED|KILLED]")


if __name__ == "__main__":
    from stages.execute import command

    sys.exit(command(main, sys.argv[1:]))
