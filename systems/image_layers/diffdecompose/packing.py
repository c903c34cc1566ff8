"""Squares of latent cells to one token and back, in FLUX's order of channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


def pack(latents: Float[Tensor, "b c lh lw"], patch: int) -> Float[Tensor, "b n d"]:
    """`patch` x `patch` latent cells to one token, row by row."""
    return pixel_unshuffle(latents, patch).flatten(2).transpose(1, 2)


def unpack(tokens: Float[Tensor, "b n d"], lh: int, lw: int, patch: int) -> Float[Tensor, "b c lh lw"]:
    """The inverse of `pack` for latents of height `lh` and width `lw`."""
    cells = tokens.transpose(1, 2).reshape(len(tokens), -1, lh // patch, lw // patch)
    return pixel_shuffle(cells, patch)
