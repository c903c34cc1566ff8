"""What a run did to the metrics, against the last commit, as `dvc metrics diff` tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from scmrepo.exceptions import SCMError


@dataclass(frozen=True)
class Change:
    """One figure of one metrics file, in the last commit and now; what is not there is None."""

    path: str
    metric: str
    old: Any
    new: Any

    @property
    def difference(self) -> str:
        """New less old, where both are numbers."""
        both = isinstance(self.old, int | float) and isinstance(self.new, int | float)
        return f"{self.new - self.old:+.6g}" if both else ""


def changes(repo: Repo) -> list[Change]:
    """Figures that differ; none where there is no commit to compare with, or no stage has metrics."""
    if not any(out.metric for stage in repo.index.stages for out in stage.outs):
        return []
    repo._reset()
    try:
        found: Mapping[str, Any] = repo.metrics.diff(a_rev="HEAD")
    except (DvcException, SCMError, KeyError):
        return []
    rows = [
        Change(path, metric, figures.get("old"), figures.get("new"))
        for path, by_metric in found.get("diff", {}).items()
        for metric, figures in by_metric.items()
    ]
    return [row for row in rows if row.old != row.new]


def markdown(rows: Sequence[Change]) -> str:
    """A table for Prefect's dashboard."""
    lines = [f"| {r.path} | {r.metric} | {_said(r.old)} | {_said(r.new)} | {r.difference} |" for r in rows]
    return "\n".join(["| file | metric | HEAD | now | change |", "|---|---|---|---|---|", *lines])


def table(rows: Sequence[Change]) -> str:
    """The same for the terminal, in one line a figure."""
    return "\n".join(f"  {r.path} {r.metric}: {_said(r.old)} -> {_said(r.new)} {r.difference}".rstrip() for r in rows)


def _said(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
