"""Pictures of runs: a trace as a tree, accuracy over length, and calls by handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from matplotlib.figure import Figure

from systems.parts.programs import Node, to_text

WIDTH = 64
"""Characters of a line in a tree."""
COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c")


@dataclass(frozen=True)
class _Line:
    depth: int
    parent: int
    handler: str
    words: str


def tree(node: Node) -> Figure:
    """A trace from the top: a line a call, under the one that made it, in the colour of its handler."""
    lines = list(_lines(node, 0, -1, []))
    handlers = list(dict.fromkeys(line.handler for line in lines))
    figure = Figure(figsize=(11, 0.26 * len(lines) + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-0.3, 11), ylim=(len(lines) - 0.3, -0.7))
    for place, line in enumerate(lines):
        colour = COLOURS[handlers.index(line.handler) % len(COLOURS)]
        if line.parent >= 0:
            x = 0.4 * (line.depth - 1)
            axes.plot((x, x, x + 0.3), (line.parent + 0.2, place, place), color="#bbbbbb", lw=0.8, zorder=1)
        axes.plot(0.4 * line.depth, place, "o", color=colour, ms=5, zorder=2)
        axes.text(0.4 * line.depth + 0.12, place, line.handler, color=colour, va="center", fontsize=8, weight="bold")
        axes.text(0.4 * line.depth + 1.15, place, line.words, va="center", fontsize=8, family="monospace")
    return figure


def _lines(node: Node, depth: int, parent: int, before: list[_Line]) -> Sequence[_Line]:
    """Lines of a call and all below it, behind those of `before`."""
    answer = shorten(to_text(node.answer), WIDTH // 2, placeholder=" ...")
    question = shorten(node.question, WIDTH, placeholder=" ...")
    before.append(_Line(depth, parent, node.handler, f"{question}  =>  {answer}"))
    own = len(before) - 1
    for step in node.steps:
        for call in step.calls:
            _lines(call, depth + 1, own, before)
    return before


Accuracy = Mapping[str, Mapping[int, Sequence[float]]]
"""Shares of right answers by method and size, one a seed."""


def over_length(accuracy: Accuracy, what: str, trained: int | None) -> Figure:
    """Exact match over size: the mean over seeds, in a band from the worst to the best; a line where training ended."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.add_subplot()
    for place, (method, by_size) in enumerate(accuracy.items()):
        sizes = sorted(by_size)
        mean = [100 * sum(by_size[size]) / len(by_size[size]) for size in sizes]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(sizes, mean, "o-", color=colour, label=method, ms=4)
        low, high = ([100 * of(by_size[size]) for size in sizes] for of in (min, max))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, lw=0)
    if trained is not None:
        axes.axvline(trained + 0.5, color="#999999", lw=0.8, ls="--")
        axes.set_title(f"tasks of at most {trained} were trained on", fontsize=8, color="#777777", loc="left")
    axes.set(xlabel=what, ylabel="exact match, %", ylim=(-4, 109))
    axes.set_xticks(sorted({size for by_size in accuracy.values() for size in by_size}))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def calls(counts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean calls a question, stacked by handler, a bar a kind of question."""
    figure = Figure(figsize=(7, 0.4 * len(counts) + 1.2))
    axes = figure.add_subplot()
    handlers = list(dict.fromkeys(handler for own in counts.values() for handler in own))
    left = dict.fromkeys(counts, 0.0)
    for place, handler in enumerate(handlers):
        widths = [own.get(handler, 0.0) for own in counts.values()]
        axes.barh(list(counts), widths, left=list(left.values()), color=COLOURS[place % len(COLOURS)], label=handler)
        left = {name: start + width for (name, start), width in zip(left.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel("calls a question")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
