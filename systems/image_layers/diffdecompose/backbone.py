"""What the in-context decomposition needs of a diffusion backbone; `tiny.py` and `flux.py` implement it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Layer = Literal["z", "x", "y"]
"""z: the composite; x: the foreground, RGBA; y: the background, RGB with alpha 1."""

Prediction = Literal["x0", "velocity"]
"""What the network puts out: the clean tokens, or the velocity eps - s."""


class Backbone(Protocol):
    """Autoencoder and transformer behind one interface, at the small and at the paper's scale."""

    prediction: Prediction
    patch: int
    """Latent cells along a token's side."""

    def encode(self, rgba: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b c lh lw"]:
        """Scaled latents, the posterior's mean, of straight-alpha pictures in 0..1."""

    def decode(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 4 h w"]:
        """Straight-alpha pictures in 0..1 of scaled latents."""

    def pack(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b n d"]:
        """`patch` x `patch` latent cells to one token, row by row."""

    def unpack(self, tokens: Float[Tensor, "b n d"], lh: int, lw: int) -> Float[Tensor, "b c lh lw"]:
        """The inverse of `pack` for latents of height `lh` and width `lw`."""

    def position_ids(self, layer: Layer, lh: int, lw: int) -> Float[Tensor, "n 3"]:
        """Position codes (layer, row, column) of a layer's tokens; y gets exactly z's, x a layer of its own."""

    def condition(self, prompts: Sequence[str], subtasks: Sequence[str]) -> Any:
        """Whatever the transformer's text stream takes for a batch of samples."""

    def levels(self, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Noise levels of a training batch, in 0..1."""

    def sigmas(self, steps: int, tokens: int) -> list[float]:
        """Noise levels from 1 down to 0 for `steps` Euler steps; `tokens` counts z's, x's and y's together."""

    def predict(
        self,
        tokens: Float[Tensor, "b m d"],
        ids: Float[Tensor, "m 3"],
        condition: Any,
        sigma: Float[Tensor, " b"],
    ) -> Float[Tensor, "b m d"]:
        """The network's output for a sequence [z; x; y] (or a part of it) at noise level `sigma` in 0..1."""
