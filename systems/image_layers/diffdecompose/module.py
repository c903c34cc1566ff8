"""Part C of the card as a Lightning module: in-context decomposition trained by flow matching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor, nn

from systems.image_layers.diffdecompose import flow
from systems.image_layers.diffdecompose.autoencoder import cosine_with_warmup
from systems.image_layers.diffdecompose.backbone import Backbone, Layer
from systems.parts.grids import grid, on_checker
from systems.parts.run import Strict
from systems.parts.step_batches import of_all, own, step_generator
from systems.parts.tensors import to_numpy, to_uint8

PACKED = 3
"""Axes of packed latents: batch, token, channel."""

LAYERS: tuple[Layer, ...] = ("z", "x", "y")


class Optimisation(Strict):
    """AdamW of the transformer or its adapters."""

    lr: float = Field(gt=0, description="step size at its peak")
    warmup: int = Field(default=100, ge=0, description="steps of linear warm-up; 0 with `constant` for LoRA at scale")
    constant: bool = Field(default=False, description="constant step size after warm-up instead of half a cosine")
    weight_decay: float = Field(default=1e-4, ge=0)


class Decomposer(nn.Module):
    """A backbone with a way to draw layers: by sampling from noise, or (`regression`) in one deterministic step."""

    def __init__(self, backbone: Backbone, regression: bool) -> None:
        super().__init__()
        self.backbone, self.regression = backbone, regression

    @torch.no_grad()
    def decompose(
        self,
        composite: Float[Tensor, "b 4 h w"],
        subtasks: list[str],
        prompts: list[str],
        steps: int,
        generator: torch.Generator,
        targets: tuple[Layer, ...] = ("x", "y"),
    ) -> dict[Layer, Float[Tensor, "b 4 h w"]]:
        """Layers of straight-alpha pictures in 0..1, on the composite's device; the composite's alpha is 1.

        The background's alpha is dropped.
        """
        latents = self.backbone.encode(composite.to(next(self.parameters()).device))
        size = (latents.shape[2], latents.shape[3])
        z = self.backbone.pack(latents)
        noise = self.noise((z.shape[0], len(targets) * z.shape[1], z.shape[2]), generator).to(z)
        tokens = flow.sample(
            self.backbone,
            z,
            targets,
            [1.0, 0.0] if self.regression else self.backbone.sigmas(steps, z.shape[1] * (1 + len(targets))),
            self.backbone.condition(prompts, subtasks),
            noise,
        )
        return {
            layer: self.backbone.decode(self.backbone.unpack(out, *size)).to(composite) for layer, out in tokens.items()
        }

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Where sampling starts: N(0, 1), or nothing for a regression."""
        return torch.zeros(shape) if self.regression else torch.randn(shape, generator=generator)


class InContextDecomposition(lightning.LightningModule):
    """Trains a `Decomposer` in place on batches of `z`, `x`, `y`, packed latents or RGBA pictures, and `row` [b],

    the sample's place in `subtasks` and `prompts`; `show` holds a few triplets to look at, uint8 [n, c, h, w].
    """

    def __init__(
        self,
        decomposer: Decomposer,
        optimisation: Optimisation,
        steps: int,
        seed: int,
        subtasks: Sequence[str],
        prompts: Sequence[str],
        show: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.decomposer, self.optimisation, self.steps, self.seed = decomposer, optimisation, steps, seed
        self.subtasks, self.prompts, self.show = subtasks, prompts, show
        self.strict_loading = False

    def training_step(self, batch: dict[str, Tensor], _: int) -> Float[Tensor, ""]:
        """Flow-matching loss of one drawn target set; a regression sees no noise and always the whole way."""
        backbone = self.decomposer.backbone
        generator = step_generator(self.seed, self.global_step)
        targets = flow.draw_targets(generator)
        clean = {layer: self.tokens(batch[layer]) for layer in LAYERS}
        rows = batch["row"].tolist()
        condition = backbone.condition([self.prompts[row] for row in rows], [self.subtasks[row] for row in rows])
        count, n, d = clean["z"].shape
        noise = own(self.decomposer.noise((of_all(count), len(targets) * n, d), generator)).to(clean["z"])
        sigma = own(self.levels(of_all(count), generator)).to(clean["z"])
        loss = flow.flow_loss(backbone, clean, targets, noise, sigma, condition)
        self.log("loss", loss)
        return loss

    @torch.no_grad()
    def tokens(self, given: Tensor) -> Float[Tensor, "b n d"]:
        """Packed latents, given as they are or as RGBA pictures in 0..255."""
        backbone = self.decomposer.backbone
        return given if given.dim() == PACKED else backbone.pack(backbone.encode(given.float() / 255))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen: it is built anew, and at full scale it is large."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        checkpoint["state_dict"] = {name: checkpoint["state_dict"][name] for name in sorted(trained)}

    def levels(self, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Noise levels of a batch, as the backbone draws them; a regression starts from nothing but noise."""
        if self.decomposer.regression:
            return torch.ones(count)
        return self.decomposer.backbone.levels(count, generator)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW (0.9, 0.999) over the weights that ask for gradients."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(
            weights, self.optimisation.lr, weight_decay=self.optimisation.weight_decay, foreach=True
        )
        horizon = 2**31 if self.optimisation.constant else self.steps
        schedule = cosine_with_warmup(optimizer, self.optimisation.warmup, horizon)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def sample_picture(self) -> UInt8[np.ndarray, "h w c"]:
        """Composite, foreground, its estimate, background, its estimate, a row each, for the samples `show`."""
        composite = self.show["comp"].to(self.device).float() / 255
        opaque = torch.cat((composite, torch.ones_like(composite[:, :1])), dim=1)
        subtasks = ["any"] * len(opaque)
        out = self.decomposer.decompose(opaque, subtasks, subtasks, 10, step_generator(self.seed, -7))
        pictures = (self.show["comp"], self.show["fg"], to_uint8(out["x"]), self.show["bg"], to_uint8(out["y"][:, :3]))
        return grid([on_checker(to_numpy(picture)) for picture in pictures])
