"""What is measured of features and a linear tail, beside what the closed form says; the same for free and real nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from systems.analysis.neural_collapse.closed_form import Solution
from systems.parts import collapse

MEASURES = ("NC1", "NC2 GOF", "NC2 OF", "NC2 ETF", "NC3")
STUCK = 1e-2
"""Share of the predicted length of W below which a run is said to be stuck at zero."""


@dataclass(frozen=True)
class Tail:
    """Features [d, n] with their classes, and the layers behind them, W_1 first."""

    features: Float[Tensor, "d n"]
    labels: Int64[Tensor, " n"]
    layers: Sequence[Tensor]

    @cached_property
    def products(self) -> list[Tensor]:
        """W_M, W_M W_{M-1}, ..., W: by how many layers they take up, one first."""
        found = [self.layers[-1].double()]
        for layer in reversed(self.layers[:-1]):
            found.append(found[-1] @ layer.double())
        return found

    @property
    def weight(self) -> Float[Tensor, "k d"]:
        """W, the whole tail as one matrix."""
        return self.products[-1]

    @cached_property
    def means(self) -> Float[Tensor, "d k"]:
        """Mean feature of every class."""
        return collapse.class_means(self.features.double(), self.labels, len(self.weight))

    @property
    def inputs(self) -> list[Tensor]:
        """What enters every layer, the features first."""
        found = [self.features.double()]
        for layer in self.layers[:-1]:
            found.append(layer.double() @ found[-1])
        return found

    def collapsed(self) -> tuple[int, ...]:
        """Classes whose row of W and whose mean feature both vanished."""
        gone = collapse.vanished(self.weight) & collapse.vanished(self.means.T)
        return tuple(int(number) for number in gone.nonzero()[:, 0])


def measure(tail: Tail, solution: Solution) -> dict[str, float]:
    """The figures named in `MEASURES`; all fall to 0 where theory holds, but for frames that are not the true one."""
    classes = len(tail.weight)
    grams = collapse.gram(tail.weight).cpu()
    return {
        "NC1": collapse.nc1(tail.features, tail.labels, solution.surviving or range(classes)),
        "NC2 GOF": collapse.distance(grams, torch.from_numpy(solution.strength).diag()),
        "NC2 OF": collapse.distance(grams, collapse.frame(classes)),
        "NC2 ETF": collapse.distance(grams, collapse.simplex(classes)),
        "NC3": collapse.distance((tail.weight @ tail.means).cpu(), torch.from_numpy(solution.outputs).diag()),
    }


def objective(tail: Tail, solution: Solution, bias: Tensor | None = None) -> float:
    """L of the squared error, in float64."""
    problem, classes = solution.problem, len(tail.weight)
    answers = tail.weight @ tail.features.double()
    answers = answers if bias is None else answers + bias.double()[:, None]
    error = answers - torch.nn.functional.one_hot(tail.labels, classes).T
    decay = problem.lambda_w * sum(float(layer.double().square().sum()) for layer in tail.layers)
    decay += problem.lambda_h * float(tail.features.double().square().sum())
    return float(error.square().sum()) / (2 * problem.samples) + decay / 2


def verdict(tail: Tail, solution: Solution) -> str:
    """In words: did it reach the predicted solution, another one, or the local minimum at the origin?"""
    wanted = float(solution.strength.sum()) ** 0.5
    if wanted > 0 and float(tail.weight.norm()) < STUCK * wanted:
        return "stuck at zero"
    return "as predicted" if tail.collapsed() == solution.collapsed else "other classes dropped"
