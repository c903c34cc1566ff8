"""The small backbone: a convolutional RGBA autoencoder and a DiT with rotary position codes, for two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from systems.image_layers.diffdecompose import flow, packing, positions
from systems.image_layers.diffdecompose.backbone import Layer, Prediction
from systems.parts import lora
from systems.parts.conv_vae import ConvVAE
from systems.parts.dit import DiT
from systems.parts.errors import UserError
from systems.parts.run import Strict

SUBTASKS = ("any", "flare", "occlusion", "watermark", "glassware", "cells", "xray")
"""Rows of the learned table that stands in for text; `any` serves pictures whose blend nobody named."""

ADAPTED = ("to_qkv", "to_out", "feed_in", "feed_out")
"""Linear layers of the transformer that get low-rank adapters: attention and feed-forward, as in the paper."""


class TinyParams(Strict):
    """Size of the small backbone."""

    vae_width: int = Field(default=32, gt=0, multiple_of=8, description="channels of the autoencoder at full size")
    latents: int = Field(default=8, gt=0, description="latent channels")
    patch: int = Field(default=1, gt=0, description="latent cells along a token's side")
    width: int = Field(default=96, gt=0, description="channels of a token; a head's are split in three even parts")
    depth: int = Field(default=4, gt=0, description="transformer blocks")
    heads: int = Field(default=4, gt=0)
    position: positions.Position = "cloned"
    prediction: Prediction = "x0"
    shift: float = Field(default=1.0, ge=1, description="shift of noise levels towards 1, in training and in sampling")

    def head_parts(self) -> tuple[int, int, int]:
        """Channels of a head that each of the three position axes turns."""
        part = self.width // self.heads // 3
        if part * 3 * self.heads != self.width or part % 2:
            raise UserError(f"parameter width = {self.width}: a multiple of 6 x heads ({6 * self.heads}) is wanted")
        return part, part, part


class TinyBackbone(nn.Module):
    """`Backbone` at the small scale. The autoencoder is frozen while the transformer is trained."""

    def __init__(self, params: TinyParams) -> None:
        super().__init__()
        self.params = params
        self.prediction: Literal["x0", "velocity"] = params.prediction
        self.patch = params.patch
        self.vae = ConvVAE(4, params.vae_width, params.latents)
        channels = params.patch**2 * params.latents
        self.dit = DiT(channels, params.width, params.depth, params.heads, params.head_parts(), base=10.0)
        self.text = nn.Embedding(len(SUBTASKS), params.width)

    def adapt(self, rank: int) -> None:
        """Freeze everything and put low-rank adapters on the transformer: they alone are saved, so they alone learn."""
        self.requires_grad_(False)
        lora.add(self.dit, ADAPTED, rank)

    def encode(self, rgba: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b c lh lw"]:
        """Scaled latents, the posterior's mean."""
        mean, _ = self.vae.posterior(2 * rgba - 1)
        return (mean - self.vae.shift[:, None, None]) * self.vae.scale[:, None, None]

    def decode(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 4 h w"]:
        """Straight-alpha pictures in 0..1."""
        plain = latents / self.vae.scale[:, None, None] + self.vae.shift[:, None, None]
        return ((self.vae.decode(plain) + 1) / 2).clamp(0, 1)

    def pack(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b n d"]:
        """`patch` x `patch` latent cells to one token, row by row."""
        return packing.pack(latents, self.patch)

    def unpack(self, tokens: Float[Tensor, "b n d"], lh: int, lw: int) -> Float[Tensor, "b c lh lw"]:
        """The inverse of `pack`."""
        return packing.unpack(tokens, lh, lw, self.patch)

    def position_ids(self, layer: Layer, lh: int, lw: int) -> Float[Tensor, "n 3"]:
        """(layer, row, column) of a layer's tokens."""
        return positions.position_ids(layer, lh // self.patch, lw // self.patch, self.params.position)

    def condition(self, prompts: Sequence[str], subtasks: Sequence[str]) -> Int[Tensor, " b"]:  # noqa: ARG002
        """Row of the learned table for each sample; the prompts are the large backbone's."""
        return torch.tensor([SUBTASKS.index(subtask) for subtask in subtasks], device=self.text.weight.device)

    def levels(self, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Logit-normal noise levels of a training batch, shifted."""
        return flow.shifted(flow.logit_normal_sigma(count, generator), self.params.shift)

    def sigmas(self, steps: int, tokens: int) -> list[float]:  # noqa: ARG002 - the large backbone shifts by it
        """Noise levels from 1 down to 0, evenly spaced before the shift."""
        levels: list[float] = flow.shifted(torch.linspace(1, 0, steps + 1), self.params.shift).tolist()
        return levels

    def predict(
        self,
        tokens: Float[Tensor, "b m d"],
        ids: Float[Tensor, "m 3"],
        condition: Int[Tensor, " b"],
        sigma: Float[Tensor, " b"],
    ) -> Float[Tensor, "b m d"]:
        """The transformer's output for every token."""
        codes = None
        if self.params.position == "additive":
            codes = positions.additive_codes(ids, self.params.width).to(tokens)
            ids = torch.zeros_like(ids)
        out: Tensor = self.dit(tokens, ids.to(tokens.device), self.text(condition)[:, None], sigma, codes)
        return out
