"""What a person looks at: popularity, pages by storage level, read amplification, and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from systems.graph.diskgnn.plan import UNLIMITED, Plan

LEVELS = ("1 GPU memory", "2 CPU memory", "3 disk cache", "4 packed file")
COLOURS = ("#4c72b0", "#55a868", "#dd8452", "#c44e52")
GREY = "#8c8c8c"


def popularity(counts: Int[np.ndarray, " nodes"], plan: Plan) -> Figure:
    """Batches a node occurs in, nodes in descending order, with the ends of levels 1 and 2."""
    figure, axes = _empty("nodes, most popular first", "mini-batches an epoch that need it")
    axes.plot(np.arange(1, len(counts) + 1), counts, color="black")
    for end, level, colour in zip((plan.accelerated, len(plan.memory)), LEVELS, COLOURS, strict=False):
        axes.axvline(max(end, 1), color=colour, linestyle="--", label=f"end of level {level}")
    axes.set_xscale("log")
    axes.set_yscale("symlog")
    axes.legend()
    return figure


def degrees(counts: Int[np.ndarray, " nodes"]) -> Figure:
    """Histogram of the nodes' degrees."""
    figure, axes = _empty("neighbours", "nodes")
    axes.loglog(*np.unique(np.maximum(counts, 0.5), return_counts=True), ".", color="black")
    return figure


def pages_a_batch(pages: Mapping[str, Sequence[int]], naive: Sequence[int]) -> Figure:
    """Stacked pages a batch by level, beside those of the raw layout."""
    figure, axes = _empty("stored mini-batch", "pages of 4 KiB read")
    numbers, below = np.arange(len(naive)), np.zeros(len(naive))
    for (level, counts), colour in zip(pages.items(), COLOURS[2:], strict=True):
        axes.bar(numbers, counts, 1.0, below, color=colour, label=f"level {level}")
        below = below + counts
    axes.step(numbers, naive, where="mid", color=GREY, label="raw layout, same memory")
    axes.legend()
    return figure


def bytes_a_batch(needed: Mapping[str, Sequence[float]]) -> Figure:
    """Stacked megabytes of features that each level gives a batch."""
    figure, axes = _empty("stored mini-batch", "features taken, MB")
    below = np.zeros(len(next(iter(needed.values()))))
    for (level, megabytes), colour in zip(needed.items(), COLOURS, strict=True):
        axes.bar(np.arange(len(below)), megabytes, 1.0, below, color=colour, label=f"level {level}")
        below = below + megabytes
    axes.legend()
    return figure


def amplification(shares: Sequence[float], factors: Mapping[float, Sequence[float]], naive: Sequence[float]) -> Figure:
    """Bytes read over bytes needed, against the share of the features that memory holds; a line a limit of space."""
    figure, axes = _empty("share of the features in memory", "bytes read / bytes needed from disk")
    axes.plot(shares, naive, color=GREY, marker="o", label="raw layout")
    for blowup, values in factors.items():
        axes.plot(shares, values, marker="o", label=f"DiskGNN, {limit(blowup)}")
    axes.set_yscale("log", base=2)
    axes.legend()
    return figure


def limit(blowup: float) -> str:
    """A limit of disk space in words."""
    return "no limit of space" if blowup == UNLIMITED else f"at most {blowup:g} N rows"


def accuracies(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Accuracy after each epoch, a line a seed, a colour a way of sampling."""
    figure, axes = _empty("epochs", "accuracy on validation nodes")
    for (variant, seeds), colour in zip(curves.items(), (*COLOURS, GREY, "black", "#937860"), strict=False):
        for seed, values in enumerate(seeds):
            axes.plot(range(len(values)), values, color=colour, alpha=0.8, label=None if seed else variant)
    axes.legend()
    return figure


def _empty(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes
