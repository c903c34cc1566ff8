"""The auto-encoder: voxels to planes by convolutions, planes to a shape by two matrices that all shapes share."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from systems.parts.errors import UserError
from systems.parts.run import Strict
from systems.scene.bsp_net import layers

CELLS = 4
"""Cells a side on which the strided convolutions end."""
SLOPE = 0.01
SPREAD = 0.02
"""Standard deviation of the two matrices at the start."""


class Architecture(Strict):
    """What rebuilds a network; the planes and convexes are the same for all shapes of a family."""

    dims: Literal[2, 3] = Field(default=2, description="dimensions of the shapes")
    side: int = Field(default=64, description="voxels a side that the encoder sees: 4, times a power of 2")
    width: int = Field(default=16, gt=0, description="channels of the first convolution (the paper: 32)")
    planes: int = Field(default=128, description="planes a shape, p")
    convexes: int = Field(default=32, description="convexes, c")


def check_architecture(given: Architecture, where: str = "parameter") -> None:
    """Raise `UserError` naming what cannot be built."""
    for name in ("planes", "convexes"):
        if getattr(given, name) < 1:
            raise UserError(f"{where} {name} = {getattr(given, name)}: at least 1 is wanted")
    if given.side < 2 * CELLS or given.side & (given.side - 1):
        raise UserError(f"{where} side = {given.side}: a power of 2 of at least {2 * CELLS} is wanted")


class Encoder(nn.Module):
    """Strided convolutions down to 4 cells a side, a code, three widening layers, and the planes."""

    def __init__(self, given: Architecture) -> None:
        super().__init__()
        conv = nn.Conv2d if given.dims == 2 else nn.Conv3d
        levels = int(math.log2(given.side // CELLS))
        channels = [1, *(given.width * 2**level for level in range(levels))]
        self.convs = nn.ModuleList(conv(a, b, CELLS, 2, 1) for a, b in itertools.pairwise(channels))
        self.to_code = conv(channels[-1], 8 * given.width, CELLS)
        widths = [given.width * factor for factor in (8, 16, 32, 64)]
        self.widening = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.normals = nn.Linear(widths[-1], given.dims * given.planes)
        self.offsets = nn.Linear(widths[-1], given.planes)
        self.dims = given.dims
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def code(self, voxels: Float[Tensor, "b ..."]) -> Float[Tensor, "b z"]:
        """The code of shapes that are 1 inside and 0 outside; in 0..1 for solids."""
        kept = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        x = voxels.unsqueeze(1).contiguous(memory_format=kept)
        for conv in self.convs:
            x = nn.functional.leaky_relu(conv(x), SLOPE)
        x = self.to_code(x).flatten(1)
        return nn.functional.leaky_relu(x, SLOPE) if self.dims == 2 else torch.sigmoid(x)

    def planes(self, code: Float[Tensor, "b z"]) -> tuple[Float[Tensor, "b d p"], Float[Tensor, "b 1 p"]]:
        """Normals and offsets of a code."""
        x = code
        for linear in self.widening:
            x = nn.functional.leaky_relu(linear(x), SLOPE)
        return self.normals(x).unflatten(1, (self.dims, -1)), self.offsets(x).unsqueeze(1)

    def forward(self, voxels: Float[Tensor, "b ..."]) -> tuple[Float[Tensor, "b d p"], Float[Tensor, "b 1 p"]]:
        """Planes of shapes."""
        return self.planes(self.code(voxels))


class BSPNet(nn.Module):
    """Encoder, the plane-to-convex matrix T and the convexes' weights w, in one of the five phases."""

    def __init__(self, given: Architecture, phase: int = 0) -> None:
        super().__init__()
        check_architecture(given)
        self.given = given
        self.encoder = Encoder(given)
        self.T = nn.Parameter(SPREAD * torch.randn(given.planes, given.convexes))
        self.w = nn.Parameter(SPREAD * torch.randn(given.convexes, 1))
        self.enter(phase)

    def enter(self, phase: int) -> None:
        """Begin a phase: w learns in phase 0 only, T not in the hard phases."""
        layers.check_phase(phase)
        self.phase = phase
        self.w.requires_grad_(phase == 0)
        self.T.requires_grad_(phase not in layers.HARD)

    @property
    def bounds(self) -> Float[Tensor, "p c"]:
        """T as this phase uses it."""
        return layers.binary(self.T) if self.phase in layers.HARD else self.T

    def distances(
        self,
        planes: tuple[Float[Tensor, "b d p"], Float[Tensor, "b 1 p"]],
        points: Float[Tensor, "b n d"],
    ) -> Float[Tensor, "b n c"]:
        """Sum of distances to every convex, h2, unclipped."""
        return layers.convexes(layers.half_spaces(points, *planes), self.bounds)

    def union(self, h2: Float[Tensor, "b n c"]) -> Float[Tensor, "b n"]:
        """S of phase 0, or g."""
        return layers.soft_union(h2, self.w) if self.phase == 0 else layers.hard_union(h2)

    def loss(self, h2: Float[Tensor, "b n c"], v: Float[Tensor, "b n"], overlap: float = 1.0) -> Float[Tensor, ""]:
        """The phase's loss for points of values `v`; `overlap` is the weight of its overlap term."""
        union = self.union(h2)
        if self.phase == 0:
            return layers.continuous_loss(v, union, self.T, self.w)
        loss = layers.discrete_loss(v, union)
        if self.phase in layers.OVERLAP:
            loss = loss + overlap * layers.overlap_loss(h2, v)
        return loss if self.phase in layers.HARD else loss + layers.binary_penalty(self.T)

    @torch.no_grad()
    def grid_distances(self, voxels: Float[Tensor, "b ..."], side: int = 0) -> Float[Tensor, "b n c"]:
        """h2 at every cell of a grid, the encoder's own where no side is given."""
        return self.code_distances(self.encoder.code(voxels), side)

    @torch.no_grad()
    def code_distances(self, code: Float[Tensor, "b z"], side: int = 0) -> Float[Tensor, "b n c"]:
        """The same, of codes."""
        points = centres(side or self.given.side, self.given.dims).to(code)
        return self.distances(self.encoder.planes(code), points.expand(len(code), -1, -1))

    def shapes(self, voxels: Float[Tensor, "b ..."], side: int = 0) -> Bool[Tensor, "b n"]:
        """Which cells the network takes to be inside."""
        return self.is_inside(self.grid_distances(voxels, side))

    def is_inside(self, h2: Float[Tensor, "b n c"]) -> Bool[Tensor, "b n"]:
        """Which points the network takes to be inside, of their distances to the convexes."""
        return layers.is_inside(self.union(h2), self.phase)


def centres(side: int, dims: int) -> Float[Tensor, "n d"]:
    """Coordinates of all cells of a grid, in -0.5..0.5, in the order of a flattened array."""
    line = (torch.arange(side) + 0.5) / side - 0.5
    return torch.cartesian_prod(*[line] * dims)
