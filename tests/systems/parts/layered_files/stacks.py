"""Stacks of layers for the tests, as hypothesis draws them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from systems.parts.layered_files.stack import BLENDS, NOT_IN_NAMES, Layer, Stack

NAMES = st.text(st.characters(exclude_categories=tuple(NOT_IN_NAMES)), min_size=1, max_size=12)


def pixels(seed: int, height: int, width: int) -> np.ndarray:
    """Noise with runs of clear and of opaque pixels, for which formats have cases of their own."""
    rng = np.random.default_rng(seed)
    rgba = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    share = rng.random((height, width))
    rgba[share < 0.2, 3], rgba[share > 0.7, 3] = 0, 255
    return rgba


@st.composite
def layers(draw: st.DrawFn, blends: tuple[str, ...] = tuple(BLENDS), inside: int = 0) -> Layer:
    """A layer, which may reach beyond the picture; with `inside`, within a picture of so many px a side."""
    height, width = draw(st.integers(1, inside or 12)), draw(st.integers(1, inside or 12))
    places = [st.integers(0, inside - side) if inside else st.integers(-14, 14) for side in (width, height)]
    return Layer(
        draw(NAMES),
        pixels(draw(st.integers(0, 999)), height, width),
        (draw(places[0]), draw(places[1])),
        draw(st.integers(0, 255)) / 255,
        draw(st.sampled_from(blends)),
        draw(st.booleans()),
    )


@st.composite
def stacks(draw: st.DrawFn, blends: tuple[str, ...] = tuple(BLENDS), inside: bool = False) -> Stack:
    """A stack upon an opaque ground."""
    side = draw(st.integers(1, 12))
    ground = pixels(draw(st.integers(0, 999)), side, side)
    ground[..., 3] = 255
    above = draw(st.lists(layers(blends, side if inside else 0), max_size=4))
    return Stack((side, side), (Layer("ground", ground), *above))
