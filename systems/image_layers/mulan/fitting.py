"""The small networks as Lightning modules: what is asked of them, and what a mistake costs."""

from __future__ import annotations

from collections.abc import Mapping

import lightning
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d, smooth_l1_loss

from systems.image_layers.mulan.examples import Cuts, Pairs
from systems.image_layers.mulan.networks import DEPTH, MASK, OBJECT, OrderNet, UNet, exchanged
from systems.parts.run import Strict
from systems.parts.step_batches import step_generator


class Optimisation(Strict):
    """AdamW with one cycle of step sizes."""

    lr: float = Field(default=4e-3, gt=0, description="step size at its peak")
    weight_decay: float = Field(default=1e-2, ge=0)
    depth: float = Field(default=10.0, ge=0, description="weight of the depth's error beside the mask's")
    unprompted: float = Field(default=0.3, ge=0, le=1, description="share of samples without box and points")


class Small(lightning.LightningModule):
    """What both trainings share."""

    def __init__(self, optimisation: Optimisation, steps: int, seed: int) -> None:
        super().__init__()
        self.optimisation, self.steps, self.seed = optimisation, steps, seed

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, the step size up for a tenth of the steps and then down along half a cosine."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.optimisation.lr, weight_decay=self.optimisation.weight_decay, foreach=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.optimisation.lr, total_steps=self.steps + 1, pct_start=0.1, cycle_momentum=False
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class UNetTraining(Small):
    """Trains a U-Net in place on rows of `Cuts`."""

    def __init__(self, unet: UNet, cuts: Cuts, optimisation: Optimisation, steps: int, seed: int) -> None:
        super().__init__(optimisation, steps, seed)
        self.unet, self.cuts = unet, cuts

    def training_step(self, batch: Mapping[str, Tensor], _: int) -> Float[Tensor, ""]:
        """Error of the masks of prompted samples, and of depth and insides in whole scenes."""
        rng = np.random.default_rng([self.seed, self.global_step])
        rows = batch["row"].tolist()
        places, prompts = self.cuts.places(rows), self.cuts.prompts(rows, rng)
        scenes = places < len(self.cuts.depth)
        silent = scenes & torch.from_numpy(rng.random(len(rows)) < self.optimisation.unprompted)
        prompts[silent] = 0
        wanted = torch.stack((self.cuts.masks(rows), *self._maps(torch.where(scenes, places, 0))), 1)
        images = self.cuts.pictures[places].float() / 255
        flip = torch.from_numpy(rng.random(len(rows)) < 0.5)[:, None, None, None]
        images, prompts, wanted = (
            torch.where(flip, tensor.flip(-1), tensor).to(self.device) for tensor in (images, prompts, wanted)
        )
        loss = self.loss(self.unet(images, prompts), wanted, scenes.to(self.device), silent.to(self.device))
        self.log("loss", loss)
        return loss

    def _maps(self, scenes: Tensor) -> tuple[Tensor, Tensor]:
        return self.cuts.depth[scenes], self.cuts.objects[scenes].float()

    def loss(
        self, answer: Float[Tensor, "b 3 h w"], wanted: Float[Tensor, "b 3 h w"], scenes: Tensor, silent: Tensor
    ) -> Float[Tensor, ""]:
        """Cross-entropy and overlap of masks, smooth error of depth, cross-entropy of insides."""
        prompted, whole = (~silent).float(), scenes.float()
        mask = mean_over(mask_loss(answer[:, MASK], wanted[:, MASK]), prompted)
        depth = smooth_l1_loss(answer[:, DEPTH].sigmoid(), wanted[:, DEPTH], reduction="none", beta=0.1).mean((1, 2))
        inner = binary_cross_entropy_with_logits(answer[:, OBJECT], wanted[:, OBJECT], reduction="none").mean((1, 2))
        return mask + mean_over(self.optimisation.depth * depth + inner, whole)


def mask_loss(logits: Float[Tensor, "b h w"], mask: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Cross-entropy a pixel plus one less the Dice overlap."""
    cross = binary_cross_entropy_with_logits(logits, mask, reduction="none").mean((1, 2))
    found = logits.sigmoid()
    dice = (2 * (found * mask).sum((1, 2)) + 1) / (found.sum((1, 2)) + mask.sum((1, 2)) + 1)
    return cross + 1 - dice


def mean_over(losses: Float[Tensor, " b"], counts: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean over the samples that count, 0 where none does."""
    return (losses * counts).sum() / counts.sum().clamp(min=1)


class OrderTraining(Small):
    """Trains an `OrderNet` in place on rows of `Pairs`, each pair in both orders."""

    def __init__(self, order: OrderNet, pairs: Pairs, optimisation: Optimisation, steps: int, seed: int) -> None:
        super().__init__(optimisation, steps, seed)
        self.order, self.pairs = order, pairs

    def training_step(self, batch: Mapping[str, Tensor], _: int) -> Float[Tensor, ""]:
        """Cross-entropy of both answers for both orders."""
        generator = step_generator(self.seed, self.global_step)
        rows = batch["row"].cpu()
        crops = self.pairs.crops[rows].float() / 255
        flip = torch.rand(len(rows), generator=generator)[:, None, None, None] < 0.5
        crops = torch.where(flip, crops.flip(-1), crops)
        crops = roughened(crops, generator).to(self.device)
        wanted = self.pairs.occludes[rows].to(self.device)
        loss = binary_cross_entropy_with_logits(
            torch.cat((self.order(crops), self.order(exchanged(crops)))), torch.cat((wanted, wanted.flip(1)))
        )
        self.log("loss", loss)
        return loss


def roughened(crops: Float[Tensor, "b 5 s s"], generator: torch.Generator) -> Float[Tensor, "b 5 s s"]:
    """The masks of some samples a pixel larger, of some a pixel smaller: those that are met later have errors too."""
    chance = torch.rand(len(crops), 2, 1, 1, generator=generator)
    seen = crops[:, 3:]
    larger, smaller = max_pool2d(seen, 3, 1, 1), -max_pool2d(-seen, 3, 1, 1)
    rough = torch.where(chance < 0.25, larger, torch.where(chance > 0.75, smaller, seen))
    return torch.cat((crops[:, :3], rough), 1)
