"""How long each stage took when it last ran: what to start first, and how much time is left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flows.graph import Step

FILE = "flow-durations.json"


def read(folder: Path) -> dict[str, float]:
    """Seconds by stage; a file that cannot be read only costs the knowledge."""
    try:
        known = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): float(value) for key, value in known.items()} if isinstance(known, dict) else {}


def write(folder: Path, known: Mapping[str, float]) -> None:
    """Keep them for the next run."""
    partial = folder / f"{FILE}.partial"
    partial.write_text(json.dumps(dict(known)))
    partial.replace(folder / FILE)


def paths(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the longest chain that waits for it; unknown ones count 0."""
    longest: dict[str, float] = {}
    behind: dict[str, float] = {}
    for step in reversed(steps):
        longest[step.address] = seconds.get(step.address, 0.0) + behind.get(step.address, 0.0)
        for earlier in step.after:
            behind[earlier] = max(behind.get(earlier, 0.0), longest[step.address])
    return longest


def left(waiting: Iterable[str], running: Mapping[str, float], seconds: Mapping[str, float], jobs: int) -> float:
    """Seconds still to go, about: the work that is known of, shared among the jobs, or the longest single rest."""
    rests = [max(0.0, seconds.get(address, 0.0) - spent) for address, spent in running.items()]
    work = sum(rests) + sum(seconds.get(address, 0.0) for address in waiting)
    return max([work / max(1, jobs), *rests])
