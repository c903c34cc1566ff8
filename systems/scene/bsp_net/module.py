"""What is trained, as Lightning modules: one phase of the auto-encoder, and the encoder of single views."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import lightning
import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from systems.parts.grids import grid
from systems.parts.run import Strict
from systems.parts.step_batches import step_generator
from systems.scene.bsp_net import pictures, views
from systems.scene.bsp_net.network import BSPNet, centres
from systems.scene.bsp_net.views import SingleView, ViewEncoder

BETAS = (0.5, 0.999)
FRAME = 256
"""Sampled points are kept as whole numbers below this."""


class Optimisation(Strict):
    """Adam and what it sees of a shape; the paper's step size is constant and its points are all alike."""

    lr: float = Field(default=1e-3, gt=0, description="step size (the paper: 1e-4, constant)")
    last_lr: float = Field(default=1e-4, gt=0, description="step size at the end, reached by a constant factor a step")
    constant: float = Field(default=0.5, ge=0, le=1, description="share of the steps before it falls")
    warmup: int = Field(default=0, ge=0, description="first steps, over which it grows evenly up to lr")
    points: int = Field(default=1024, gt=0, description="points of each shape in a step; all where it has fewer")
    near: float = Field(default=0.0, ge=0, lt=1, description="share of the points drawn beside edges of the shape")
    overlap: float = Field(default=1.0, ge=0, description="weight of the overlap loss of phases 2 and 4 (the paper: 1)")


def decay(given: Optimisation, steps: int) -> Callable[[int], float]:
    """Factor of the step size at each step.

    Without a warm-up, ten times the paper's step size carries all convexes away from every point within twenty steps
    of phase 0; the unions are clipped there, so that no gradient ever brings one back.
    """

    def factor(step: int) -> float:
        over = max(0.0, step / steps - given.constant) / max(1e-9, 1 - given.constant)
        return float((given.last_lr / given.lr) ** min(1.0, over)) * min(1.0, (step + 1) / max(1, given.warmup))

    return factor


def beside_edges(voxels: Float[Tensor, "b ..."], reach: int = 2) -> Float[Tensor, "b n"]:
    """1 for cells with both inside and outside at most `reach` cells away, 0 for all others."""
    pool = F.max_pool2d if voxels.dim() == 3 else F.max_pool3d
    x, window = voxels.unsqueeze(1), 2 * reach + 1
    mixed = pool(x, window, 1, reach) + pool(-x, window, 1, reach)
    return (mixed > 0).float().flatten(1)


class Phase(lightning.LightningModule):
    """Trains a `BSPNet` in place, in the phase it is in, on batches of `voxels` and, where there are, sampled points.

    A fresh module has a fresh optimiser, as the card asks of every phase.
    """

    grid: Tensor

    def __init__(self, net: BSPNet, given: Optimisation, steps: int, seed: int, show: UInt8[Tensor, "n ..."]) -> None:
        super().__init__()
        self.net, self.optimisation, self.steps, self.seed, self.show = net, given, steps, seed, show
        self.register_buffer("grid", centres(net.given.side, net.given.dims), persistent=False)

    def training_step(self, batch: Mapping[str, UInt8[Tensor, "b ..."]], _: int) -> Float[Tensor, ""]:
        """The phase's loss on points drawn by the number of the step."""
        voxels = batch["voxels"].float()
        points, v = self.drawn(voxels, batch)
        loss = self.net.loss(self.net.distances(self.net.encoder(voxels), points), v, self.optimisation.overlap)
        self.log("loss", loss)
        return loss

    def drawn(
        self, voxels: Float[Tensor, "b ..."], batch: Mapping[str, UInt8[Tensor, "b ..."]]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """Some points of each shape and whether they are inside: cells of its grid, or points sampled beforehand."""
        generator = step_generator(self.seed, self.global_step)
        if "points" in batch:
            rows = self.chosen(torch.ones(batch["values"].shape), generator).to(voxels.device)
            points = (batch["points"].float() + 0.5) / FRAME - 0.5
            values = batch["values"].float().gather(1, rows)
            return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, points.shape[2])), values
        near, weights = self.optimisation.near, torch.ones(len(voxels), len(self.grid))
        if near:
            edges = beside_edges(voxels).cpu()
            weights = near * edges / edges.sum(1, keepdim=True).clamp(min=1) + (1 - near) / edges.shape[1]
        rows = self.chosen(weights, generator).to(voxels.device)
        return self.grid[rows], voxels.flatten(1).gather(1, rows)

    def chosen(self, weights: Float[Tensor, "b n"], generator: torch.Generator) -> Tensor:
        """Numbers of different points of every shape, drawn by their weights."""
        count = min(self.optimisation.points, weights.shape[1])
        return torch.multinomial(weights, count, generator=generator)

    @torch.no_grad()
    def sample_picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """The shapes `show` (their middle slices, if solid) above what the network makes of them."""
        voxels = self.show.float().to(self.device)
        inside = self.net.shapes(voxels).reshape(voxels.shape)
        rows = [(planes if planes.dim() == 3 else planes[:, planes.shape[1] // 2]).cpu() for planes in (voxels, inside)]
        return grid([pictures.tiles(row.to(torch.uint8).numpy()) for row in rows])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over what the phase lets learn."""
        weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        optimizer = torch.optim.Adam(weights, self.optimisation.lr, betas=BETAS, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, decay(self.optimisation, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class FromView(lightning.LightningModule):
    """Trains a `ViewEncoder` in place to give the code that a trained network, which stays, has for the voxels."""

    def __init__(
        self, encoder: ViewEncoder, net: BSPNet, given: SingleView, seed: int, show: UInt8[Tensor, "n ..."]
    ) -> None:
        super().__init__()
        self.encoder, self.net = encoder, net.requires_grad_(False)
        self.given, self.seed, self.show = given, seed, show

    def training_step(self, batch: Mapping[str, UInt8[Tensor, "b ..."]], _: int) -> Float[Tensor, ""]:
        """Mean squared error of the codes of new pictures of the shapes."""
        voxels = batch["voxels"].float()
        picture = views.seen(voxels, self.given.noise, step_generator(self.seed, self.global_step))
        loss = F.mse_loss(self.encoder(picture), self.net.encoder.code(voxels))
        self.log("loss", loss)
        return loss

    @torch.no_grad()
    def sample_picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Pictures of the shapes `show`, and the fronts of what is made of them."""
        voxels = self.show.float().to(self.device)
        picture = views.seen(voxels, self.given.noise, step_generator(self.seed, 0))
        return views.shown(picture, views.front(views.shapes_of(self.net, self.encoder(picture)).float()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the encoder alone."""
        return torch.optim.Adam(self.encoder.parameters(), self.given.lr, betas=BETAS, fused=True)
