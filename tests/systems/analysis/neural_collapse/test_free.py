"""Direct descent against the objective written out, the closed form, and its own seeds."""

from __future__ import annotations

import pytest
import torch

from systems.analysis.neural_collapse.cases import Case, Direct
from systems.analysis.neural_collapse.closed_form import solve
from systems.analysis.neural_collapse.free import Descent, descend, from_named, labels_of, losses, start
from systems.analysis.neural_collapse.geometry import objective, verdict

SMALL = {"counts": (8, 4, 2), "width": 6, "lambda_w": 5e-3, "lambda_h": 5e-3}


def direct(depth: int = 1, **more: object) -> Direct:
    case = Case.model_validate({**SMALL, **more})
    return Direct(problem=case.problem(depth), case="x", bias=case.bias, loss=case.loss)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_the_loss_is_the_objective_of_every_seed(depth: int, bias: bool) -> None:
    asked = direct(depth, bias=bias)
    free, labels = start(asked, Descent(seeds=(3, 1))), labels_of(asked.problem.counts)
    if free.bias is not None:
        torch.nn.init.normal_(free.bias)
    for seed, loss in enumerate(losses(asked, free, labels).tolist()):
        added = None if free.bias is None else free.bias[seed, :, 0].detach()
        assert loss == pytest.approx(objective(free.tail(seed, labels), solve(asked.problem), added), rel=1e-5)


def test_cross_entropy_is_that_of_torch() -> None:
    asked = direct(loss="ce")
    free, labels = start(asked, Descent(seeds=(0, 1))), labels_of(asked.problem.counts)
    for seed, loss in enumerate(losses(asked, free, labels).tolist()):
        tail = free.tail(seed, labels)
        fit = torch.nn.functional.cross_entropy((tail.weight @ tail.features.double()).T, labels)
        decay = sum(float(tensor.square().sum()) for tensor in (*tail.layers, tail.features)) * 5e-3 / 2
        assert loss == pytest.approx(float(fit) + decay, rel=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_descent_reaches_the_predicted_loss_and_lengths(depth: int) -> None:
    asked = direct(depth)
    solution, labels = solve(asked.problem), labels_of(asked.problem.counts)
    free, history = descend(asked, Descent(steps=6000, std=0.3, seeds=(0, 1)), range(6000))
    assert history.shape == (2, 12, 5)
    for seed in range(2):
        tail = free.tail(seed, labels)
        assert objective(tail, solution) == pytest.approx(solution.loss, rel=1e-4)
        lengths = tail.weight.square().sum(1)
        torch.testing.assert_close(lengths, torch.from_numpy(solution.strength), rtol=0.01, atol=1e-4)
        assert verdict(tail, solution) == "as predicted"


def test_a_deep_narrow_model_that_fell_into_the_origin_is_said_to_be_stuck() -> None:
    asked = direct(6, lambda_w=1e-3, lambda_h=1e-4)
    solution = solve(asked.problem)
    assert solution.surviving
    free, _ = descend(asked, Descent(steps=300, std=0.05, seeds=(0,)), range(300))
    assert verdict(free.tail(0, labels_of(asked.problem.counts)), solution) == "stuck at zero"


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    asked = direct(2)
    alone, _ = descend(asked, Descent(steps=50, seeds=(7,)), range(50))
    among, _ = descend(asked, Descent(steps=50, seeds=(0, 7)), range(50))
    torch.testing.assert_close(alone.features[0], among.features[1], rtol=1e-4, atol=1e-6)


def test_runs_are_stored_whole() -> None:
    free = start(direct(3, bias=True), Descent())
    again = from_named(free.named(), 3)
    assert len(again.tensors) == len(free.tensors) == 5
    for a, b in zip(again.tensors, free.tensors, strict=True):
        assert torch.equal(a, b)
