"""What is drawn is what is there."""

from __future__ import annotations

import numpy as np
import pytest

from systems.scene.bsp_net import pictures, pieces, polygons, polyhedra, scores


def test_the_surface_of_a_solid_closes_around_its_cells_and_looks_outward() -> None:
    solid = (np.random.default_rng(0).random((5, 5, 5)) < 0.5).astype(np.uint8)
    faces = pictures.surface(solid)
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    a, b, c = (triangles[:, k] for k in range(3))
    assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(solid.sum() / 125)
    assert np.abs(faces).max() <= 0.5


def test_polygons_are_painted_in_the_colour_of_their_convex_and_mixed_where_they_overlap() -> None:
    left = polygons.extract(np.array([[0.0, -1.0, 0.25]]))
    right = polygons.extract(np.array([[0.0, 1.0, 0.25]]))
    picture = pictures.painted([[(1, left), (2, right)], []], 32)
    one, two = (255 * np.array(pictures.colour(index)) for index in (1, 2))
    assert picture.shape == (2, 128, 128, 3)
    assert (np.abs(picture[0, 64, 10] - one) <= 1).all()
    assert (np.abs(picture[0, 64, 120] - two) <= 1).all()
    assert (np.abs(picture[0, 64, 64] - (one + two) / 2) <= 1).all()
    assert (picture[1] == 255).all()


def test_scores_by_hand() -> None:
    a, b = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool), np.array([[1, 0, 1, 0], [0, 0, 0, 0]], bool)
    assert scores.iou(a, b).tolist() == pytest.approx([1 / 3, 1])
    assert scores.nearest(a[:1], np.array([[1, 1, 1, 0], [0, 0, 1, 1]], bool)).tolist() == pytest.approx([2 / 3])
    within = np.array([[[1, 1], [1, 0], [0, 0], [1, 1]]], bool)
    assert scores.covering(within, np.array([[1, 1, 1, 0]], bool)).tolist() == [1.5]
    assert scores.main_convex(within[0], np.array([1, 1, 1, 0], bool)) == 0
    assert scores.main_convex(within[0], np.array([0, 0, 1, 0], bool)) == -1
    assert scores.majority([3, 3, -1, 5]) == 0.5
    assert scores.contour_corners(np.ones((3, 3), np.uint8)) == 12


def test_chamfer_of_a_solid_and_its_own_box_is_small_and_grows_with_the_gap() -> None:
    solid = np.zeros((16, 16, 16), np.uint8)
    solid[4:12, 4:12, 4:12] = 1

    def box(half: float) -> pieces.Piece:
        return pieces.Piece(0, polyhedra.extract(np.c_[np.r_[np.eye(3), -np.eye(3)], np.full(6, half)]))

    right, wrong = (scores.chamfer(solid, [box(half)], np.random.default_rng(0)) for half in (0.25, 0.4))
    assert right < 2e-3
    assert wrong > 10 * right
    assert scores.is_closed(box(0.25))
