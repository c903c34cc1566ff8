"""How a run of the pipeline ended, as a table for the terminal and for the dashboard."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flows.graph import Step
from flows.stage import Outcome


@dataclass(frozen=True)
class Result:
    """How one step ended; `why` is a failure's last lines."""

    step: Step
    outcome: Outcome
    seconds: float = 0.0
    why: str = ""


def table(results: Sequence[Result]) -> str:
    """One line a stage with its outcome, the counts, and the last lines of each failure."""
    width = max((len(result.step.name) for result in results), default=0)
    lines = [f"  {result.step.name:{width}}  {result.outcome:11}  {result.seconds:7.1f} s" for result in results]
    failures = [f"\n{result.step.name} failed; its last lines:\n{_indented(result.why)}" for result in failed(results)]
    return "\n".join(["", *lines, "", summary(results), *failures])


def markdown(results: Sequence[Result]) -> str:
    """The same for Prefect's dashboard."""
    rows = [f"| {result.step.name} | {result.outcome} | {result.seconds:.1f} |" for result in results]
    failures = [f"\n**{result.step.name}**\n\n```\n{result.why}\n```" for result in failed(results)]
    return "\n".join(["| stage | outcome | seconds |", "|---|---|---|", *rows, *failures])


def summary(results: Sequence[Result]) -> str:
    """The counts in one line, as `3 ran, 1 up to date`."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]) or "no stages"


def failed(results: Sequence[Result]) -> list[Result]:
    """The results of the stages that failed themselves."""
    return [result for result in results if result.outcome is Outcome.FAILED]


def slug(name: str) -> str:
    """A stage's name in the only letters Prefect takes for an artifact: a-z, 0-9 and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
