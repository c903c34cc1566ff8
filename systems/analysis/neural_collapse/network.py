"""Backbones with a linear tail of M bias-free layers, and their training as a Lightning module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import lightning
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu

from systems.analysis.neural_collapse.closed_form import Solution
from systems.analysis.neural_collapse.geometry import MEASURES, Tail, measure
from systems.parts.run import Strict

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the convolutions; 0 is a max pooling."""


class Architecture(Strict):
    """A backbone. Its features have `width` numbers."""

    backbone: Literal["mlp", "resnet18", "vgg16"] = Field(default="mlp", description="what makes the features")
    width: int = Field(default=256, gt=0, description="length of a feature and of hidden layers")
    layers: int = Field(default=4, gt=0, description="layers of the MLP")
    last_relu: bool = Field(default=False, description="a ReLU behind the last layer of the MLP too")


def mlp(architecture: Architecture, pixels: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    parts: list[nn.Module] = [nn.Flatten()]
    for number in range(architecture.layers):
        parts += [nn.Linear(architecture.width if number else pixels, architecture.width), nn.ReLU()]
    return nn.Sequential(*(parts if architecture.last_relu else parts[:-1]))


class Block(nn.Module):
    """Two convolutions beside a shortcut, without batch norm."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Identity() if stride == 1 and before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """The block."""
        return relu(self.second(relu(self.first(x))) + self.shortcut(x))


def resnet18(channels: int, width: int) -> nn.Sequential:
    """ResNet18 for pictures of 28 or 32 px, with a linear map to `width` features."""
    parts: list[nn.Module] = [nn.Conv2d(channels, 64, 3, 1, 1), nn.ReLU()]
    before = 64
    for after, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        parts.append(Block(before, after, stride))
        before = after
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, width))


def vgg16(channels: int, width: int) -> nn.Sequential:
    """VGG16's convolutions, with a linear map to `width` features; for pictures of 28 or 32 px."""
    parts: list[nn.Module] = []
    before = channels
    for after in VGG16:
        parts += [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU()] if after else [nn.MaxPool2d(2, ceil_mode=True)]
        before = after or before
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, width))


class Network(nn.Module):
    """A backbone and its tail, whose layers W_1 .. W_M start orthogonal."""

    def __init__(self, architecture: Architecture, channels: int, side: int, classes: int, depth: int) -> None:
        super().__init__()
        width = architecture.width
        if architecture.backbone == "mlp":
            self.backbone = mlp(architecture, channels * side**2)
        else:
            make = {"resnet18": resnet18, "vgg16": vgg16}[architecture.backbone]
            self.backbone = make(channels, width)
        sizes = [width] * (depth - 1) + [classes]
        self.tail = nn.Sequential(*(nn.Linear(width, size, bias=False) for size in sizes))
        for layer in self.layers:
            nn.init.orthogonal_(layer)

    @property
    def layers(self) -> list[Tensor]:
        """W_1 .. W_M."""
        return [layer.weight for layer in self.tail.children()]  # type: ignore[misc]

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Answers for pictures."""
        answers: Tensor = self.tail(self.backbone(pictures))
        return answers


class Optimisation(Strict):
    """Adam with steps of decay."""

    lr: float = Field(default=1e-3, gt=0, description="learning rate")
    drops: tuple[int, ...] = Field(default=(1500, 2200), description="steps at which it falls to a tenth")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="share of the squared gradients' mean kept at a step")


class CollapseTraining(lightning.LightningModule):
    """Squared error plus decay of the tail and of the features, none on the backbone; measures on the way."""

    history: Tensor

    def __init__(
        self, network: Network, solution: Solution, optimisation: Optimisation, steps: int, every: int
    ) -> None:
        super().__init__()
        self.network, self.solution, self.optimisation, self.every = network, solution, optimisation, every
        points = 1 + (steps - 1) // every
        self.register_buffer("history", torch.zeros(points, len(MEASURES), dtype=torch.float64))

    def training_step(self, batch: Mapping[str, Tensor], _: int) -> Float[Tensor, ""]:
        """L; the feature term stands for all N samples, however many are in the batch."""
        problem, labels = self.solution.problem, batch["label"]
        features = self.network.backbone(batch["picture"])
        error = self.network.tail(features) - one_hot(labels, len(problem.counts))
        decay = sum(layer.square().sum() for layer in self.network.layers) * problem.lambda_w
        decay = decay + features.square().sum() * problem.lambda_h * problem.samples / len(labels)
        loss: Tensor = error.square().sum() / (2 * len(labels)) + decay / 2
        self.log("loss", loss)
        if self.global_step % self.every == 0:
            self.note(features.detach().T, labels)
        return loss

    def note(self, features: Float[Tensor, "d n"], labels: Tensor) -> None:
        """Measure this step's features, before they are trained on."""
        tail = Tail(features, labels, [layer.detach() for layer in self.network.layers])
        found = measure(tail, self.solution)
        row = torch.tensor([found[name] for name in MEASURES], dtype=torch.float64)
        self.history[self.global_step // self.every] = row.nan_to_num().to(self.history)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam without decay of its own.

        Near the end the gradients of whole batches are so small that its steps grow until the loss leaps. The shorter
        its memory of their squares, the sooner the steps shrink again.
        """
        how = self.optimisation
        optimizer = torch.optim.Adam(self.network.parameters(), how.lr, betas=(0.9, how.beta2), foreach=True)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(how.drops), 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WholeBatches:
    """The whole set in its own order at every step; resumable at any."""

    def __init__(self, samples: Mapping[str, Tensor], steps: int) -> None:
        self.samples, self.steps, self.next_step = dict(samples), steps, 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.next_step, self.steps):
            self.next_step = step + 1
            yield self.samples

    def state_dict(self) -> dict[str, Any]:
        """What Lightning stores in a checkpoint."""
        return {"next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a checkpoint."""
        self.next_step = state["next_step"]
