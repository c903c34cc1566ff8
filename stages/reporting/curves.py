"""Training curves as inline SVG: one chart a metric, a line a fit."""

from __future__ import annotations

import csv
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 56, 40, 14
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#b91c1c", "#0f766e", "#a16207", "#475569", "#be185d", "#1d4ed8")
LINES = 60
"""Points a line is thinned to."""


def read(folder: Path) -> dict[tuple[str, str], dict[str, Points]]:
    """Curves below a folder of plots: by group and metric, then by the fit. A curve's first column is `step`."""
    charts: dict[tuple[str, str], dict[str, Points]] = {}
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        if len(rows) > 2 and len(rows[0]) == 2 and rows[0][0] == "step":
            metric, group = rows[0][1], path.parent.relative_to(folder).as_posix().strip(".")
            points = [(float(step), float(value)) for step, value in rows[1:]]
            charts.setdefault((group, metric), {})[path.stem.removesuffix(f"_{metric}")] = points
    return charts


def thinned(points: Points) -> Points:
    """Means of consecutive pieces, so that a noisy line can be read."""
    size = math.ceil(len(points) / LINES)
    pieces = [points[start : start + size] for start in range(0, len(points), size)]
    return [(piece[-1][0], sum(value for _, value in piece) / len(piece)) for piece in pieces]


def svg(metric: str, lines: Mapping[str, Points]) -> str:
    """One chart, both axes logarithmic where every value is positive; text takes the page's colour."""
    thin = {label: thinned(points) for label, points in lines.items()}
    values = [value for points in thin.values() for _, value in points]
    logarithmic = min(values) > 0
    scale = math.log10 if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    last = max(step for points in thin.values() for step, _ in points)

    def place(step: float, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - scale(value)) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(metric)} by step">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        level = low + share * (high - low)
        value = 10**level if logarithmic else level
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        x = LEFT + (WIDTH - LEFT - 8) * share
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{share * last:.0f}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">step</text>')
    for index, points in enumerate(thin.values()):
        path = " ".join(place(step, value) for step, value in points)
        parts.append(f'<polyline fill="none" stroke="{COLOURS[index % len(COLOURS)]}" points="{path}"/>')
    return "".join([*parts, "</svg>"])


def legend(lines: Mapping[str, Points]) -> list[tuple[str, str]]:
    """(label, colour) of every line of a chart."""
    return [(label, COLOURS[index % len(COLOURS)]) for index, label in enumerate(lines)]
