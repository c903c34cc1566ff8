"""Convex polygons of half-planes: a square is cut by one line after another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Polygon = Float[np.ndarray, "k 2"]
"""Corners, counter-clockwise, the last one joined to the first."""

SNAP = 1e-9
"""Corners so near a cut lie on it: no slivers thinner than this come out."""

SQUARE: Polygon = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
NOTHING: Polygon = np.empty((0, 2))


def unit_planes(planes: Float[np.ndarray, "p d1"]) -> Float[np.ndarray, "q d1"] | None:
    """Half-spaces a.x + d >= 0 with |a| = 1; those that hold everywhere are left out, None if one holds nowhere."""
    length = np.linalg.norm(planes[:, :-1], axis=1)
    flat = length < SNAP
    if (planes[flat, -1] < 0).any():
        return None
    kept: Float[np.ndarray, "q d1"] = planes[~flat] / length[~flat, None]
    return kept


def extract(planes: Float[np.ndarray, "p 3"]) -> Polygon:
    """The part of the unit square, centred on 0, in which a.x + d >= 0 for every row (a, d); empty where none is."""
    polygon = SQUARE
    rows = unit_planes(planes)
    if rows is None:
        return NOTHING
    for plane in rows:
        polygon = cut(polygon, polygon @ plane[:2] + plane[2])
    return polygon


def cut(polygon: Polygon, heights: Float[np.ndarray, " k"]) -> Polygon:
    """What is left of a polygon where the signed heights of its corners over a line are positive."""
    heights = np.where(np.abs(heights) < SNAP, 0.0, heights)
    if not (heights > 0).any():
        return NOTHING
    kept = []
    for here in range(len(polygon)):
        after = (here + 1) % len(polygon)
        if heights[here] >= 0:
            kept.append(polygon[here])
        if heights[here] * heights[after] < 0:
            share = heights[here] / (heights[here] - heights[after])
            kept.append(polygon[here] + share * (polygon[after] - polygon[here]))
    return np.array(kept)


def area(polygon: Polygon) -> float:
    """Signed area: positive for a counter-clockwise polygon."""
    after = np.roll(polygon, -1, axis=0)
    return float((polygon[:, 0] * after[:, 1] - polygon[:, 1] * after[:, 0]).sum() / 2)


def contains(polygon: Polygon, points: Float[np.ndarray, "n 2"], slack: float = 1e-7) -> Bool[np.ndarray, " n"]:
    """Which points lie in a convex polygon, its edge included, or at most `slack` beside it."""
    if len(polygon) < 3:
        return np.zeros(len(points), bool)
    edges = np.roll(polygon, -1, axis=0) - polygon
    length = np.linalg.norm(edges, axis=1)
    real = length > SNAP
    directions, away = edges[real] / length[real, None], points[:, None] - polygon[real]
    left = directions[:, 0] * away[..., 1] - directions[:, 1] * away[..., 0]
    within: Bool[np.ndarray, " n"] = (left >= -slack).all(axis=1)
    return within
