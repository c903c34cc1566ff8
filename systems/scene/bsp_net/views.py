"""The single-view option: a picture of a shape in the place of its voxels, and an encoder that guesses the code.

The planes of the code and all that follows are the auto-encoder's own, which does not change.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import Field
from torch import Tensor, nn

from systems.parts.grids import grid
from systems.parts.run import Strict, Training
from systems.scene.bsp_net.network import CELLS, SLOPE, Architecture, BSPNet

FARTHEST = 0.3
"""Brightness of the cells farthest from the camera; the nearest have 1."""

DARKEST, CONTRASTS = 0.3, (0.5, 1.0)
"""Greatest grey of a background, and how much brighter a shape may be."""


class SingleView(Strict):
    """How an encoder of pictures learns the code."""

    training: Training = Field(description="training after the last phase")
    lr: float = Field(default=1e-3, gt=0, description="step size of Adam (the paper: 1e-4)")
    noise: float = Field(default=0.1, ge=0, description="standard deviation of a picture's noise; white is about 1")


def front(voxels: Float[Tensor, "b ..."]) -> Float[Tensor, "b h w"]:
    """Shapes in the plane as they are, solids from the front, where nearer is brighter."""
    if voxels.dim() == 3:
        return voxels
    depth = torch.linspace(1, FARTHEST, voxels.shape[1], device=voxels.device)
    return torch.amax(voxels * depth[:, None, None], 1)


def seen(voxels: Float[Tensor, "b ..."], noise: float, generator: torch.Generator) -> Float[Tensor, "b h w"]:
    """A noisy grey picture of the front of each shape, each with greys of its own."""
    clean = front(voxels)
    ground, contrast = torch.rand(2, len(clean), 1, 1, generator=generator).to(clean)
    low, high = CONTRASTS
    grain = noise * torch.randn(clean.shape, generator=generator).to(clean)
    picture: Float[Tensor, "b h w"] = DARKEST * ground + (low + (high - low) * contrast) * clean + grain
    return picture


class ViewEncoder(nn.Sequential):
    """Strided convolutions from a picture to the code of a network of a given architecture."""

    def __init__(self, given: Architecture) -> None:
        levels, code = int(math.log2(given.side // CELLS)), 8 * given.width
        channels = [1, *(given.width * 2**level for level in range(levels))]
        layers: list[nn.Module] = [nn.Unflatten(1, (1, given.side))]
        for a, b in itertools.pairwise(channels):
            layers += [nn.Conv2d(a, b, CELLS, 2, 1), nn.LeakyReLU(SLOPE)]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * CELLS**2, 2 * code), nn.LeakyReLU(SLOPE)]
        layers += [nn.Linear(2 * code, code), nn.LeakyReLU(SLOPE) if given.dims == 2 else nn.Sigmoid()]
        super().__init__(*layers)


@torch.no_grad()
def shapes_of(net: BSPNet, code: Float[Tensor, "b z"]) -> Bool[Tensor, "b ..."]:
    """The shapes of codes, on the network's own grid."""
    return net.is_inside(net.code_distances(code)).reshape([-1, *[net.given.side] * net.given.dims])


def shown(*rows: Float[Tensor, "n h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of grey pictures."""
    greys = [(255 * row.clamp(0, 1)).byte().cpu().numpy() for row in rows]
    return grid([np.repeat(grey[..., None], 3, axis=-1) for grey in greys])
