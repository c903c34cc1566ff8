"""What is measured of shapes and their pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import cKDTree
from skimage.measure import find_contours, marching_cubes

from systems.scene.bsp_net import toys
from systems.scene.bsp_net.pieces import Piece
from systems.scene.bsp_net.polyhedra import Polyhedron, directed

POINTS = 2048
"""Points on a surface whose distances are measured."""

Masks = Bool[np.ndarray, "s n"]


def iou(a: Masks, b: Masks) -> Float[np.ndarray, " s"]:
    """Intersection over union of every pair of shapes; 1 where both are empty."""
    either = (a | b).sum(axis=1)
    shared: Float[np.ndarray, " s"] = np.where(either > 0, (a & b).sum(axis=1) / np.maximum(either, 1), 1.0)
    return shared


def nearest(test: Masks, train: Masks) -> Float[np.ndarray, " s"]:
    """The honest baseline: IoU of each shape with the most similar one of training."""
    a, b = test.astype(np.float32), train.astype(np.float32)
    shared = a @ b.T
    best: Float[np.ndarray, " s"] = (shared / (a.sum(1)[:, None] + b.sum(1)[None] - shared)).max(axis=1)
    return best


def covering(within: Bool[np.ndarray, "s n c"], inside: Masks) -> Float[np.ndarray, " s"]:
    """Convexes that contain a covered cell of the shape, mean over those cells."""
    count = within.sum(axis=2)
    covered = (count > 0) & inside
    mean: Float[np.ndarray, " s"] = (count * covered).sum(axis=1) / np.maximum(covered.sum(axis=1), 1)
    return mean


def contour_corners(shape: UInt8[np.ndarray, "h w"]) -> int:
    """Corners of all contours that marching squares finds, closed ones counted once."""
    contours = find_contours(np.pad(shape, 1).astype(float), 0.5)  # type: ignore[no-untyped-call]
    return sum(len(contour) - 1 for contour in contours)


def corners(pieces: Sequence[Piece]) -> int:
    """Corners of all pieces together."""
    return sum(len(piece.corners) for piece in pieces)


def diamond(parts: Sequence[dict[str, Any]]) -> Bool[np.ndarray, " n"]:
    """Cells of the diamond of one of the authors' figures."""
    (part,) = (toys.Part(**part) for part in parts if part["kind"] == "diamond")
    return toys.draw([part]).ravel() > 0


def main_convex(within: Bool[np.ndarray, "n c"], cells: Bool[np.ndarray, " n"]) -> int:
    """Index of the convex that covers most of some cells; -1 where none covers any."""
    covered = within[cells].sum(axis=0)
    return int(covered.argmax()) if covered.any() else -1


def majority(indices: Sequence[int]) -> float:
    """Share of the most frequent index among all; -1 counts as none."""
    found = [index for index in indices if index >= 0]
    return float(np.bincount(found).max() / len(indices)) if found else 0.0


def chamfer(solid: UInt8[np.ndarray, "s s s"], pieces: Sequence[Piece], rng: np.random.Generator) -> float:
    """Mean squared distance to the other surface, both ways added: marching cubes' against the pieces' union's."""
    corners, faces, *_ = marching_cubes(np.pad(solid, 1).astype(float), 0.5)  # type: ignore[no-untyped-call]
    truth = sampled((corners - 0.5) / len(solid) - 0.5, faces, POINTS, rng)
    ours = union_surface(pieces, rng)
    if not len(ours):
        return float("nan")
    there, back = (np.mean(cKDTree(a).query(b)[0] ** 2) for a, b in ((truth, ours), (ours, truth)))
    return float(there + back)


def is_closed(piece: Piece) -> bool:
    """Whether a polyhedron's edges are each run through once in both directions, and it is a sphere."""
    if not isinstance(piece.body, Polyhedron):
        return False
    there = list(directed(piece.body.faces))
    edges = set(there)
    closed = len(edges) == len(there) and all((b, a) in edges for a, b in there)
    return closed and len(piece.corners) - len(there) // 2 + len(piece.body.faces) == 2


def union_surface(pieces: Sequence[Piece], rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Points on the pieces' surfaces that lie within no other piece."""
    found = [np.empty((0, 3))]
    for piece in pieces:
        if isinstance(piece.body, Polyhedron):
            points = sampled(piece.body.corners, piece.body.triangles, POINTS // 4, rng)
            for other in pieces:
                if other is not piece:
                    points = points[~other.contains(points, -1e-6)]
            found.append(points)
    return np.concatenate(found)


def sampled(
    corners: Float[np.ndarray, "v 3"], triangles: np.ndarray, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 3"]:
    """Points drawn evenly over a surface."""
    a, b, c = (corners[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rows = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points: Float[np.ndarray, "n 3"] = a[rows] + u * (b - a)[rows] + v * (c - a)[rows]
    return points
