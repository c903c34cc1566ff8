"""Shapes made by rule and voxelised meshes against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from systems.scene.bsp_net import toys
from systems.scene.bsp_net.voxelise import normalised, turned, voxelise

SEEDS = st.integers(0, 100_000)


@given(SEEDS)
def test_figures_stand_apart_from_left_to_right_and_only_the_hollow_one_has_a_hole(seed: int) -> None:
    parts = toys.figures(np.random.default_rng(seed))
    picture = toys.draw(parts)
    assert [part.kind for part in parts] == ["diamond", "cross", "hollow"]
    assert not picture[[0, -1]].any()
    assert not picture[:, [0, -1]].any()
    for a, b in itertools.pairwise(parts):
        assert b.x - a.x > max(a.radius, b.radius)
    for part in parts:
        alone = toys.draw([part])
        assert ndimage.label(alone)[1] == 1
        holes = ndimage.label(1 - alone)[1] - 1
        assert holes == (part.kind == "hollow")
        assert (picture | alone == picture).all() or part.kind != "hollow"
        least, most = toys.RADII[part.kind]
        assert least <= part.radius <= most
        rows, columns = np.nonzero(alone)
        assert (rows.min(), rows.max()) == (part.y - part.radius, part.y + part.radius)
        assert (columns.min(), columns.max()) == (part.x - part.radius, part.x + part.radius)


@given(SEEDS)
def test_boxes_hold_the_middle_and_are_one_piece(seed: int) -> None:
    solid = toys.boxes(np.random.default_rng(seed), 16)
    assert solid[8, 8, 8] == 1
    assert ndimage.label(solid)[1] == 1
    assert not solid[[0, -1]].any()


@pytest.mark.parametrize("side", [16, 31])
def test_a_ball_is_filled_where_it_is(side: int) -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.4)
    middle = (np.indices((side,) * 3) + 0.5) / side - 0.5
    distance = np.sqrt((middle**2).sum(axis=0))
    found = voxelise(ball.vertices, ball.faces, side).astype(bool)
    assert found[distance < 0.399].all()
    assert not found[distance > 0.4].any()


@settings(max_examples=20)
@given(SEEDS)
def test_turned_boxes_are_filled_where_their_half_spaces_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = trimesh.creation.box(extents=rng.uniform(0.2, 0.5, size=3))
    planes = box.facets_normal @ (turn := trimesh.transformations.random_rotation_matrix(rng.random(3)))[:3, :3].T
    offsets = (box.facets_normal * box.facets_origin).sum(axis=1)
    box.apply_transform(turn)
    middle = ((np.indices((16,) * 3) + 0.5) / 16 - 0.5).reshape(3, -1).T
    height = (middle @ planes.T - offsets).max(axis=1)
    found = voxelise(box.vertices, box.faces, 16).reshape(-1).astype(bool)
    sure = np.abs(height) > 1e-4
    assert np.array_equal(found[sure], height[sure] < 0)


def test_an_axis_parallel_box_whose_sides_meet_cell_middles_has_no_streaks() -> None:
    box = trimesh.creation.box(extents=(0.5, 0.25, 0.75))
    found = voxelise(box.vertices, box.faces, 16)
    assert found.sum() == 8 * 4 * 12
    assert found[4:12, 6:10, 2:14].all()
    box.apply_translation([1 / 32, 1 / 32, 1 / 32])
    shifted = voxelise(box.vertices, box.faces, 16)
    assert ndimage.label(shifted)[1] == 1
    assert abs(int(shifted.sum()) - 8 * 4 * 12) <= 8 * 4 + 4 * 12 + 8 * 12


def test_normalised_vertices_fill_the_cube_but_for_its_margin() -> None:
    rng = np.random.default_rng(0)
    out = normalised(rng.normal(size=(50, 3)) * (1, 2, 3) + 5, margin=0.1)
    assert np.ptp(out, axis=0).max() == pytest.approx(0.8)
    assert out.min(axis=0) + out.max(axis=0) == pytest.approx(0, abs=1e-12)


def test_a_solid_has_48_positions_of_equal_volume() -> None:
    solid = (np.random.default_rng(0).random((4, 4, 4)) > 0.5).astype(np.uint8)
    found = {one.tobytes() for one in map(np.ascontiguousarray, turned(solid))}
    assert len(found) == 48
    assert {sum(one) for one in found} == {int(solid.sum())}
