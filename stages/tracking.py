"""Records every run of a stage in MLflow, through a journal, so that nothing is lost while a server is away.

python -m stages.tracking sync                      # send what a server missed
python -m stages.tracking begin NAME                # open a parent run and print its id
python -m stages.tracking end RUN_ID [STATUS]       # close it
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock

from stages import discover, lineage, settings
from stages.journal import SPOOL, WAIT, Journal, sync
from stages.mlflow_runs import PARENT, PROCESS, close_parent, now, open_parent, pipeline_process
from stages.run import StageRun
from stages.system_metrics import Sampler
from stages.tracking_store import Line, uri
from systems.parts.errors import UserError

STATUSES = ("FINISHED", "FAILED", "KILLED")


@contextmanager
def tracked(run: StageRun[Any], outputs: Sequence[Path]) -> Iterator[None]:
    """Track a run of a stage: its tracker inside, its outcome, time and memory at the end, and what waited before."""
    line = Line()
    journal = Journal(run.name, _start(run), line)
    run.tracker = journal
    sampler, started = Sampler(journal.metric), time.monotonic()
    _given(run, journal)
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
    sync(line)


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
    return {
        "kind": "start",
        "key": uuid.uuid4().hex,
        "experiment": discover.walk()[run.name].track,
        "name": f"{run.stage}@{run.name}",
        "time": now(),
        "parent": os.environ.get(PARENT, ""),
        "tags": {**lineage.tags(run), PROCESS: pipeline_process()},
    }


def _given(run: StageRun[Any], journal: Journal) -> None:
    """What the run starts from: parameters and data sets."""
    for key, value in lineage.flat(run.params.model_dump(mode="json")).items():
        journal.add(kind="param", key=key, value=value)
    hashes = lineage.data_hashes(run)
    for key, path in run.inputs.items():
        if path.parts[0] == "data":
            journal.add(kind="input", key=key, path=str(path), digest=hashes[str(path)])
    journal.flush()


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


def main(arguments: Sequence[str]) -> None:
    """Sync, or open or close a parent run."""
    match list(arguments):
        case ["sync"]:
            line = Line()
            line.ask(lambda _: True, WAIT)  # the project's own database is mended even where nothing waits
            if left := sync(line):
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
