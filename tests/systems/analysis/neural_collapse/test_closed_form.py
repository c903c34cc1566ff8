"""The closed form against brute force, against its own formulas, and against matrices built from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from systems.analysis.neural_collapse.closed_form import Problem, Solution, best_x, cost, solve

PROBLEMS = st.builds(
    Problem,
    counts=st.lists(st.integers(1, 500), min_size=2, max_size=5).map(tuple),
    depth=st.integers(1, 6),
    width=st.just(8),
    lambda_w=st.floats(-4.5, -2).map(lambda power: 10**power),
    lambda_h=st.floats(-6, -2).map(lambda power: 10**power),
)


def finest(count: int, problem: Problem) -> float:
    """Minimum of g over grids that close in on it to steps below 1e-5."""
    low, high = 0.0, count / problem.slope
    while True:
        grid = np.linspace(low, high, 20001)
        values = count / (grid**problem.depth + 1) + problem.slope * grid
        at = int(np.argmin(values))
        if high - low < 0.1:
            return float(grid[at])
        step = grid[1] - grid[0]
        low, high = max(0.0, grid[at] - 50 * step), grid[at] + 50 * step


@given(PROBLEMS)
def test_holds_15_4_the_solver_equals_brute_force(problem: Problem) -> None:
    for count in problem.counts:
        x, wanted = best_x(count, problem), finest(count, problem)
        value, least = cost(x, count, problem), cost(wanted, count, problem)
        assert value <= least * (1 + 1e-12)
        # Next to the threshold two minima cost the same, and a grid may take the other one.
        if abs(least - count) > 1e-6 * count or x == wanted == 0:
            assert x == pytest.approx(wanted, abs=1e-4 + 1e-4 * wanted)


@given(PROBLEMS)
def test_holds_15_4_one_layer_has_a_formula(problem: Problem) -> None:
    single = problem.model_copy(update={"depth": 1})
    threshold = single.samples**2 * single.lambda_w * single.lambda_h
    for count in single.counts:
        wanted = max(0.0, float(np.sqrt(count / threshold)) - 1)
        assert best_x(count, single) == wanted
        length = np.sqrt(count * single.lambda_h / single.lambda_w) - single.samples * single.lambda_h
        strength = Solution(single, np.array([wanted])).strength[0]
        assert strength == pytest.approx(max(length, 0), rel=1e-9, abs=1e-12)


@given(PROBLEMS.filter(lambda problem: problem.depth > 1))
def test_beyond_the_bound_of_the_paper_every_class_is_dropped(problem: Problem) -> None:
    depth = problem.depth
    for count in problem.counts:
        if problem.slope / count > (depth - 1) ** ((depth - 1) / depth) / depth:
            assert best_x(count, problem) == 0


def objective(problem: Problem, layers: list[np.ndarray], features: np.ndarray) -> float:
    """L, written out."""
    labels = np.repeat(np.arange(len(problem.counts)), problem.counts)
    product = np.linalg.multi_dot([*layers[::-1], features]) if len(layers) > 1 else layers[0] @ features
    error = product - np.eye(len(problem.counts))[labels].T
    decay = problem.lambda_w * sum((layer**2).sum() for layer in layers) + problem.lambda_h * (features**2).sum()
    return float((error**2).sum() / (2 * problem.samples) + decay / 2)


def minimiser(solution: Solution) -> tuple[list[np.ndarray], np.ndarray]:
    """Diagonal matrices that have the lengths of the solution."""
    problem, classes = solution.problem, len(solution.x)
    single = np.diag(solution.strength ** (1 / (2 * problem.depth)))
    means = np.diag(np.sqrt(solution.means))
    return [single] * problem.depth, means[:, np.repeat(np.arange(classes), problem.counts)]


@given(PROBLEMS)
def test_matrices_with_the_lengths_of_the_solution_reach_its_loss(problem: Problem) -> None:
    solution = solve(problem)
    layers, features = minimiser(solution)
    assert objective(problem, layers, features) == pytest.approx(solution.loss, rel=1e-9)
    product, means = np.linalg.multi_dot([*layers, np.eye(len(solution.x))]), np.diag(np.sqrt(solution.means))
    np.testing.assert_allclose(np.diag(product @ means), solution.outputs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(product, np.diag(solution.ratio) @ means.T, rtol=1e-9, atol=1e-12)


@given(PROBLEMS, st.integers(0, 2**32 - 1))
def test_no_matrices_near_the_solution_cost_less(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    solution = solve(problem)
    layers, features = minimiser(solution)
    moved = [layer + 0.01 * rng.standard_normal(layer.shape) for layer in layers]
    assert objective(problem, moved, features + 0.01 * rng.standard_normal(features.shape)) >= solution.loss


def test_a_class_below_the_threshold_is_dropped_and_one_above_is_not() -> None:
    values: dict[str, Any] = {"depth": 1, "width": 8, "lambda_w": 5e-3, "lambda_h": 5e-3}
    assert solve(Problem(counts=(400, 100, 50, 5), **values)).collapsed == (3,)
    assert solve(Problem(counts=(400, 100, 50, 30), **values)).collapsed == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 3),
        ("counts", (5, 0, 3, 2)),
        ("counts", (5, -1, 3, 2)),
        ("lambda_w", 0.0),
        ("lambda_h", -1e-4),
        ("depth", 0),
    ],
)
def test_holds_15_6_bad_input_raises_a_value_error_naming_the_parameter(name: str, value: object) -> None:
    good = {"counts": (4, 3, 2, 1), "depth": 2, "width": 8, "lambda_w": 1e-3, "lambda_h": 1e-3}
    assert solve(Problem.model_validate(good)).loss > 0
    with pytest.raises(ValueError, match=name) as caught:
        Problem.model_validate({**good, name: value})
    assert isinstance(caught.value, ValidationError)
