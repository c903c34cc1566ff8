"""The picture that a stack makes: against the blends of the project, pixel by pixel formulas, and itself in pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.parts import blend
from systems.parts.errors import UserError
from systems.parts.layered_files import stack
from systems.parts.layered_files.stack import BLENDS, Layer, Stack, flatten, of_pictures, trimmed
from systems.parts.pictures import quantise, unit
from tests.systems.parts.layered_files.stacks import layers, pixels, stacks


def separable(name: str, below: float, above: float) -> float:
    """The blend function B(cb, cs) of the W3C's Compositing and Blending."""
    return {"over": above, "screen": below + above - below * above, "multiply": below * above}[name]


def by_pixel(whole: Stack) -> np.ndarray:
    """Premultiplied result by the W3C's general formula, a pixel and channel at a time."""
    width, height = whole.size
    flat = np.zeros((height, width, 4))
    for layer in filter(lambda one: one.visible, whole.layers):
        for y, x in np.ndindex(layer.rgba.shape[:2]):
            row, column = y + layer.offset[1], x + layer.offset[0]
            if not (0 <= row < height and 0 <= column < width):
                continue
            *colour, cover = (layer.rgba[y, x] / 255).tolist()
            cover *= layer.opacity
            *below, ground = flat[row, column].tolist()
            for channel, above in enumerate(colour):
                if layer.blend == "additive":
                    flat[row, column, channel] = min(1, cover * above + below[channel])
                    continue
                bare = below[channel] / ground if ground else 0
                mixed = (1 - ground) * above + ground * separable(layer.blend, bare, above)
                flat[row, column, channel] = cover * mixed + (1 - cover) * below[channel]
            flat[row, column, 3] = min(1, cover + ground * (1 if layer.blend == "additive" else 1 - cover))
    return flat


@given(st.builds(Stack, st.just((6, 5)), st.lists(layers(), min_size=1, max_size=4).map(tuple)))
def test_flattening_follows_the_general_formula(whole: Stack) -> None:
    picture = flatten(whole) / 255
    premultiplied = np.dstack((picture[..., :3] * picture[..., 3:], picture[..., 3]))
    assert np.abs(premultiplied - by_pixel(whole)).max() * 255 <= 1


@pytest.mark.parametrize("name", list(BLENDS))
@given(seed=st.integers(0, 99))
def test_on_an_opaque_ground_the_blends_are_those_of_the_project(name: str, seed: int) -> None:
    ground, upper = pixels(seed, 5, 7), pixels(seed + 1, 5, 7)
    ground[..., 3] = 255
    upper[0, 0, 3] = 9  # some alpha is wanted
    found = flatten(Stack((7, 5), (Layer("ground", ground), Layer("upper", upper, blend=name))))
    wanted = quantise(blend.blend(name, unit(upper), unit(np.ascontiguousarray(ground[..., :3])), {}))
    assert np.abs(found[..., :3].astype(int) - wanted).max() <= 1
    assert (found[..., 3] == 255).all()


@given(stacks())
def test_a_picture_is_the_same_whatever_the_bands(whole: Stack) -> None:
    once, band = flatten(whole), stack.BAND
    try:
        stack.BAND = 1
        assert (flatten(whole) == once).all()
    finally:
        stack.BAND = band


@given(stacks(), st.integers(0, 3))
def test_what_is_hidden_or_beside_the_picture_does_not_count(whole: Stack, place: int) -> None:
    place = min(place, len(whole.layers) - 1)
    one = whole.layers[place]
    without = tuple(layer for layer in whole.layers if layer is not one) or (replace(one, visible=False),)
    for gone in (replace(one, visible=False), replace(one, offset=(20, 0)), replace(one, opacity=0.0)):
        changed = (*whole.layers[:place], gone, *whole.layers[place + 1 :])
        assert (flatten(Stack(whole.size, changed)) == flatten(Stack(whole.size, without))).all()


@given(stacks())
def test_trimming_changes_no_picture_and_leaves_no_empty_border(whole: Stack) -> None:
    small = tuple(map(trimmed, whole.layers))
    assert (flatten(Stack(whole.size, small)) == flatten(whole)).all()
    for layer in small:
        alpha = layer.rgba[..., 3]
        edges = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
        assert alpha.size == 1 or all(edge.any() for edge in edges)


def test_pictures_become_a_stack_whose_background_lies_below() -> None:
    above, background = pixels(0, 4, 6), pixels(1, 4, 6)[..., :3]
    whole = of_pictures({"foreground": above, "background": background})
    assert whole.size == (6, 4)
    assert [layer.name for layer in whole.layers] == ["background", "foreground"]
    assert (whole.layers[0].rgba[..., 3] == 255).all()
    assert (whole.layers[0].rgba[..., :3] == background).all()
    assert whole.layers[1].rgba is above


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 121},
        {"name": "\ud800"},
        {"rgba": np.zeros((2, 2, 3), np.uint8)},
        {"rgba": np.zeros((2, 2, 4), np.float32)},
        {"rgba": np.zeros((0, 2, 4), np.uint8)},
        {"opacity": 1.1},
        {"opacity": float("nan")},
        {"blend": "glass"},
        {"offset": (0, -30001)},
    ],
)
def test_a_layer_that_no_file_could_hold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^layer "):
        Layer(**{"name": "a", "rgba": np.zeros((2, 2, 4), np.uint8), **wrong})


@pytest.mark.parametrize(("size", "count"), [((0, 3), 1), ((3, 30001), 1), ((3, 3), 0)])
def test_a_stack_without_room_or_layers_is_refused(size: tuple[int, int], count: int) -> None:
    with pytest.raises(UserError, match=r"^stack "):
        Stack(size, (Layer("a", pixels(0, 2, 2)),) * count)
