"""How a sweep ended, as a table for the terminal and for the dashboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flows.study import Row, Study


def short(keys: Sequence[str]) -> dict[str, str]:
    """A column's name for each key: its last parts, as many as tell it from the others."""

    def ends(key: str, parts: int) -> str:
        return ".".join(key.split(".")[-parts:])

    return {
        key: next(
            ends(key, parts)
            for parts in range(1, key.count(".") + 2)
            if all(other == key or ends(other, parts) != ends(key, parts) for other in keys)
        )
        for key in keys
    }


def cells(study: Study) -> list[list[str]]:
    """The table: a head, then a line a trial, the best one marked with a star."""
    rows, best, metric = study.rows(), study.best(), study.plan.metric
    keys = list(rows[0].values) if rows else []
    names = short(keys)
    head = ["", "trial", *(names[key] for key in keys), *([metric.rpartition(":")[2]] if metric else []), "", "seconds"]
    return [head, *(_line(row, keys, metric, row == best) for row in rows)]


def _line(row: Row, keys: Sequence[str], metric: str, best: bool) -> list[str]:
    value = [_said(row.value)] if metric else []
    return [
        "*" if best else "",
        row.name,
        *(_said(row.values[k]) for k in keys),
        *value,
        row.state,
        f"{row.seconds:.1f}",
    ]


def _said(value: Any) -> str:
    if value is None or isinstance(value, float):
        return "-" if value is None else f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def table(study: Study) -> str:
    """For the terminal: the table, the last lines of each failure, and what to type for the best."""
    lines = cells(study)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    failures = [f"\n{row.name} failed; its last lines:\n{_indented(row.why)}" for row in study.rows() if row.why]
    return "\n".join(["", *text, *failures, "", summary(study)])


def markdown(study: Study) -> str:
    """The same for Prefect's dashboard."""
    head, *lines = cells(study)
    rows = [f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines]]
    failures = [f"\n**{row.name}**\n\n```\n{row.why}\n```" for row in study.rows() if row.why]
    return "\n".join([*rows, *failures, "", summary(study)])


def summary(study: Study) -> str:
    """The counts, and how the best one comes into the workspace."""
    states = [row.state for row in study.rows()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "no trials"
    best = study.best()
    if best:
        return f"{counts}; {best.name} is best; into the workspace with: dvc exp apply {best.name}"
    return f"{counts}; into the workspace with: dvc exp apply TRIAL"


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
