"""Shapes made by rule: the authors' three figures in the plane, and unions of boxes in space."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE = 64
"""Pixels a side for which the sizes below are given."""

THIRD = 1 / 3
DIAMOND = np.array([(0, 1), (-1, 0), (0, -1), (1, 0)], float)
QUARTER = np.array([(1, THIRD), (THIRD, THIRD), (THIRD, 1)])
CROSS = np.concatenate([QUARTER @ np.array([(c, s), (-s, c)]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])
RADII = {"diamond": (8, 12), "cross": (12, 16), "hollow": (12, 16)}
"""Least and greatest radius of each figure, from left to right, px."""


@dataclass(frozen=True)
class Part:
    """One figure of a shape: where its middle is (column, row) and how large it is, px."""

    kind: str
    x: int
    y: int
    radius: int


def figures(rng: np.random.Generator) -> list[Part]:
    """Diamond, cross and hollow diamond from left to right, none above another, all within the picture."""
    while True:
        parts = []
        for kind, (least, most) in RADII.items():
            radius = int(rng.integers(least, most + 1))
            x, y = rng.integers(radius + 1, SIDE - radius - 1, size=2).tolist()
            parts.append(Part(kind, x, y, radius))
        a, b, c = parts
        if b.x > a.x + max(a.radius, b.radius) and c.x > b.x + max(b.radius, c.radius):
            return parts


def draw(parts: list[Part]) -> UInt8[np.ndarray, "h w"]:
    """1 inside, 0 outside; the hollow one has a hole of half its radius."""
    picture = np.zeros((SIDE, SIDE), np.uint8)
    for part in parts:
        _fill(picture, part, CROSS if part.kind == "cross" else DIAMOND, 1)
        if part.kind == "hollow":
            _fill(picture, part, DIAMOND / 2, 0)
    return picture


def _fill(picture: UInt8[np.ndarray, "h w"], part: Part, outline: Float[np.ndarray, "k 2"], value: int) -> None:
    corners = (outline * part.radius + (part.x, part.y)).astype(np.int32)
    cv2.fillPoly(picture, [corners], value)


def boxes(rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "s s s"]:
    """A union of two to four boxes that all hold the middle, each an eighth to seven eighths of the side long."""
    solid = np.zeros((side, side, side), np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        low = rng.integers(side // 8, side // 2, size=3)
        high = rng.integers(side // 2, side - side // 8, size=3) + 1
        solid[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))] = 1
    return solid
