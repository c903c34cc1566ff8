"""Pictures to look at, against loops over single pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from systems.parts.grids import CHECKER, GAP, LARGEST, grid, on_checker

RGBA = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(4))


@given(pictures=RGBA.flatmap(lambda shape: arrays(np.uint8, shape)), cell=st.integers(1, 5))
def test_every_pixel_is_blended_over_its_cell_of_the_checker_board(pictures: np.ndarray, cell: int) -> None:
    shown = on_checker(pictures, cell)
    assert shown.shape == (*pictures.shape[:3], 3)
    for (number, row, column, channel), value in np.ndenumerate(shown):
        colour, alpha = int(pictures[number, row, column, channel]), int(pictures[number, row, column, 3])
        ground = CHECKER[0] if (row // cell + column // cell) % 2 else CHECKER[1]
        assert abs(int(value) - (colour * alpha + ground * (255 - alpha)) / 255) <= 0.5 + 1e-9


def test_opaque_pictures_are_shown_as_they_are() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    np.testing.assert_array_equal(on_checker(rgb), rgb)
    opaque = np.concatenate((rgb, np.full((2, 5, 7, 1), 255, np.uint8)), axis=-1)
    np.testing.assert_array_equal(on_checker(opaque), rgb)


@given(
    counts=st.integers(1, 3),
    lines=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    scale=st.integers(1, 4),
)
def test_every_pixel_of_a_grid_is_one_of_a_tile_or_white(
    counts: int, lines: int, height: int, width: int, scale: int
) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (lines, counts, height, width, 3), np.uint8)
    whole = grid(list(rows), scale)
    tall, wide = height * scale + 2 * GAP, width * scale + 2 * GAP
    assert whole.shape == (lines * tall, counts * wide, 3)
    wanted = np.full_like(whole, 255)
    for y, x in np.ndindex(*whole.shape[:2]):
        (line, down), (place, across) = divmod(y, tall), divmod(x, wide)
        down, across = (down - GAP) // scale, (across - GAP) // scale
        if 0 <= down < height and 0 <= across < width:
            wanted[y, x] = rows[line, place, down, across]
    np.testing.assert_array_equal(whole, wanted)


@pytest.mark.parametrize(
    ("height", "width", "scale", "shown"),
    [(32, 32, 4, (128, 128)), (64, 64, 3, (128, 128)), (100, 100, 3, (100, 100)), (512, 256, 3, (128, 64))],
)
def test_large_tiles_are_shown_at_a_size_to_look_at(
    height: int, width: int, scale: int, shown: tuple[int, int]
) -> None:
    assert max(shown) <= LARGEST
    tile = np.zeros((1, height, width, 3), np.uint8)
    tile[:, height // 2 :] = 200
    inner = grid([tile], scale)[GAP:-GAP, GAP:-GAP]
    assert inner.shape[:2] == shown
    assert inner[: shown[0] // 2].max() == 0
    assert inner[shown[0] // 2 :].min() == 200
