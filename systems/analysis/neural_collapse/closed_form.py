"""The global minimisers of the deep linear unconstrained feature model with squared error, for any class sizes.

    L = |W_M ... W_1 H - Y|^2 / (2 N) + lambda_w / 2 sum_m |W_m|^2 + lambda_h / 2 |H|^2     (no bias)

For every class one number x >= 0 minimises g(x) = n / (x^M + 1) + b x; all lengths of the solution follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.optimize import brentq

from systems.parts.run import Strict


class Problem(Strict):
    """Class sizes, depth and decay of an unconstrained feature model; a wrong one raises a `ValueError`."""

    counts: tuple[int, ...] = Field(min_length=2, description="samples of every class")
    depth: int = Field(ge=1, description="linear layers M behind the features")
    width: int = Field(gt=0, description="length d of a feature, at least the number of classes")
    lambda_w: float = Field(gt=0, description="decay of every weight matrix")
    lambda_h: float = Field(gt=0, description="decay of the features")

    @model_validator(mode="after")
    def _counts_are_positive_and_fit(self) -> Problem:
        if min(self.counts) < 1:
            raise ValueError(f"counts = {self.counts}: every class needs a sample")
        if self.width < len(self.counts):
            raise ValueError(f"width = {self.width}: at least the number of classes, {len(self.counts)}, is wanted")
        return self

    @property
    def samples(self) -> int:
        """N."""
        return sum(self.counts)

    @property
    def slope(self) -> float:
        """b, the cost of a unit of x."""
        depth = self.depth
        return float(depth * self.samples * (self.samples * self.lambda_w**depth * self.lambda_h) ** (1 / depth))


def cost(x: float, count: int, problem: Problem) -> float:
    """g(x) of a class of `count` samples."""
    return count / (x**problem.depth + 1) + problem.slope * x


def best_x(count: int, problem: Problem) -> float:
    """The x >= 0 that minimises g for a class of `count` samples; 0 where the class is dropped."""
    depth, ratio = problem.depth, problem.slope / count
    if depth == 1:
        threshold = problem.samples**2 * problem.lambda_w * problem.lambda_h
        return float(np.sqrt(count / threshold)) - 1 if count > threshold else 0.0
    # The slope of the first term, M x^(M-1) / (x^M + 1)^2, peaks here and falls beyond: the largest root lies there.
    peak = ((depth - 1) / (depth + 1)) ** (1 / depth)

    def excess(x: float) -> float:
        return depth * x ** (depth - 1) / (x**depth + 1) ** 2 - ratio

    if excess(peak) <= 0:
        return 0.0
    far = 2.0 * peak
    while excess(far) > 0:
        far *= 2
    x = float(brentq(excess, peak, far, xtol=1e-15, rtol=1e-14))
    return x if cost(x, count, problem) < count else 0.0


@dataclass(frozen=True)
class Solution:
    """What every global minimiser has in common; a number a class."""

    problem: Problem
    x: Float[np.ndarray, " k"]

    @cached_property
    def strength(self) -> Float[np.ndarray, " k"]:
        """Squared lengths of the rows of W = W_M ... W_1, s^2M: W W^T is diagonal, and this is its diagonal."""
        return self._shift * self.x**self.problem.depth

    @property
    def _shift(self) -> float:
        return self.problem.samples * self.problem.lambda_h

    @property
    def means(self) -> Float[np.ndarray, " k"]:
        """Squared lengths of the class means, the diagonal of their Gram matrix."""
        return self.strength / (self.strength + self._shift) ** 2

    @property
    def outputs(self) -> Float[np.ndarray, " k"]:
        """Diagonal of W times the class means: what the net answers for its own class, below 1."""
        return self.strength / (self.strength + self._shift)

    @property
    def ratio(self) -> Float[np.ndarray, " k"]:
        """The diagonal matrix that takes the transposed class means to W."""
        return self.strength + self._shift

    @property
    def collapsed(self) -> tuple[int, ...]:
        """Classes that are dropped."""
        return tuple(int(number) for number in np.flatnonzero(self.x == 0))

    @property
    def surviving(self) -> tuple[int, ...]:
        """Classes that are not."""
        return tuple(int(number) for number in np.flatnonzero(self.x > 0))

    @property
    def loss(self) -> float:
        """The minimum of L."""
        costs = (cost(x, count, self.problem) for x, count in zip(self.x, self.problem.counts, strict=True))
        return sum(costs) / (2 * self.problem.samples)


def solve(problem: Problem) -> Solution:
    """The closed form."""
    return Solution(problem, np.array([best_x(count, problem) for count in problem.counts]))
