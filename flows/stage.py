"""Runs the commands of one stage beside others: lines come as they are printed, its end is reported once.

A command is a process group of its own. Whatever ends this process, a guard ends the groups that it left behind, so
that no stage writes on beside a later run.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import IO, NamedTuple

from flows.guard import Guard
from flows.project import Command

TAIL = 20
"""Last lines kept for the message of a failure."""
PROGRESS_SECONDS = 5.0
"""A progress bar redraws itself all the time; one line of it in this many seconds goes to the log."""
LEFT_OPEN_SECONDS = 5.0
"""Time to read on after a command has ended; what it left running in the background may hold its output open."""
GRACE_SECONDS = 20.0
"""Time an interrupted stage has to put its things away."""


class Outcome(StrEnum):
    """How a stage ended, as the table of a run says it."""

    RAN = "ran"
    UP_TO_DATE = "up to date"
    RESTORED = "restored"
    FAILED = "failed"
    NOT_REACHED = "not reached"


class Watch(NamedTuple):
    """Who is told of a job: `log` of its lines, the guard of its processes, `done` of its end; from its thread."""

    log: Callable[[str], None]
    guard: Guard
    done: Callable[[], None]


class Job:
    """One run of a stage's commands, in a thread that hands on their lines."""

    def __init__(self, command: Command, watch: Watch, timeout: float | None) -> None:
        """Start at once; `timeout` is in seconds."""
        self.command, self.timeout = command, timeout
        self.log, self.guard = watch.log, watch.guard
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.process: subprocess.Popen[bytes] | None = None
        self.failure = ""
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._work, args=(watch.done,), daemon=True)
        self.thread.start()

    def _work(self, done: Callable[[], None]) -> None:
        clock = threading.Timer(self.timeout, self._late) if self.timeout else None
        if clock:
            clock.start()
        try:
            self._run_all()
        except OSError as error:
            self._fail(f"cannot be started: {error}")
        finally:
            if clock:
                clock.cancel()
            done()

    def _run_all(self) -> None:
        for line in self.command.lines:
            if self.stopped.is_set():
                return
            self.log(f"> {line}")
            if code := self._run(line):
                self._fail(f"failed to run: {line}, exited with {code}")
                return

    def _run(self, line: str) -> int:
        process = self.process = subprocess.Popen(
            self.command.arguments(line),
            cwd=self.command.folder,
            env=self.command.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.guard.add(process.pid)
        if self.stopped.is_set():
            self.stop()
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        code = process.wait()
        reader.join(LEFT_OPEN_SECONDS)
        self.guard.remove(process.pid)
        return code

    def _read(self, output: IO[bytes]) -> None:
        for said in lines(output):
            self.log(said)
            self.tail.append(said)

    def _late(self) -> None:
        self._fail(f"timed out after {self.timeout:g} s")
        end([self])

    def _fail(self, why: str) -> None:
        self.failure = self.failure or "\n".join([*self.tail, why])

    def deliver(self) -> None:
        """Put what the stage made into the workspace, where it is already; called in the engine's thread."""

    def stop(self) -> None:
        """Ask the running command to end, as Ctrl-C does, and start no further one."""
        self.stopped.set()
        if self.process:
            ask([self.process.pid], signal.SIGINT)


def end(jobs: Iterable[Job]) -> None:
    """Stop jobs and wait for them as long as grace allows, then kill what is left."""
    jobs = list(jobs)
    for job in jobs:
        job.stop()
    limit = time.monotonic() + GRACE_SECONDS
    for job in jobs:
        if job.process:
            with suppress(subprocess.TimeoutExpired):
                job.process.wait(max(0.0, limit - time.monotonic()))
            ask([job.process.pid], signal.SIGKILL)


def ask(groups: Iterable[int], request: signal.Signals) -> None:
    """Send a signal to process groups; those that are gone are passed over."""
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, request)


def lines(output: IO[bytes]) -> Iterator[str]:
    """Lines as they come, blank ones left out, progress bars (they end in a carriage return) thinned out."""
    shown = -PROGRESS_SECONDS
    for raw in io.TextIOWrapper(output, encoding="utf-8", errors="replace", newline=""):
        if not raw.strip():
            continue
        if raw.endswith("\r"):
            if time.monotonic() - shown < PROGRESS_SECONDS:
                continue
            shown = time.monotonic()
        yield raw.rstrip()
