"""From networks to pictures: rounding, order of axes, and pieces that fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from systems.parts.tensors import PIXELS, pieces, to_numpy, to_uint8


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=20))
def test_colours_are_rounded_to_the_nearest_and_clipped(values: list[float]) -> None:
    out = to_uint8(torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)).flatten()
    assert out.dtype == torch.uint8
    for value, level in zip(values, out.tolist(), strict=True):
        inside = min(max(value, 0.0), 1.0) * 255
        assert abs(level - inside) <= 0.5 + 1e-4


@given(st.integers(0, 255))
def test_every_level_comes_back(level: int) -> None:
    assert to_uint8(torch.full((1, 1, 1, 1), level / 255)).item() == level


def test_channels_come_last_and_in_order() -> None:
    pictures = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    out = to_numpy(pictures)
    assert out.shape == (2, 4, 5, 3)
    assert out.flags["C_CONTIGUOUS"]
    for (number, row, column, channel), value in np.ndenumerate(out):
        assert value == pictures[number, channel, row, column]


@given(count=st.integers(0, 3000), side=st.integers(1, 2048), most=st.integers(1, 600))
def test_pieces_cover_all_once_and_are_small_enough(count: int, side: int, most: int) -> None:
    covered = [row for piece in pieces(count, side, most) for row in range(count)[piece]]
    assert covered == list(range(count))
    for piece in pieces(count, side, most):
        size = piece.stop - piece.start
        assert size == 1 or (size <= most and size * side**2 <= PIXELS)


@pytest.mark.parametrize(("side", "size"), [(32, 512), (45, 512), (46, 495), (128, 64), (512, 4), (1024, 1), (4096, 1)])
def test_pieces_of_small_pictures_are_as_many_as_wanted(side: int, size: int) -> None:
    assert [piece.stop - piece.start for piece in pieces(1024, side, 512)] == [size] * math.ceil(1024 / size)
