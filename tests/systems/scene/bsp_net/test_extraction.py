"""Polygons and polyhedra of half-spaces against scipy, shapely, trimesh and the network's own prediction."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection
from shapely import union_all
from shapely.geometry import Polygon

from systems.scene.bsp_net import layers, polygons, polyhedra
from systems.scene.bsp_net.network import centres

SEEDS = st.integers(0, 100_000)
BOX = {d: np.c_[np.r_[np.eye(d), -np.eye(d)], np.full(2 * d, 0.5)] for d in (2, 3)}


def random_planes(seed: int, dims: int) -> np.ndarray:
    """Half-spaces a.x + d >= 0: few or many, some away from the middle, some twice, some on the box itself."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 14))
    rows = np.c_[rng.normal(size=(count, dims)), rng.uniform(-0.15, 0.6, size=count)]
    return np.r_[rows, rows[:1] * 2, BOX[dims][: seed % 4]] if seed % 3 == 0 else rows


def size_by_scipy(planes: np.ndarray, dims: int) -> float:
    """Area or volume within the unit box, by scipy, from the centre of the largest ball inside; 0 where none fits."""
    rows = np.r_[planes, BOX[dims]]
    length = np.linalg.norm(rows[:, :dims], axis=1, keepdims=True)
    bounds = [(None, None)] * (dims + 1)
    found = linprog(np.r_[np.zeros(dims), -1], np.c_[-rows[:, :dims], length], rows[:, dims], bounds=bounds)
    if found.x is None or found.x[-1] < 1e-5:
        return 0.0
    return float(ConvexHull(HalfspaceIntersection(-rows, found.x[:dims]).intersections).volume)


@given(SEEDS)
def test_holds_12_3_polygons_are_scipys_convex_and_counter_clockwise(seed: int) -> None:
    planes = random_planes(seed, 2)
    polygon = polygons.extract(planes)
    found = polygons.area(polygon) if len(polygon) else 0.0
    assert found == pytest.approx(size_by_scipy(planes, 2), abs=1e-6)
    if found > 1e-6:
        steps = np.roll(polygon, -1, axis=0) - polygon
        turns = np.cross(np.c_[steps, 0 * steps[:, :1]], np.c_[np.roll(steps, -1, axis=0), 0 * steps[:, :1]])[:, 2]
        assert turns.min() > -1e-9
        ring = Polygon(polygon)
        assert ring.is_valid
        assert ring.exterior.is_ccw
        assert ring.convex_hull.area == pytest.approx(ring.area)


@given(SEEDS)
def test_holds_12_3_polyhedra_are_closed_spheres_of_scipys_volume(seed: int) -> None:
    planes = random_planes(seed, 3)
    solid = polyhedra.extract(planes)
    assert solid.volume == pytest.approx(size_by_scipy(planes, 3), abs=1e-6)
    if solid.faces:
        shared = Counter(frozenset(edge) for edge in polyhedra.directed(solid.faces))
        assert set(shared.values()) == {2}
        assert len(set(polyhedra.directed(solid.faces))) == 2 * len(shared)
        assert len(solid.corners) - len(shared) + len(solid.faces) == 2
        assert solid.edges == len(shared)
        mesh = trimesh.Trimesh(solid.corners, solid.triangles, process=False)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.euler_number == 2
        assert mesh.volume == pytest.approx(solid.volume)


@given(SEEDS, st.sampled_from((2, 3)))
def test_holds_12_3_rasterised_pieces_are_the_discrete_prediction(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(dims, 24))
    normals *= 64 / np.linalg.norm(normals, axis=0)
    offsets = 64 * rng.uniform(-0.5, 0.05, size=(1, 24))
    T = torch.from_numpy((rng.random((24, 5)) < 0.25).astype(float))
    side = 64 if dims == 2 else 24
    points = centres(side, dims).double()
    planes = torch.from_numpy(normals)[None], torch.from_numpy(offsets)[None]
    predicted = (layers.convexes(layers.half_spaces(points[None], *planes), T)[0].amin(-1) < layers.INSIDE).numpy()
    kind, rows = polygons if dims == 2 else polyhedra, -np.concatenate([normals, offsets]).T
    pieces = [kind.extract(rows[T[:, j].numpy() > 0]) for j in range(5)]
    drawn, grown = (
        np.any([kind.contains(piece, points.numpy(), slack) for piece in pieces], axis=0) for slack in (1e-7, 1 / side)
    )
    assert not (drawn & ~predicted).any()
    assert not (predicted & ~grown).any() or not all(map(size_of, pieces))
    assert predicted.sum() < 200 or drawn.sum() >= 0.98 * predicted.sum()


def size_of(piece: np.ndarray | polyhedra.Polyhedron) -> int:
    """How many corners a piece has."""
    return len(piece.corners if isinstance(piece, polyhedra.Polyhedron) else piece)


def test_a_half_space_that_holds_nowhere_leaves_nothing_and_one_that_holds_everywhere_cuts_nothing() -> None:
    for dims, kind, size in ((2, polygons, polygons.area), (3, polyhedra, lambda solid: solid.volume)):
        nothing, everything = np.r_[np.zeros(dims), -1.0], np.r_[np.zeros(dims), 1.0]
        outside, whole = np.r_[np.ones(dims), -9.0], np.r_[np.ones(dims), 9.0]
        assert len(getattr(kind.extract(nothing[None]), "faces", kind.extract(nothing[None]))) == 0
        assert size(kind.extract(np.array([everything, whole]))) == pytest.approx(1)
        empty = kind.extract(outside[None])
        assert not kind.contains(empty, np.zeros((1, dims))).any()


def test_a_cube_cut_at_a_corner_and_along_its_diagonal() -> None:
    corner = polyhedra.extract(np.array([[1.0, 1.0, 1.0, 1.0]]))
    assert corner.volume == pytest.approx(1 - 1 / 48)
    assert len(corner.faces) == 7
    prism = polyhedra.extract(np.array([[1.0, -1.0, 0.0, 0.0]]))
    assert prism.volume == pytest.approx(0.5)
    assert len(prism.faces) == 5
    assert len(prism.corners) == 6


@given(SEEDS)
def test_a_union_of_polygons_covers_what_its_members_contain(seed: int) -> None:
    pieces = [polygons.extract(random_planes(seed + i, 2)) for i in range(3)]
    points = centres(32, 2).double().numpy()
    drawn = np.any([polygons.contains(piece, points) for piece in pieces], axis=0)
    region = union_all([Polygon(piece) for piece in pieces if len(piece) > 2])
    assert drawn.mean() == pytest.approx(region.area, abs=0.05)
