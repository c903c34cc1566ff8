"""Shapes made by rule: the authors' three figures in the plane, and unions of boxes in space."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE = 64
"""Pixels a side for which the sizes below are given."""

TRIES = 256
"""Triples drawn at once; about one in four hundred fits."""

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
    """Diamond, cross and hollow diamond from left to right, none above another, all within the picture.

    Drawn evenly from all such triples: many are drawn at once, and the first that fits is taken.
    """
    low, high = np.array(list(RADII.values())).T
    while True:
        radius = rng.integers(low, high + 1, size=(TRIES, 3))
        x, y = rng.integers(radius + 1, SIDE - radius - 1, size=(2, TRIES, 3))
        fits = (np.diff(x) > np.maximum(radius[:, 1:], radius[:, :-1])).all(axis=1)
        if fits.any():
            first = int(fits.argmax())
            return [Part(kind, *map(int, (x[first, k], y[first, k], radius[first, k]))) for k, kind in enumerate(RADII)]


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
