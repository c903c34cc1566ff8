"""Part B of the card (AlphaVAE): an RGB autoencoder, widened to RGBA, trained on composites over random backgrounds."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from systems.parts.conv_vae import ConvVAE
from systems.parts.errors import UserError
from systems.parts.grids import grid, on_checker
from systems.parts.perceptual import STLPIPS
from systems.parts.rgba_vae import (
    LEAST_SIDE,
    PatchDiscriminator,
    adaptive_weight,
    hinge_loss,
    kl_between,
    kl_to_standard,
    on_black_and_white,
    reconstruction_loss,
)
from systems.parts.run import Strict, Training
from systems.parts.step_batches import of_all, own, step_generator
from systems.parts.tensors import to_numpy, to_uint8

if TYPE_CHECKING:
    from systems.image_layers.diffdecompose.flux import FluxAutoencoder


FROZEN = ("lpips.", "reference.")
"""Parts of the module that do not learn."""


class AutoencoderParams(Strict):
    """Training of the autoencoder, first on RGB, then widened, on RGBA."""

    rgb: Training
    rgba: Training
    lr: float = Field(default=2e-3, gt=0, description="AdamW step size at its peak; cosine after `warmup`")
    warmup: int = Field(default=100, ge=0, description="steps of linear warm-up")
    kl: float = Field(default=1e-6, ge=0, description="weight of the KL to N(0, I)")
    kl_reference: float = Field(default=1e-16, ge=0, description="weight of the KL to the frozen RGB posterior")
    gradient: float = Field(default=0.0, ge=0, description="weight of the finite-difference term; stands in for LPIPS")
    perceptual: float = Field(default=0.0, ge=0, description="weight of ST-LPIPS on black and white (AlphaVAE: 0.5)")
    adversarial_start: int | None = Field(
        default=None, ge=0, description="step from which PatchGAN's hinge loss counts (AlphaVAE: 4000); none: never"
    )


def cosine_with_warmup(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Step size factor: linear up to 1 over `warmup` steps, then half a cosine down to 0 at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def gradient_error(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Squared error of horizontal and vertical differences, summed over pixels, divided by the batch."""
    d = a - b
    return (d.diff(dim=2).square().sum() + d.diff(dim=3).square().sum()) / len(a)


class Autoencoder(lightning.LightningModule):
    """Trains a `ConvVAE` in place; a three-channel one on colours, a four-channel one by the RGBA loss.

    The terms beyond reconstruction and KL are the four-channel one's. While its weight is positive, a frozen copy of
    the freshly widened network, the RGB one, is what it stays close to. `show` are a few pictures; `lpips` is the
    frozen network of the perceptual term.
    """

    def __init__(
        self,
        vae: ConvVAE | FluxAutoencoder,
        params: AutoencoderParams,
        steps: int,
        seed: int,
        show: UInt8[Tensor, "n c h w"],
        lpips: STLPIPS | None = None,
    ) -> None:
        super().__init__()
        self.vae, self.params, self.steps, self.seed, self.show, self.lpips = vae, params, steps, seed, show, lpips
        rgba = show.shape[1] == 4
        keep = params.kl_reference > 0 and rgba
        self.reference = copy.deepcopy(vae).requires_grad_(False) if keep else None
        self.adversary = PatchDiscriminator() if params.adversarial_start is not None and rgba else None
        if self.adversary is not None and min(show.shape[2:]) < LEAST_SIDE:
            raise UserError(
                f"parameter autoencoder.adversarial_start = {params.adversarial_start}: pictures of {show.shape[3]} x "
                f"{show.shape[2]} px are too small to be judged; at least {LEAST_SIDE} px a side are wanted"
            )
        self.strict_loading = False

    def training_step(self, batch: dict[str, UInt8[Tensor, "b c h w"]], _: int) -> Float[Tensor, ""]:
        """One step on pictures in 0..255."""
        x = batch["picture"].float() / 127.5 - 1
        mean, logvar = self.vae.posterior(x)
        drawn = torch.randn(of_all(len(mean)), *mean.shape[1:], generator=step_generator(self.seed, self.global_step))
        out = self.vae.decode(mean + (0.5 * logvar).exp() * own(drawn).to(mean))
        loss = self.reconstruction(x, out)
        if self.adversary is not None and self.global_step >= (self.params.adversarial_start or 0):
            loss = loss + self.contest(x, out, loss, self.adversary)
        loss = loss + self.params.kl * kl_to_standard(mean, logvar)
        if self.reference is not None:
            loss = loss + self.params.kl_reference * self.drift(x, self.reference)
        self.log("loss", loss)
        return loss

    def contest(
        self,
        x: Float[Tensor, "b 4 h w"],
        out: Float[Tensor, "b 4 h w"],
        reconstruction: Float[Tensor, ""],
        adversary: PatchDiscriminator,
    ) -> Float[Tensor, ""]:
        """What the autoencoder loses to the discriminator, by its adaptive weight, plus the discriminator's own loss.

        One sum serves both: the first part sees frozen weights of the discriminator, the second a detached picture.
        """
        frozen = {name: weight.detach() for name, weight in adversary.named_parameters()}
        adversarial: Tensor = -torch.func.functional_call(adversary, frozen, (out,)).mean()
        weight = adaptive_weight(reconstruction, adversarial, self.vae.last_layer)
        own = hinge_loss(adversary(x), adversary(out.detach()))
        self.log("discriminator", own)
        return weight * adversarial + own

    def drift(self, x: Float[Tensor, "b 4 h w"], reference: ConvVAE | FluxAutoencoder) -> Float[Tensor, ""]:
        """KL of the posterior to the frozen one's, mean over composites on black and on white."""
        opaque = [F.pad(flat, (0, 0, 0, 0, 0, 1), value=1.0) for flat in on_black_and_white(x)]
        black, white = (kl_between(self.vae.posterior(flat), reference.posterior(flat)) for flat in opaque)
        return (black + white) / 2

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen: it is made anew, and at full scale it is large."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if not name.startswith(FROZEN)}

    @torch.no_grad()
    def sample_picture(self) -> UInt8[np.ndarray, "h w c"]:
        """The pictures `show` above their reconstructions."""
        x = self.show.to(self.device).float() / 127.5 - 1
        mean, _ = self.vae.posterior(x)
        return grid([on_checker(to_numpy(self.show)), on_checker(to_numpy(to_uint8((self.vae.decode(mean) + 1) / 2)))])

    def reconstruction(self, x: Float[Tensor, "b c h w"], out: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """Squared error of colours, or expected squared error of the composite; plus the terms of what one sees."""
        if x.shape[1] == 3:
            return (x - out).square().sum() / len(x) + self.params.gradient * gradient_error(x, out)
        loss = reconstruction_loss(x, out)
        for a, b in zip(on_black_and_white(x), on_black_and_white(out), strict=True):
            loss = loss + self.params.gradient * gradient_error(a, b) / 2
            if self.lpips is not None:
                loss = loss + self.params.perceptual * self.lpips((a + 1) / 2, (b + 1) / 2).mean() / 2
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002 - one for both
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - always by norm
    ) -> None:
        """Clip autoencoder and adversary each by its own norm: that of an error summed over pixels is far larger."""
        for network in (self.vae, self.adversary):
            if network is not None and gradient_clip_val:
                clip_grad_norm_(network.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW (0.5, 0.9), warm-up and cosine, for the autoencoder and its adversary."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, self.params.lr, betas=(0.5, 0.9), foreach=True)
        schedule = cosine_with_warmup(optimizer, self.params.warmup, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
