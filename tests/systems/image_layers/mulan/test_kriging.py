"""Hidden colours by kriging: the conditional mean of a Gaussian field, and plain where what is seen is plain."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.kriging import LENGTH, NOISE, RIM, kriged

SIDE = 16


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(7, 10), st.integers(7, 12), st.integers(1, 4))
def test_hidden_colours_are_the_conditional_mean_of_the_field(seed: int, height: int, width: int, more: int) -> None:
    """The oracle inverts the covariance of all pixels together and reads the mean from its blocks."""
    image = np.random.default_rng(seed).integers(40, 216, (SIDE, SIDE, 3), np.uint8)
    seen, wanted = block(1, 2, height, width), block(1 + height, 2, more, width)
    known = ~masks.dilate(~seen, RIM)
    places = np.concatenate((np.argwhere(wanted), np.argwhere(known)))
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    count = np.count_nonzero(wanted)
    noise = np.diag(np.where(np.arange(len(places)) < count, 0.0, NOISE))
    precision = np.linalg.inv(np.exp(-apart / (LENGTH * np.sqrt(seen.sum()))) + noise)
    mean = image[seen].mean(0)
    guess = mean - np.linalg.solve(precision[:count, :count], precision[:count, count:] @ (image[known] - mean))
    out = kriged(image, seen, wanted)
    assert np.abs(out[wanted] - guess.clip(0, 255)).max() < 0.51
    assert not out[~wanted].any()


@given(st.integers(0, 255), st.integers(1, 8))
def test_what_is_plain_goes_on_plain_however_little_is_seen(colour: int, width: int) -> None:
    image = np.full((SIDE, SIDE, 3), colour, np.uint8)
    out = kriged(image, block(2, 2, 2, width), block(4, 2, 6, width))
    assert (out[block(4, 2, 6, width)] == colour).all()
