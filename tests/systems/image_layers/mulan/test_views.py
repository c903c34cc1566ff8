"""Cutting rectangles out of pictures and putting them back: places agree to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from systems.image_layers.mulan import views
from systems.image_layers.mulan.eye import CHANNELS, STRIDES, Eye

HEIGHT, WIDTH = 24, 40
slopes = st.floats(-2, 2)


def ramp(across: float, down: float, height: int, width: int, start: tuple[float, float] = (0, 0)) -> Tensor:
    """`across` x + `down` y in the middles of pixels, of which the first lies at `start` + 0.5."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5 + start[1], torch.arange(width) + 0.5 + start[0], indexing="ij")
    return (across * x + down * y)[None, None]


def boxes_inside(draw: st.DrawFn) -> tuple[float, float, float, float]:
    left, top = draw(st.floats(1, WIDTH - 8)), draw(st.floats(1, HEIGHT - 8))
    return left, top, draw(st.floats(left + 4, WIDTH - 1)), draw(st.floats(top + 4, HEIGHT - 1))


boxes = st.composite(boxes_inside)()


@given(boxes, slopes, slopes, st.integers(1, 30), st.integers(1, 30))
def test_a_rectangle_of_a_plane_has_the_values_in_the_middles_of_its_cells(
    box: tuple[float, ...], across: float, down: float, height: int, width: int
) -> None:
    left, top, right, bottom = box
    part = views.sample(ramp(across, down, HEIGHT, WIDTH), torch.tensor([box]), (height, width))
    x = left + (torch.arange(width) + 0.5) * (right - left) / width
    y = top + (torch.arange(height) + 0.5) * (bottom - top) / height
    assert torch.allclose(part[0, 0], across * x[None] + down * y[:, None], atol=1e-3)


@given(boxes, slopes, slopes)
def test_what_is_cut_out_and_put_back_lies_where_it_was(box: tuple[float, ...], across: float, down: float) -> None:
    plane, where, side = ramp(across, down, HEIGHT, WIDTH), torch.tensor([box]), 32
    part = views.sample(plane, where, (side, side))
    for scale in (1, 2):
        size = (HEIGHT * scale, WIDTH * scale)
        back = views.sample(part, views.frame((HEIGHT, WIDTH), where, side), size)[0, 0]
        truth = ramp(across / scale, down / scale, *size)[0, 0]
        y, x = np.indices(size) / scale + 0.5 / scale
        margin = np.array([box[2] - box[0], box[3] - box[1]]) / side
        inner = (
            (x > box[0] + margin[0]) & (x < box[2] - margin[0]) & (y > box[1] + margin[1]) & (y < box[3] - margin[1])
        )
        assert torch.allclose(back[torch.from_numpy(inner)], truth[torch.from_numpy(inner)], atol=1e-3)


@given(boxes, st.integers(4, 40))
def test_a_box_fills_as_many_pixels_of_a_square_as_it_covers(box: tuple[float, ...], side: int) -> None:
    given_box = torch.tensor([box])
    square = views.squares(given_box, 0.25)
    across, down = box[2] - box[0], box[3] - box[1]
    assert torch.allclose(square[:, 2:] - square[:, :2], torch.tensor(1.5 * max(across, down)))
    filled = views.filled(given_box, square, side)
    length = float(square[0, 2] - square[0, 0])
    assert float(filled.sum()) == pytest.approx(across * down * (side / length) ** 2, rel=1e-3)
    itself = views.filled(given_box, given_box, side)
    assert torch.allclose(itself, torch.ones_like(itself), atol=1e-4)


def test_a_dot_lies_on_its_point_and_one_that_there_is_not_nowhere() -> None:
    square = torch.tensor([[10.0, 20.0, 18.0, 28.0]])
    dots = views.dotted(torch.tensor([[[12.5, 25.5], [-1e4, -1e4]]]), square, 8, 1.0)
    assert dots[0, 0, 5, 2] == 1
    assert dots.sum() == 9
    assert (dots[0, 0, 4:7, 1:4] == 1).all()


def test_heights_are_places_in_the_whole_picture() -> None:
    heights = views.heights(torch.tensor([[5.0, 6.0, 9.0, 18.0]]), (24, 40), (12, 2))
    assert heights.shape == (1, 1, 12, 2)
    assert torch.allclose(heights[0, 0, :, 1], (6.5 + torch.arange(12)) / 24 - 0.5)


@pytest.mark.parametrize(("number", "stride"), list(enumerate(STRIDES)))
def test_a_map_is_read_where_the_eye_looked(number: int, stride: int) -> None:
    """A dot moved by a pixel at a time: the cells that answer lie, on the average, around it."""
    eye = Eye.random()
    side = 16 * stride
    plain = eye(torch.full((1, 3, side, side), 0.5))[number]
    away = []
    for x in range(side // 2 - stride, side // 2 + stride):
        picture = torch.full((1, 3, side, side), 0.5)
        picture[..., side // 2, x] = 1
        answer = (eye(picture)[number] - plain).square().sum(1)[0]
        cells = float((answer.sum(0) * (torch.arange(16) + 0.5)).sum() / answer.sum())
        place = views.in_cells(torch.tensor([[x + 0.5, 0, x + 0.5, 0]]), (side, side), plain, stride)
        away.append(cells - float(place[0, 0]))
    assert abs(np.mean(away)) < 0.2


@settings(max_examples=20)
@given(st.integers(10, 3000), st.integers(10, 3000))
def test_pictures_are_shown_at_sizes_the_network_takes(height: int, width: int) -> None:
    shown = views.network_size((height, width, 3), 96, 16)
    assert all(side % 16 == 0 and 16 <= side <= 112 for side in shown)
    assert max(shown) == 96


def test_an_album_holds_what_single_looks_give() -> None:
    eye, pictures = Eye.random(), list(np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8))
    kept = views.album(pictures, eye, 48, 2, 8)
    assert kept.pixels.dtype == torch.float16
    assert [plane.shape[1:] for plane in kept.maps] == [
        (channels, 64 // stride, 96 // stride) for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    alone, again = views.looked_at(pictures[1:2], eye, 48, 2, 8), kept.at(torch.tensor([1]))
    assert torch.allclose(alone.pixels, again.pixels, atol=1e-3)
    for plane, other in zip(alone.maps, again.maps, strict=True):
        assert torch.allclose(plane, other, rtol=1e-2, atol=1e-2 * float(plane.abs().max()))


def test_mirrored_views_are_mirrored_as_a_whole() -> None:
    view = views.looked_at(
        [np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)] * 2, Eye.random(), 16, 1, 8
    )
    turned = view.mirrored(torch.tensor([False, True]))
    for plane, other in zip((view.pixels, *view.maps), (turned.pixels, *turned.maps), strict=True):
        assert torch.equal(other[0], plane[0])
        assert torch.equal(other[1], plane[1].flip(-1))
