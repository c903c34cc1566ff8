"""Pictures of collapse: curves, Gram matrices beside the closed form, lengths a class, and which classes vanish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from systems.analysis.neural_collapse.closed_form import Solution
from systems.analysis.neural_collapse.geometry import MEASURES, Tail
from systems.parts import collapse

SHOWN = ("NC1", "NC2 GOF", "NC2 OF", "NC3")


def curves_figure(histories: Mapping[str, Sequence[Tensor]], every: Mapping[str, int]) -> Figure:
    """A panel a measure, a line a group: the mean over seeds, with the range of the seeds."""
    figure = Figure(figsize=(3.2 * len(SHOWN), 3))
    for place, name in enumerate(SHOWN, 1):
        axes = figure.add_subplot(1, len(SHOWN), place)
        for group, history in histories.items():
            values = torch.stack(list(history))[..., MEASURES.index(name)].clamp_min(1e-16).numpy()
            steps = np.arange(values.shape[1]) * every[group]
            axes.plot(steps, np.exp(np.log(values).mean(0)), label=group)
            axes.fill_between(steps, values.min(0), values.max(0), alpha=0.2)
        axes.set(yscale="log", title=name, xlabel="step")
    axes.legend(fontsize=7)
    figure.tight_layout()
    return figure


def grams_figure(tails: Mapping[str, tuple[Tail, Solution]]) -> Figure:
    """Rows: runs. Columns: class means measured and in closed form, W W^T measured and in closed form."""
    figure = Figure(figsize=(10, 2.6 * len(tails)))
    titles = ("class means", "closed form", "W W^T", "closed form")
    for row, (name, (tail, solution)) in enumerate(tails.items()):
        measured = collapse.gram(tail.means.T), collapse.gram(tail.weight)
        wanted = np.diag(solution.means), np.diag(solution.strength)
        shown = (measured[0].numpy(), wanted[0], measured[1].numpy(), wanted[1])
        for column, (title, matrix) in enumerate(zip(titles, shown, strict=True)):
            axes = figure.add_subplot(len(tails), 4, 4 * row + column + 1)
            most = float(np.abs(shown[column | 1]).max()) or 1.0
            _matrix(axes, matrix, most, f"{name}: {title}" if column == 0 else title)
    figure.tight_layout()
    return figure


def products_figure(tail: Tail) -> Figure:
    """Gram matrix of the rows of W_M, W_M W_M-1, ..., W."""
    figure = Figure(figsize=(2.6 * len(tail.products), 2.6))
    for place, product in enumerate(tail.products, 1):
        matrix = collapse.gram(product).numpy()
        axes = figure.add_subplot(1, len(tail.products), place)
        _matrix(axes, matrix, float(np.abs(matrix).max()) or 1.0, f"{place} layers")
    figure.tight_layout()
    return figure


def _matrix(axes: object, matrix: np.ndarray, most: float, title: str) -> None:
    axes.imshow(matrix, cmap="RdBu", vmin=-most, vmax=most)  # type: ignore[attr-defined]
    axes.set(title=title, xticks=[], yticks=[])  # type: ignore[attr-defined]


def lengths_figure(tails: Mapping[str, tuple[Tail, Solution]]) -> Figure:
    """A panel a run: squared length of every class's row of W, predicted and observed."""
    figure = Figure(figsize=(3.6 * len(tails), 3))
    for place, (name, (tail, solution)) in enumerate(tails.items(), 1):
        axes = figure.add_subplot(1, len(tails), place)
        at = np.arange(len(solution.strength))
        axes.bar(at - 0.2, solution.strength, 0.4, label="closed form")
        axes.bar(at + 0.2, tail.weight.square().sum(1).numpy(), 0.4, label="observed")
        axes.set(title=name, xlabel="samples of the class")
        axes.set_xticks(at, [str(count) for count in solution.problem.counts], rotation=60, fontsize=7)
    axes.legend(fontsize=7)
    figure.tight_layout()
    return figure


def minority_figure(tails: Mapping[str, tuple[Tail, Solution]]) -> Figure:
    """Rows: count vectors. Colour: length of the class's row of W over the longest; a cross: predicted to vanish."""
    widest = max(len(solution.x) for _, solution in tails.values())
    figure = Figure(figsize=(1.3 * widest + 2, 0.5 * len(tails) + 1))
    axes = figure.add_subplot()
    shown = np.full((len(tails), widest), np.nan)
    for row, (tail, solution) in enumerate(tails.values()):
        lengths = tail.weight.norm(dim=1).numpy()
        shown[row, : len(lengths)] = lengths / (lengths.max() or 1.0)
        for column, count in enumerate(solution.problem.counts):
            cross = " x" if column in solution.collapsed else ""
            axes.text(column, row, f"{count}{cross}", ha="center", va="center", fontsize=8)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1.5, aspect="auto")
    axes.set(xticks=[], title="length over the longest; x: predicted to vanish")
    axes.set_yticks(range(len(tails)), list(tails), fontsize=7)
    figure.tight_layout()
    return figure
