"""A small convolutional VAE for pictures: four times down, a Gaussian posterior, latents scaled to unit spread."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from systems.parts.rgba_vae import widen_conv_in, widen_conv_out


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """x plus its correction."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        correction: Tensor = self.conv2(F.silu(self.norm2(hidden)))
        return x + correction


class ConvVAE(nn.Module):
    """Pictures in [-1, 1] to latents and back; `latents` channels at a quarter of the height and width."""

    shift: Tensor
    scale: Tensor

    def __init__(self, channels: int = 3, width: int = 32, latents: int = 8) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder = nn.Sequential(
            Residual(width),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            Residual(2 * width),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1),
            Residual(2 * width),
            nn.Conv2d(2 * width, 2 * latents, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latents, 2 * width, 3, padding=1),
            Residual(2 * width),
            nn.Conv2d(2 * width, 4 * 2 * width, 1),
            nn.PixelShuffle(2),
            Residual(2 * width),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.PixelShuffle(2),
            Residual(width),
        )
        self.conv_out = nn.Conv2d(width, channels, 3, padding=1)
        self.register_buffer("shift", torch.zeros(latents))
        self.register_buffer("scale", torch.ones(latents))

    def posterior(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b l lh lw"], Float[Tensor, "b l lh lw"]]:
        """Mean and logarithm of the variance of the latents."""
        mean, logvar = self.encoder(self.conv_in(x)).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def decode(self, latents: Float[Tensor, "b l lh lw"]) -> Float[Tensor, "b c h w"]:
        """Picture of unscaled latents."""
        out: Tensor = self.conv_out(self.decoder(latents))
        return out

    @property
    def last_layer(self) -> Tensor:
        """Weights of the last convolution, where an adversarial loss is weighed."""
        return self.conv_out.weight

    def widen(self) -> None:
        """Turn the RGB autoencoder into an RGBA one that at first ignores alpha and returns it opaque."""
        self.conv_in, self.conv_out = widen_conv_in(self.conv_in), widen_conv_out(self.conv_out)

    @torch.no_grad()
    def calibrate(self, x: Float[Tensor, "b c h w"]) -> None:
        """Set shift and scale so that the scaled latents of `x` have mean 0 and spread 1, channel by channel."""
        mean, _ = self.posterior(x)
        self.shift.copy_(mean.mean((0, 2, 3)))
        self.scale.copy_(1 / mean.std((0, 2, 3)))
