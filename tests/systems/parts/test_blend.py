"""Compositing operators against formulas written out pixel by pixel from table A of card 04."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from systems.parts.blend import BLENDS, GLASS_SIDE, blend, reblend_error
from systems.parts.errors import UserError
from systems.parts.pictures import quantise, unit

SIDE = 6
GLASS = {"k": 3.0, "s": 0.25}
PIXELS = st.integers(0, 255)
foregrounds = arrays(np.uint8, (SIDE, SIDE, 4), elements=PIXELS).filter(lambda fg: fg[..., 3].any())
backgrounds = arrays(np.uint8, (SIDE, SIDE, 3), elements=PIXELS)


def bilinear(picture: np.ndarray, y: float, x: float) -> np.ndarray:
    """A picture between its pixels, mirrored beyond its border without repeating it."""

    def reflected(i: int) -> int:
        period = 2 * (SIDE - 1)
        return min(i % period, period - i % period)

    top, left = int(np.floor(y)), int(np.floor(x))
    corners = [
        (1 - abs(y - i)) * (1 - abs(x - j)) * picture[reflected(i), reflected(j)]
        for i in (top, top + 1)
        for j in (left, left + 1)
    ]
    return np.sum(corners, axis=0)


def slopes(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's derivatives along the columns and the rows."""
    a = np.pad(alpha, 1, mode="reflect")
    across, down = a[:, 2:] - a[:, :-2], a[2:] - a[:-2]
    return across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]


def glass(F: np.ndarray, a: np.ndarray, B: np.ndarray) -> np.ndarray:
    """z = (1-a)W(B) + a(F W(B)) + sH, pixel by pixel."""
    dx, dy = slopes(a[..., 0])
    steep = np.hypot(dx, dy)
    peak = steep.max() or 1
    reach = GLASS["k"] * SIDE / GLASS_SIDE / peak
    z = np.empty_like(B)
    for i, j in np.ndindex(SIDE, SIDE):
        w = bilinear(B, i + reach * dy[i, j], j + reach * dx[i, j])
        z[i, j] = (1 - a[i, j]) * w + a[i, j] * F[i, j] * w + GLASS["s"] * steep[i, j] / peak
    return z.clip(0, 1)


ORACLES = {
    "over": lambda F, a, B: a * F + (1 - a) * B,
    "screen": lambda F, a, B: 1 - (1 - a * F) * (1 - B),
    "additive": lambda F, a, B: (B + a * F).clip(0, 1),
    "multiply": lambda F, a, B: (1 - a) * B + a * F * B,
    "glass": glass,
}


@pytest.mark.parametrize("tau", BLENDS)
@given(fg=foregrounds, bg=backgrounds)
def test_holds_4_1_each_blend_is_its_formula(tau: str, fg: np.ndarray, bg: np.ndarray) -> None:
    exact = ORACLES[tau](fg[..., :3] / 255, fg[..., 3:] / 255, bg / 255)
    # OpenCV warps by 1/32 px, which moves a value between two neighbours by at most 1/64 an axis.
    bound = 2 / 64 + 1e-3 if tau == "glass" else 1e-6
    np.testing.assert_allclose(blend(tau, unit(fg), unit(bg), GLASS), exact, atol=bound)


@pytest.mark.parametrize("tau", BLENDS)
@given(fg=foregrounds, bg=backgrounds)
def test_holds_4_1_a_stored_composite_is_made_again_within_one_step(tau: str, fg: np.ndarray, bg: np.ndarray) -> None:
    comp = quantise(blend(tau, unit(fg), unit(bg), GLASS))
    assert reblend_error(tau, fg, bg, comp, GLASS) <= 0.5 + 1e-4
    wrong = np.where(comp > 127, comp - 2, comp + 2).astype(np.uint8)
    assert reblend_error(tau, fg, bg, wrong, GLASS) > 1


@given(fg=foregrounds, bg=backgrounds)
def test_holds_4_1_the_xray_formula_is_its_8_bit_form(fg: np.ndarray, bg: np.ndarray) -> None:
    a = fg[..., 3:] / 255
    eight_bit = (1 - a) * bg + a * (fg[..., :3] / 255 * (bg / 255) * 255)
    assert np.abs(blend("multiply", unit(fg), unit(bg), {}) * 255 - eight_bit).max() <= 1


@given(fg=foregrounds, bg=backgrounds)
def test_holds_4_1_multiplying_by_white_leaves_the_background(fg: np.ndarray, bg: np.ndarray) -> None:
    fg[..., :3] = 255
    white = unit(fg)
    white[..., :3] = 1
    np.testing.assert_array_equal(blend("multiply", white, unit(bg), {}), unit(bg))


@given(fg=foregrounds, bg=backgrounds)
def test_holds_4_1_screening_nothing_leaves_the_background(fg: np.ndarray, bg: np.ndarray) -> None:
    clear = unit(fg)
    clear[1:, :, 3] = 0
    clear[0, 0, 3] = 0.5  # a foreground must be visible somewhere
    np.testing.assert_array_equal(blend("screen", clear, unit(bg), {})[1:], unit(bg)[1:])


@given(bg=backgrounds)
def test_glass_without_an_edge_neither_bends_nor_shines(bg: np.ndarray) -> None:
    clear = np.ones((SIDE, SIDE, 4), np.float32)
    np.testing.assert_array_equal(blend("glass", clear, unit(bg), GLASS), unit(bg))


def test_holds_4_7_bad_layers_name_the_parameter() -> None:
    fg, bg = np.ones((SIDE, SIDE, 4), np.float32), np.ones((SIDE, SIDE, 3), np.float32)
    with pytest.raises(UserError, match="parameter tau = 'dodge': one of over, screen, additive, multiply, glass"):
        blend("dodge", fg, bg, {})
    with pytest.raises(UserError, match="parameter fg: alpha is zero everywhere"):
        blend("over", fg * np.float32([1, 1, 1, 0]), bg, {})
    with pytest.raises(UserError, match="parameter fg: 3 channels"):
        blend("over", bg, bg, {})
    with pytest.raises(UserError, match="parameter bg: 6 x 5 px, the foreground fg is 6 x 6 px"):
        blend("over", fg, bg[:-1], {})
    comp = np.zeros((SIDE, SIDE + 1, 3), np.uint8)
    with pytest.raises(UserError, match="parameter comp: 7 x 6 px, the layers are 6 x 6 px"):
        reblend_error("over", quantise(fg), quantise(bg), comp, {})


@pytest.mark.parametrize("tau", BLENDS)
def test_no_bit_depends_on_where_the_pictures_lie_in_memory(tau: str) -> None:
    """Two runs place their arrays differently; 33 px a side leave a rest beside what processors take at once."""
    rng = np.random.default_rng(0)
    fg, bg = (rng.random((33, 33, channels), np.float32) for channels in (4, 3))
    held, found = [], set()
    for shift in range(64):
        held.append(np.empty(64 * shift + 4 * (shift % 16) + 1, np.uint8))  # moves what is allocated next
        found.add(blend(tau, fg.copy(), bg.copy(), GLASS).tobytes())
    assert len(found) == 1
