"""Runs one DVC stage as a process of its own: lines come as they are printed, its end is an outcome.

DVC alone decides what is up to date. `--single-item` with `--wait-for-lock` is the one form that also holds side by
side: without the first, runs fail on a shared dependency; without the second, on the lock.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import IO

TAIL = 20
"""Last lines kept for the message of a failure."""
PROGRESS_SECONDS = 5.0
"""A progress bar redraws itself all the time; one line of it in this many seconds goes to the log."""
GRACE_SECONDS = 20.0
"""Time an interrupted stage has to put its things away."""


class Outcome(StrEnum):
    """How a stage ended, as the table of a run says it."""

    RAN = "ran"
    UP_TO_DATE = "up to date"
    RESTORED = "restored"
    FAILED = "failed"
    NOT_REACHED = "not reached"


class StageError(Exception):
    """A stage ended with an error; the text is its last lines."""


def run(address: str, options: Sequence[str], log: Callable[[str], None], variables: Mapping[str, str]) -> Outcome:
    """Run the stage at `address` through DVC, hand every line to `log`; raises StageError with the last lines."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *options, "--", address]
    outcome = Outcome.RAN
    tail: deque[str] = deque(maxlen=TAIL)
    process = _start(command, variables)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        for line in lines(process.stdout):
            log(line)
            tail.append(line)
            outcome = _said(line, address) or outcome
        code = process.wait()
    finally:
        _end(process)
    if code != 0:
        raise StageError("\n".join(tail) or f"dvc ended with exit code {code} and said nothing")
    return outcome


def _start(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process group of its own, with this interpreter first on PATH, as `python` of the stage's command."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.Popen(
        command,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


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


def _said(line: str, address: str) -> Outcome | None:
    """What DVC says of a stage that it does not run."""
    if line.endswith(f"'{address}' didn't change, skipping"):
        return Outcome.UP_TO_DATE
    if line.startswith(f"Stage '{address}' is cached - skipping run"):
        return Outcome.RESTORED
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process group: asked first, then made to."""
    for request in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, request)
        except ProcessLookupError:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
