"""Closed triangle meshes to voxels: along each column of cells, inside begins and ends at every crossing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

MARGIN = 0.05
"""Room left on each side of the longest extent, as a share of the cube."""

ASIDE = np.array([1.7e-5, 3.1e-5])
"""Columns stand so little aside of the cells' middles that they miss corners and edges of man-made meshes."""


def normalised(vertices: Float[np.ndarray, "v 3"], margin: float = MARGIN) -> Float[np.ndarray, "v 3"]:
    """Vertices centred on 0 and scaled so that the longest extent is 1 - 2 margin."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centred: Float[np.ndarray, "v 3"] = (vertices - (low + high) / 2) * ((1 - 2 * margin) / (high - low).max())
    return centred


def voxelise(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], side: int
) -> UInt8[np.ndarray, "s s s"]:
    """1 for every cell of the cube -0.5..0.5 whose middle lies within the closed mesh."""
    crossings = np.zeros((side, side, side + 1), np.int64)
    for i, j, height in _crossings(vertices[faces], side):
        crossings[i, j, height] += 1
    return (np.cumsum(crossings[..., :side], axis=2) % 2).astype(np.uint8)


def _crossings(triangles: Float[np.ndarray, "f 3 3"], side: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each offset within a triangle's footprint: columns (i, j) that cross it, and the first cell above each.

    Triangles are taken together by how many columns their footprints span, the same offset of all at once.
    """
    flat = (triangles[..., :2] + 0.5 - ASIDE) * side - 0.5
    low = np.ceil(flat.min(axis=1)).astype(int)
    span = np.floor(flat.max(axis=1)).astype(int) - low + 1
    for di, dj in itertools.product(*(range(max(0, int(most))) for most in span.max(axis=0, initial=0))):
        there = np.flatnonzero((span[:, 0] > di) & (span[:, 1] > dj))
        cell = low[there] + (di, dj)
        within = ((cell >= 0) & (cell < side)).all(axis=1)
        yield from _hits(triangles[there[within], :, 2], flat[there[within]], cell[within], side)


def _hits(
    heights: Float[np.ndarray, "k 3"], flat: Float[np.ndarray, "k 3 2"], cell: Int[np.ndarray, "k 2"], side: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Barycentric coordinates tell which columns meet their triangle, and where."""
    a, b, c = (flat[:, k] - cell for k in range(3))
    weights = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
    total = weights.sum(axis=1)
    hit = (total != 0) & ((weights * np.sign(total)[:, None]) > 0).all(axis=1)
    z = (weights[hit] * heights[hit]).sum(axis=1) / total[hit]
    first = np.clip(np.ceil((z + 0.5) * side - 0.5), 0, side).astype(int)
    pairs, counts = np.unique(np.c_[cell[hit], first], axis=0, return_counts=True)
    odd = pairs[counts % 2 == 1]
    yield odd[:, 0], odd[:, 1], odd[:, 2]


def _cross(a: Float[np.ndarray, "k 2"], b: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, " k"]:
    area: Float[np.ndarray, " k"] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return area


def turned(solid: UInt8[np.ndarray, "s s s"]) -> Iterator[UInt8[np.ndarray, "s s s"]]:
    """A solid in its 24 positions on a grid and, behind each, its mirror image."""
    for axes, mirrors in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        yield solid.transpose(axes)[tuple(slice(None, None, step) for step in mirrors)]
