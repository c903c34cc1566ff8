"""Runs the stages of a plan side by side, as many as fit, and DVC's part of each in between. Knows no Prefect.

One loop in one thread: it asks DVC which stages that are next in line changed, starts the commands of those that fit,
longest first, and waits for the end of one. What is up to date costs neither a process nor a thread.
"""

from __future__ import annotations

import queue
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from flows import durations
from flows.graph import Step
from flows.guard import Guard
from flows.project import Command, Project
from flows.resources import Limits, Pool, Request, refuse, request
from flows.stage import Job, Outcome, Watch, end
from flows.summary import Result

BAD = {Outcome.FAILED, Outcome.NOT_REACHED}
DID = {Outcome.RAN, Outcome.RESTORED}


class OnError(StrEnum):
    """What happens after a failure, in DVC's words."""

    FAIL = "fail"
    KEEP_GOING = "keep-going"
    IGNORE = "ignore"


class Hands(Protocol):
    """Has stages run somewhere else."""

    def takes(self, address: str) -> bool:
        """Whether a stage can run there; what it asks for is counted there then."""

    def job(self, address: str, command: Command, watch: Watch, force: bool) -> Job:
        """Hand over a stage that is ready to run; `force` passes by the run cache."""


class Watcher(Protocol):
    """Is told what happens, in the engine's thread; `line` comes from the thread of the stage."""

    def started(self, step: Step) -> None:
        """A stage that is not up to date begins."""

    def line(self, step: Step, text: str) -> None:
        """A stage printed a line."""

    def ended(self, result: Result) -> None:
        """A stage has its outcome."""

    def moved(self, view: Callable[[], View]) -> None:
        """Something began or ended; `view` tells how things stand, at some cost."""


@dataclass(frozen=True)
class View:
    """How things stand: running since (monotonic seconds), waiting for what, how many are done, seconds left."""

    running: Mapping[str, float]
    waiting: Mapping[str, str]
    done: int
    total: int
    left: float


@dataclass
class _Running:
    step: Step
    command: Command
    request: Request
    job: Job
    gpus: tuple[str, ...]
    started: float = field(default_factory=time.monotonic)
    tries: int = 1


