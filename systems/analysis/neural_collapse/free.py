"""Direct gradient descent on features and weights: the paper's synthetic test, several seeds side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from systems.analysis.neural_collapse.cases import Direct
from systems.analysis.neural_collapse.closed_form import solve
from systems.analysis.neural_collapse.geometry import MEASURES, Tail, measure
from systems.parts.run import Strict


class Descent(Strict):
    """Full-batch SGD with momentum."""

    steps: int = Field(default=15000, gt=0, description="steps of every run")
    lr: float = Field(default=0.1, gt=0, description="learning rate")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum")
    std: float = Field(default=0.1, gt=0, description="deviation of features and weights at the start")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="starts, optimised together")
    measure_every: int = Field(default=500, gt=0, description="steps between two points of the curves")


@dataclass(frozen=True)
class Free:
    """Features [s, d, n], layers [s, out, in] with W_1 first, and a bias [s, k, 1] that may be missing: s seeds."""

    features: Tensor
    layers: Sequence[Tensor]
    bias: Tensor | None

    @property
    def tensors(self) -> list[Tensor]:
        """All that is optimised."""
        return [self.features, *self.layers, *([] if self.bias is None else [self.bias])]

    def tail(self, seed: int, labels: Int64[Tensor, " n"]) -> Tail:
        """The run of one seed, by its place."""
        return Tail(self.features[seed].detach(), labels, [layer[seed].detach() for layer in self.layers])

    def named(self) -> dict[str, Tensor]:
        """As it is stored."""
        layers = {f"layer_{number}": layer for number, layer in enumerate(self.layers, 1)}
        bias = {} if self.bias is None else {"bias": self.bias}
        return {name: value.detach().cpu() for name, value in {"features": self.features, **layers, **bias}.items()}


def from_named(tensors: dict[str, Tensor], depth: int) -> Free:
    """The inverse of `Free.named`."""
    layers = [tensors[f"layer_{number}"] for number in range(1, depth + 1)]
    return Free(tensors["features"], layers, tensors.get("bias"))


def labels_of(counts: Sequence[int]) -> Int64[Tensor, " n"]:
    """Classes of samples that stand class by class."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def start(direct: Direct, descent: Descent, device: str = "cpu") -> Free:
    """Normal random features and weights, drawn a seed at a time so that no seed depends on its neighbours."""
    problem, classes = direct.problem, len(direct.problem.counts)
    shapes = [(problem.width, problem.samples), *[(problem.width, problem.width)] * (problem.depth - 1)]
    shapes.append((classes, problem.width))
    generators = [torch.Generator().manual_seed(seed) for seed in descent.seeds]
    drawn = [torch.stack([descent.std * torch.randn(shape, generator=g) for g in generators]) for shape in shapes]
    features, *layers = (tensor.to(device).requires_grad_() for tensor in drawn)
    bias = torch.zeros(len(descent.seeds), classes, 1, device=device, requires_grad=True) if direct.bias else None
    return Free(features, layers, bias)


def losses(direct: Direct, free: Free, labels: Int64[Tensor, " n"]) -> Float[Tensor, " s"]:
    """L of every seed."""
    problem = direct.problem
    out = free.features
    for layer in free.layers:
        out = layer @ out
    out = out if free.bias is None else out + free.bias
    if direct.loss == "mse":
        error = out - torch.nn.functional.one_hot(labels, out.shape[1]).T.to(out)
        fit = error.square().sum((1, 2)) / (2 * problem.samples)
    else:
        chosen = labels.expand(len(out), 1, -1)
        fit = (out.logsumexp(1, keepdim=True) - out.gather(1, chosen)).mean((1, 2))
    decay = sum(layer.square().sum((1, 2)) for layer in free.layers) * problem.lambda_w
    result: Tensor = fit + (decay + free.features.square().sum((1, 2)) * problem.lambda_h) / 2
    return result


def descend(direct: Direct, descent: Descent, steps: Iterable[int], device: str = "cpu") -> tuple[Free, Tensor]:
    """Optimise; also the curves [s, points, measures] of the steps that `measure_every` divides."""
    free, labels = start(direct, descent, device), labels_of(direct.problem.counts).to(device)
    optimizer = torch.optim.SGD(free.tensors, descent.lr, descent.momentum, foreach=True)
    curves = []
    for step in steps:
        if step % descent.measure_every == 0:
            curves.append(_measured(direct, free, labels))
        optimizer.zero_grad()
        losses(direct, free, labels).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return free, torch.stack(curves, 1)


def _measured(direct: Direct, free: Free, labels: Int64[Tensor, " n"]) -> Float[Tensor, "s m"]:
    solution, rows = solve(direct.problem), []
    for seed in range(len(free.features)):
        found = measure(free.tail(seed, labels), solution)
        rows.append([found[name] for name in MEASURES])
    return torch.tensor(rows, dtype=torch.float64).nan_to_num()
