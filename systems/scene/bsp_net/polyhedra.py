"""Convex polyhedra of half-spaces: a cube is cut by one plane after another, and every hole gets a lid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from systems.scene.bsp_net.polygons import SNAP, unit_planes

Loop = tuple[int, ...]
"""Numbers of a face's corners, counter-clockwise seen from outside."""

CORNERS = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
CUBE: tuple[Loop, ...] = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


@dataclass(frozen=True)
class Polyhedron:
    """Corners and faces; no faces where nothing is left."""

    corners: Float[np.ndarray, "k 3"]
    faces: tuple[Loop, ...]

    @property
    def triangles(self) -> Int[np.ndarray, "t 3"]:
        """Every face as a fan."""
        fans = [(loop[0], loop[i], loop[i + 1]) for loop in self.faces for i in range(1, len(loop) - 1)]
        return np.array(fans, dtype=np.int64).reshape(-1, 3)

    @property
    def edges(self) -> int:
        """How many edges there are: every one is shared by two faces."""
        return sum(map(len, self.faces)) // 2

    @property
    def volume(self) -> float:
        """Sum of the tetrahedra between the triangles and the origin."""
        a, b, c = (self.corners[self.triangles[:, place]] for place in range(3))
        return float((np.cross(a, b) * c).sum() / 6)


def extract(planes: Float[np.ndarray, "p 4"]) -> Polyhedron:
    """The part of the unit cube, centred on 0, in which a.x + d >= 0 for every row (a, d)."""
    solid = Polyhedron(CORNERS, CUBE)
    rows = unit_planes(planes)
    if rows is None:
        return Polyhedron(CORNERS[:0], ())
    for plane in rows:
        solid = cut(solid, solid.corners @ plane[:3] + plane[3])
    return solid


def cut(solid: Polyhedron, heights: Float[np.ndarray, " k"]) -> Polyhedron:
    """What is left of a polyhedron where the signed heights of its corners over a plane are positive."""
    heights = np.where(np.abs(heights) < SNAP, 0.0, heights)
    if (heights >= 0).all():
        return solid
    if not (heights > 0).any():
        return Polyhedron(CORNERS[:0], ())
    corners, between = list(solid.corners), dict[tuple[int, int], int]()
    cut_faces = [tuple(_cut_loop(loop, heights, corners, between)) for loop in solid.faces if _stays(loop, heights)]
    faces = [loop for loop in cut_faces if len(loop) > 2]
    return _renumbered(corners, [*faces, *lids(faces)])


def _stays(loop: Loop, heights: Float[np.ndarray, " k"]) -> bool:
    return any(heights[corner] > 0 for corner in loop)


def _cut_loop(
    loop: Loop,
    heights: Float[np.ndarray, " k"],
    corners: list[Float[np.ndarray, " 3"]],
    between: dict[tuple[int, int], int],
) -> Iterator[int]:
    """Corners of a face that stay, with one on each edge that is cut: the same one for both faces of the edge."""
    for here, after in zip(loop, (*loop[1:], loop[0]), strict=True):
        if heights[here] >= 0:
            yield here
        if heights[here] * heights[after] < 0:
            edge = (min(here, after), max(here, after))
            if edge not in between:
                low, high = edge
                share = heights[low] / (heights[low] - heights[high])
                between[edge] = len(corners)
                corners.append(corners[low] + share * (corners[high] - corners[low]))
            yield between[edge]


def directed(faces: Sequence[Loop]) -> Iterator[tuple[int, int]]:
    """Edges in the direction in which their faces run through them."""
    for loop in faces:
        yield from zip(loop, (*loop[1:], loop[0]), strict=True)


def lids(faces: Sequence[Loop]) -> Iterator[Loop]:
    """Faces that close the holes: an edge that only one face runs through belongs to one, the other way round."""
    there = set(directed(faces))
    following = {b: a for a, b in sorted(there) if (b, a) not in there}
    while following:
        first, here = following.popitem()
        loop = [first]
        while here != first:
            loop.append(here)
            here = following.pop(here)
        yield tuple(loop)


def _renumbered(corners: Sequence[np.ndarray], faces: Sequence[Loop]) -> Polyhedron:
    used = sorted({corner for loop in faces for corner in loop})
    number = {corner: place for place, corner in enumerate(used)}
    return Polyhedron(np.array([corners[i] for i in used]), tuple(tuple(number[i] for i in loop) for loop in faces))


def face_planes(solid: Polyhedron) -> Float[np.ndarray, "f 4"]:
    """Outward unit normal and offset of every face, by the areas of its fan: x is outside where n.x + d > 0."""
    rows = []
    for loop in solid.faces:
        points = solid.corners[list(loop)]
        normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
        if (length := np.linalg.norm(normal)) > SNAP**2:
            rows.append([*(normal / length), -points.mean(axis=0) @ normal / length])
    return np.array(rows).reshape(-1, 4)


def contains(solid: Polyhedron, points: Float[np.ndarray, "n 3"], slack: float = 1e-7) -> Bool[np.ndarray, " n"]:
    """Which points lie in a polyhedron, its surface included, or at most `slack` beside it."""
    planes = face_planes(solid)
    if not len(planes):
        return np.zeros(len(points), bool)
    within: Bool[np.ndarray, " n"] = (points @ planes[:, :3].T + planes[:, 3] <= slack).all(axis=1)
    return within