class Engine:
    """One run of a plan."""

    def __init__(
        self,
        project: Project,
        limits: Limits,
        on_error: OnError = OnError.KEEP_GOING,
        watchers: Sequence[Watcher] = (),
        variables: Mapping[str, str] | None = None,
        hands: Hands | None = None,
    ) -> None:
        """`variables` are put into the environment of every stage. A stage that can never fit is refused here.

        What `hands` takes is run by them, the rest here.
        """
        self.project, self.pool, self.jobs, self.on_error = project, Pool(limits), limits.jobs, on_error
        self.away = {address: hands for address in project.stages if hands and hands.takes(address)}
        self.watchers, self.variables = watchers, dict(variables or {})
        self.steps = {step.address: step for step in project.steps}
        self.place = {address: place for place, address in enumerate(self.steps)}
        self.requests = {address: request(address, stage.meta) for address, stage in project.stages.items()}
        self.requests |= dict.fromkeys(self.away, Request())
        refuse(self.requests, limits)
        self.results: dict[str, Result] = {}
        self.running: dict[str, _Running] = {}
        self.ready: list[str] = []
        self.forced = dict.fromkeys(self.steps, project.options.force)
        self.open = {address: len(step.after) for address, step in self.steps.items()}
        self.behind: dict[str, list[str]] = {address: [] for address in self.steps}
        for address, step in self.steps.items():
            for earlier in step.after:
                self.behind[earlier].append(address)
        self.folder = Path(project.repo.tmp_dir)
        self.known = durations.read(self.folder)
        self.first = durations.paths(project.steps, self.known)
        self.ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.guard: Guard | None = None
        self.begun = self.stopped = False
        """Whether a failure keeps everything else from starting."""
        self._settle([address for address, count in self.open.items() if not count])

    def in_order(self) -> list[Result]:
        """How each stage ended, in the order of the plan; those without an end were not reached."""
        return [self.results.get(address) or Result(step, Outcome.NOT_REACHED) for address, step in self.steps.items()]

    @property
    def did(self) -> bool:
        """Whether any stage did something."""
        return any(result.outcome in DID for result in self.results.values())

    def run(self) -> list[Result]:
        """Run what is not up to date; returns how each stage ended. On any error what runs is ended first."""
        self.begun = True
        try:
            self._start()
            while self.running:
                self._took(self._next())
                self._start()
        finally:
            self._clear()
        return self.in_order()

    def _settle(self, addresses: Sequence[str]) -> None:
        """Decide on stages whose turn it is; what is up to date or not to be reached passes the turn on."""
        turn = deque(addresses)
        while turn:
            address = turn.popleft()
            outcome, why = self._verdict(self.steps[address])
            if outcome is None:
                insort(self.ready, address, key=self._rank)
            else:
                turn.extend(self._done(Result(self.steps[address], outcome, why=why)))

    def _rank(self, address: str) -> tuple[float, int]:
        return -self.first[address], self.place[address]

    def _verdict(self, step: Step) -> tuple[Outcome | None, str]:
        ends = {self.results[needed].outcome for needed in step.needs}
        if ends & BAD and self.on_error is not OnError.IGNORE:
            return Outcome.NOT_REACHED, ""
        try:
            changed = self.project.changed(step, self.forced[step.address])
        except Exception as error:  # noqa: BLE001 - as DVC: whatever it is, it is the end of this stage alone
            return Outcome.FAILED, _said(error)
        return (None, "") if changed else (Outcome.UP_TO_DATE, "")

    def _done(self, result: Result) -> list[str]:
        """Note how a stage ended; returns the stages whose turn it is now."""
        address = result.step.address
        self.results[address] = result
        self.stopped |= result.outcome is Outcome.FAILED and self.on_error is OnError.FAIL
        for watcher in self.watchers:
            watcher.ended(result)
        did = result.outcome in DID or (self.forced[address] and result.outcome not in BAD)
        turn = []
        for later in self.behind[address]:
            self.open[later] -= 1
            if did and self.project.options.force_downstream and address in self.steps[later].needs:
                self.forced[later] = True
            if not self.open[later]:
                turn.append(later)
        return turn

    def _start(self) -> None:
        """Start whatever fits, longest first."""
        while self.pool.free.jobs and not self.stopped:
            fits = (address for address in self.ready if not self.pool.lacks(self.requests[address]))
            if (address := next(fits, None)) is None:
                break
            self.ready.remove(address)
            self._begin(self.steps[address])
        for watcher in self.watchers:
            watcher.moved(self.view)

    def _begin(self, step: Step) -> None:
        for watcher in self.watchers:
            watcher.started(step)
        started = time.monotonic()
        try:
            command = self.project.begin(step, self.forced[step.address])
            if command is not None:
                self.running[step.address] = self._launched(step, command)
                return
        except Exception as error:  # noqa: BLE001 - see _verdict
            self._finish(Result(step, Outcome.FAILED, time.monotonic() - started, _said(error)))
            return
        restored = self.project.stages[step.address].cmd and not self.project.stages[step.address].frozen
        outcome = Outcome.RESTORED if restored else Outcome.RAN
        self._finish(Result(step, outcome, time.monotonic() - started))

    def _launched(self, step: Step, command: Command) -> _Running:
        wanted = self.requests[step.address]
        command.variables.update(self.variables)
        job = self._job(step, command, wanted) if step.address in self.away else None
        own = self.pool.take(wanted)
        if wanted.gpus:
            command.variables["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        return _Running(step, command, wanted, job or self._job(step, command, wanted), own)

    def _job(self, step: Step, command: Command, wanted: Request) -> Job:
        self.guard = self.guard or Guard()

        def log(text: str) -> None:
            for watcher in self.watchers:
                watcher.line(step, text)

        watch = Watch(log, self.guard, lambda: self.ended.put(step.address))
        if hands := self.away.get(step.address):
            return hands.job(step.address, command, watch, self.forced[step.address])
        return Job(command, watch, wanted.timeout)

    def _next(self) -> str:
        try:
            return self.ended.get_nowait()
        except queue.Empty:
            with self.project.idle():
                return self.ended.get()

    def _took(self, address: str) -> None:
        """A stage's commands ended: try again, or let DVC save what they made."""
        ran = self.running[address]
        if ran.job.failure and ran.tries <= ran.request.retries and not self.stopped:
            ran.tries += 1
            for watcher in self.watchers:
                watcher.line(
                    ran.step, f"{ran.job.failure.splitlines()[-1]}; try {ran.tries} of {ran.request.retries + 1}"
                )
            self.project.again(ran.step)
            ran.job = self._job(ran.step, ran.command, ran.request)
            return
        del self.running[address]
        self.pool.give(ran.request, ran.gpus)
        why = ran.job.failure or self._saved(ran)
        seconds = time.monotonic() - ran.started
        if not why:
            self.known[address] = seconds
        self._finish(Result(ran.step, Outcome.FAILED if why else Outcome.RAN, seconds, why))

    def _saved(self, ran: _Running) -> str:
        try:
            ran.job.deliver()
            self.project.finish(ran.step)
        except Exception as error:  # noqa: BLE001 - see _verdict
            return _said(error)
        return ""

    def _finish(self, result: Result) -> None:
        self.project.release(result.step)
        self._settle(self._done(result))

    def _clear(self) -> None:
        """End what still runs and keep what was learned."""
        end(ran.job for ran in self.running.values())
        for ran in self.running.values():
            self.project.release(ran.step)
        if self.guard:
            self.guard.close()
            durations.write(self.folder, self.known)

    def view(self) -> View:
        """How things stand now."""
        now = time.monotonic()
        spent = {address: now - ran.started for address, ran in self.running.items()}
        waiting = [a for a in self.steps if a not in self.results and a not in self.running]
        short = {address: self.pool.lacks(self.requests[address]) for address in self.ready}
        reasons = {address: short.get(address) or self._unfinished(address) for address in waiting}
        left = durations.left(waiting, spent, self.known, self.jobs)
        since = {address: ran.started for address, ran in self.running.items()}
        return View(since, reasons, len(self.results), len(self.steps), left)

    def _unfinished(self, address: str) -> str:
        step = self.steps[address]
        return next((a for a in sorted(step.after) if a not in self.results), "its turn")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
