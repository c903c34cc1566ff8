"""The small networks as Lightning modules: what is asked of them, and what a mistake costs."""

from __future__ import annotations

from collections.abc import Mapping

import lightning
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from systems.image_layers.mulan.examples import Cuts, Maps, Pairs, shaken
from systems.image_layers.mulan.networks import DEPTH, OBJECT, OrderNet, SceneNet, Segmenter
from systems.image_layers.mulan.views import View, mirrored, sample
from systems.parts.run import Strict
from systems.parts.step_batches import step_generator


class Optimisation(Strict):
    """AdamW with one cycle of step sizes."""

    lr: float = Field(default=4e-3, gt=0, description="step size at its peak")
    weight_decay: float = Field(default=1e-2, ge=0)
    depth: float = Field(default=10.0, ge=0, description="weight of the depth's error beside that of the insides")


class Small(lightning.LightningModule):
    """What all trainings share."""

    def __init__(self, album: View, optimisation: Optimisation, steps: int, seed: int) -> None:
        super().__init__()
        self.album, self.optimisation, self.steps, self.seed = album, optimisation, steps, seed

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, the step size up for a tenth of the steps and then down along half a cosine."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.optimisation.lr, weight_decay=self.optimisation.weight_decay, foreach=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.optimisation.lr, total_steps=self.steps + 1, pct_start=0.1, cycle_momentum=False
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Mapping[str, Tensor], _: int) -> Float[Tensor, ""]:
        """Half of the samples are mirrored."""
        generator = step_generator(self.seed, self.global_step)
        rows = batch["row"].cpu()
        mirror = torch.rand(len(rows), generator=generator) < 0.5
        loss = self.loss(rows, mirror, generator)
        self.log("loss", loss)
        return loss

    def loss(self, rows: Tensor, mirror: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        """Of the samples `rows`."""
        raise NotImplementedError

    def seen(self, pictures: Tensor) -> View:
        """Pictures of the album, on the device."""
        return self.album.at(pictures, self.device)


class SegmenterTraining(Small):
    """Trains a `Segmenter` in place on rows of `Cuts`."""

    def __init__(
        self, segmenter: Segmenter, album: View, cuts: Cuts, optimisation: Optimisation, steps: int, seed: int
    ) -> None:
        super().__init__(album, optimisation, steps, seed)
        self.segmenter, self.cuts = segmenter, cuts

    def loss(self, rows: Tensor, mirror: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        """Cross-entropy and overlap of masks, in boxes with errors."""
        boxes, points = shaken(self.cuts.boxes[rows], generator), self.cuts.points[rows]
        view, mirror = self.seen(self.cuts.pictures[rows]), mirror.to(self.device)
        part, prompt, where = self.segmenter.shown(view, boxes.to(self.device), points.to(self.device))
        masks = self.cuts.masks[rows].to(self.device).float()[:, None]
        wanted = sample(masks, where, (self.segmenter.side, self.segmenter.side))
        answer = self.segmenter(part.mirrored(mirror), mirrored(prompt, mirror))
        return mask_loss(answer, mirrored(wanted, mirror)[:, 0]).mean()


def mask_loss(logits: Float[Tensor, "b h w"], mask: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Cross-entropy a pixel plus one less the Dice overlap."""
    cross = binary_cross_entropy_with_logits(logits, mask, reduction="none").mean((1, 2))
    found = logits.sigmoid()
    dice = (2 * (found * mask).sum((1, 2)) + 1) / (found.sum((1, 2)) + mask.sum((1, 2)) + 1)
    return cross + 1 - dice


class SceneTraining(Small):
    """Trains a `SceneNet` in place on whole scenes, the first pictures of the album."""

    def __init__(
        self, network: SceneNet, album: View, maps: Maps, optimisation: Optimisation, steps: int, seed: int
    ) -> None:
        super().__init__(album, optimisation, steps, seed)
        self.network, self.maps = network, maps

    def loss(self, rows: Tensor, mirror: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:  # noqa: ARG002
        """Smooth error of depth, cross-entropy of insides."""
        mirror = mirror.to(self.device)
        part, height = self.network.shown(self.seen(rows))
        wanted = torch.stack((self.maps.depth[rows], self.maps.objects[rows].float()), 1).to(self.device)
        answer = mirrored(self.network(part.mirrored(mirror), height), mirror)
        depth = smooth_l1_loss(answer[:, DEPTH].sigmoid(), wanted[:, DEPTH], beta=0.1)
        inner = binary_cross_entropy_with_logits(answer[:, OBJECT], wanted[:, OBJECT])
        return self.optimisation.depth * depth + inner


class OrderTraining(Small):
    """Trains an `OrderNet` in place on rows of `Pairs`, each pair in both orders."""

    def __init__(
        self, order: OrderNet, album: View, pairs: Pairs, optimisation: Optimisation, steps: int, seed: int
    ) -> None:
        super().__init__(album, optimisation, steps, seed)
        self.order, self.pairs = order, pairs

    def loss(self, rows: Tensor, mirror: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:  # noqa: ARG002
        """Cross-entropy of both answers for both orders."""
        facts, wanted = self.pairs.facts[rows].to(self.device), self.pairs.occludes[rows].to(self.device)
        return binary_cross_entropy_with_logits(
            torch.cat((self.order(facts), self.order(facts.flip(1)))), torch.cat((wanted, wanted.flip(1)))
        )
