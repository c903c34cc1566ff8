"""Runs the trials of a sweep side by side, each in a process and a checkout of its own. Knows no Prefect."""

from __future__ import annotations

import json
import math
import os
import queue
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows import trial_records
from flows.checkout import Snapshot, checkout, remove
from flows.engine import View, Watcher
from flows.graph import Step
from flows.guard import Guard
from flows.project import Command
from flows.resources import Limits, limits
from flows.stage import Job, Outcome, Watch, end
from flows.study import Asked, Row, Study
from flows.summary import Result
from flows.trial import Task
from systems.parts.errors import UserError

FOLDER = Path(".work") / "sweeps"
PACKAGES = Path(__file__).parents[1]


def folder_of(root: Path, name: str) -> Path:
    """Where a sweep keeps its study and, while it runs, its checkouts; out of Git's sight in any project."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / FOLDER / ".gitignore").write_text("*\n")
    return root / FOLDER / name


@dataclass
class _Running:
    asked: Asked
    step: Step
    checkout: Path
    answer: Path
    job: Job
    slot: int
    started: float = field(default_factory=time.monotonic)


class Search:
    """One run of a sweep."""

    def __init__(self, files: Snapshot, study: Study, jobs: int, watchers: Sequence[Watcher] = ()) -> None:
        """`jobs` trials run at a time; each has its share of the machine."""
        self.files, self.study, self.watchers = files, study, watchers
        self.folder = folder_of(files.root, study.name)
        self.slots = list(range(jobs))
        self.jobs = jobs
        self.machine = limits()
        self.share = max(1, int(self.machine.cores) // jobs)
        """Cores for each."""
        self.parent = ""
        """The MLflow run above those of the trials."""
        self.running: dict[str, _Running] = {}
        self.ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.begun = False
        finished = [row.name for row in study.rows() if row.state == "finished"]
        self.done = len(finished)
        for name in finished:  # a kill in the moment after its end left it
            if (self.folder / name).exists():
                remove(files.root, self.folder / name)

    @property
    def left(self) -> bool:
        """Whether any trial is still to be run."""
        return self.done < self.study.total

    def run(self) -> list[Row]:
        """Run what is left of the sweep; returns all its trials. On any error what runs is ended first."""
        self.begun = True
        self.guard = Guard()
        try:
            while self._start() or self.running:
                self._took(self.ended.get())
        finally:
            self._clear()
        return self.study.rows()

    def _start(self) -> bool:
        """Start as many trials as may run; whether any did."""
        started = False
        while self.slots and (asked := self.study.next()):
            self._begin(asked)
            started = True
        self._moved()
        return started

    def _begin(self, asked: Asked) -> None:
        step, place = Step(asked.name, asked.name, frozenset()), self.folder / asked.name
        for watcher in self.watchers:
            watcher.started(step)
        project = checkout(self.files, place)
        variables = {**self._variables(self.slots[0]), **trial_records.share(self.files.root, project)}
        task, answer = place.with_suffix(".task.json"), place.with_suffix(".json")
        answer.unlink(missing_ok=True)
        task.write_text(json.dumps(asdict(self._task(asked, answer))))
        line = shlex.join([sys.executable, "-m", "flows.trial", str(task)])
        command = Command([line], str(project), {**os.environ, **variables})

        def log(text: str) -> None:
            for watcher in self.watchers:
                watcher.line(step, text)

        job = Job(command, Watch(log, self.guard, lambda: self.ended.put(asked.name)), None)
        self.running[asked.name] = _Running(asked, step, place, answer, job, self.slots.pop(0))

    def _task(self, asked: Asked, answer: Path) -> Task:
        root, baseline, targets = str(self.files.root), self.files.baseline, self.study.plan.targets
        return Task(asked.name, asked.values, root, baseline, str(answer), targets, self.share, self.parent)

    def _variables(self, slot: int) -> dict[str, str]:
        """A share of the machine's cores and GPUs, and these packages for a project that does not hold them."""
        packages = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(PACKAGES)]))
        workers = os.environ.get("DELAMINATE_WORKERS", str(self.share))
        return {"PYTHONPATH": packages, "DELAMINATE_WORKERS": workers} | _gpus(self.machine, slot, self.jobs)

    def _took(self, name: str) -> None:
        """A trial ended: note what came out and remove its checkout."""
        ran = self.running.pop(name)
        seconds = time.monotonic() - ran.started
        why = ran.job.failure
        value = None
        if not why:
            value, why = measured(json.loads(ran.answer.read_text())["figures"], self.study.plan.metric)
        if why:
            self.study.failed(ran.asked, why, seconds)
        else:
            self.study.finished(ran.asked, value, seconds)
        self._forget(ran)
        self.slots.append(ran.slot)
        self.done += 1
        for watcher in self.watchers:
            watcher.ended(Result(ran.step, Outcome.FAILED if why else Outcome.RAN, seconds, why))

    def _forget(self, ran: _Running) -> None:
        remove(self.files.root, ran.checkout)
        for file in (ran.answer, ran.checkout.with_suffix(".task.json")):
            file.unlink(missing_ok=True)

    def _clear(self) -> None:
        """End what still runs."""
        end(ran.job for ran in self.running.values())
        for ran in self.running.values():
            self._forget(ran)
        self.guard.close()

    def _moved(self) -> None:
        for watcher in self.watchers:
            watcher.moved(self.view)

    def view(self) -> View:
        """How things stand now. The trials to come have no names yet."""
        since = {name: ran.started for name, ran in self.running.items()}
        total = self.study.total
        known = [row.seconds for row in self.study.rows() if row.seconds]
        left = sum(known) / len(known) * max(0, total - self.done) / self.jobs if known else 0.0
        return View(since, {}, self.done, total, left)


def _gpus(machine: Limits, slot: int, jobs: int) -> dict[str, str]:
    """GPUs of its own for each of the trials that run side by side; with fewer GPUs than trials they share."""
    have = machine.gpus
    own = have[slot::jobs] or have[slot % max(1, len(have)) :][:1]
    return {"CUDA_VISIBLE_DEVICES": ",".join(own)} if have else {}


def measured(figures: Any, metric: str) -> tuple[float | None, str]:
    """The metric FILE:KEY among the figures of a trial, and what is wrong with it."""
    if not metric:
        return None, ""
    file, _, key = metric.rpartition(":")
    value = dict(trial_records.flat(figures.get(file, {}))).get(key)
    if not isinstance(value, int | float) or math.isnan(value):
        return None, f"metric {metric} is {'not there' if value is None else value}; a number is wanted"
    return float(value), ""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes away from a sweep; refused where one is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"--name {folder.name}: runs in another process; wait for it, or take another name") from None
    try:
        yield
    finally:
        lock.release()
