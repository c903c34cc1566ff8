"""What a run shows in the terminal: lines of the stages under their names, and who runs, who waits and for what."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from flows.engine import View
from flows.graph import Step
from flows.stage import Outcome
from flows.summary import Result

EVERY_SECONDS = 10.0
"""Seconds between two lines of progress where the terminal cannot redraw one."""
NAMED = 3
"""How many stages a line of progress names."""


class Terminal:
    """Prints what happens as it happens. A real terminal redraws its last line, elsewhere one comes now and then."""

    def __init__(self, out: TextIO | None = None, quiet: bool = False) -> None:
        """`quiet` leaves out what the stages print."""
        self.out, self.quiet = out or sys.stdout, quiet
        self.redraws = self.out.isatty()
        self.shown = time.monotonic()
        self.view: Callable[[], View] | None = None

    def started(self, step: Step) -> None:
        """Say which stage begins."""
        self._print(f"{step.name} | begins")

    def line(self, step: Step, text: str) -> None:
        """Print a line of a stage under its name."""
        if not self.quiet:
            self._print(f"{step.name} | {text}")

    def ended(self, result: Result) -> None:
        """Say how a stage ended, if it did anything."""
        if result.outcome is not Outcome.UP_TO_DATE:
            self._print(f"{result.step.name} | {result.outcome} after {result.seconds:.1f} s")

    def moved(self, view: Callable[[], View]) -> None:
        """Show how things stand, unless that was done a moment ago."""
        self.view = view
        if time.monotonic() - self.shown >= (0.2 if self.redraws else EVERY_SECONDS):
            self.shown = time.monotonic()
            self._show()

    def _print(self, line: str) -> None:
        clear = "\r\x1b[K" if self.redraws else ""
        self.out.write(f"{clear}{line}\n")  # in one piece: stages print from their threads
        self.out.flush()

    def _show(self) -> None:
        if self.view and (view := self.view()).running:
            self.out.write(f"\r\x1b[K{described(view)}" if self.redraws else f"{described(view)}\n")
            self.out.flush()


def described(view: View) -> str:
    """One line: `12 of 30 done; runs train@a (41 s); waits report (for train@a), 7 more; about 3 min left`."""
    now = time.monotonic()
    runs = _named([f"{name} ({now - since:.0f} s)" for name, since in view.running.items()])
    waits = _named([f"{name} (for {reason})" for name, reason in view.waiting.items()])
    parts = [f"{view.done} of {view.total} done", f"runs {runs}"]
    parts += [f"waits {waits}"] if waits else []
    parts += [f"about {spoken(view.left)} left"] if view.left >= 1 else []
    return "; ".join(parts)


def _named(all_of_them: list[str]) -> str:
    more = len(all_of_them) - NAMED
    return ", ".join([*all_of_them[:NAMED], *([f"{more} more"] if more > 0 else [])])


def spoken(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
