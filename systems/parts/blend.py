"""Compositing operators: foreground RGBA over background RGB by a named blend (table A of card 04).

All maths in float, 0..1, straight colour: F colour and a alpha of the foreground, B the background. Sums are made in
place, because fetching new memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import Float

from systems.parts.errors import UserError
from systems.parts.pictures import alpha_of, colour_of, thrice, unit

Picture = Float[np.ndarray, "h w 3"]
Alpha = Float[np.ndarray, "h w 3"]  # repeated in every channel

GLASS_SIDE = 64
"""Picture side, px, for which the displacement `k` of glass is given."""

FLAT = 1e-6
"""Steepness below which an alpha has no edge: such glass neither bends nor shines."""


def over(F: Picture, a: Alpha, B: Picture, _: Mapping[str, float]) -> Picture:
    """z = aF + (1-a)B."""
    z: Picture = F - B
    z *= a
    z += B
    return z


def screen(F: Picture, a: Alpha, B: Picture, _: Mapping[str, float]) -> Picture:
    """z = 1 - (1-aF)(1-B), written so that aF = 0 gives B exactly."""
    z: Picture = 1 - B
    z *= a
    z *= F
    z += B
    return z


def additive(F: Picture, a: Alpha, B: Picture, _: Mapping[str, float]) -> Picture:
    """z = clip(B + aF)."""
    z: Picture = a * F
    z += B
    np.minimum(z, 1, out=z)
    return z


def multiply(F: Picture, a: Alpha, B: Picture, _: Mapping[str, float]) -> Picture:
    """z = (1-a)B + aFB, written so that F = 1 gives B exactly."""
    z: Picture = 1 - F
    z *= a
    z *= B
    np.subtract(B, z, out=z)
    return z


def glass(F: Picture, a: Alpha, B: Picture, params: Mapping[str, float]) -> Picture:
    """z = (1-a)W(B) + a(F W(B)) + sH: W warps B by k grad a, H is the highlight map |grad a|, `s` its strength."""
    alpha = a[..., 0]
    slope_x, slope_y = (cv2.Sobel(alpha, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    # Not cv2.magnitude: its last bit depends on where the arrays lie in memory.
    steepness = np.sqrt(slope_x * slope_x + slope_y * slope_y)
    peak = np.float32(max(steepness.max(), FLAT))
    reach = np.float32(params["k"] * alpha.shape[1] / GLASS_SIDE) / peak
    rows, columns = (np.arange(length, dtype=np.float32) for length in alpha.shape)
    x, y = columns + reach * slope_x, rows[:, None] + reach * slope_y
    warped = cv2.remap(B, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    highlight = thrice(steepness * np.float32(params["s"] / peak))
    z = multiply(F, a, warped, params)
    z += highlight
    np.minimum(z, 1, out=z)
    return z


BLENDS: Mapping[str, Callable[[Picture, Alpha, Picture, Mapping[str, float]], Picture]] = {
    "over": over,
    "screen": screen,
    "additive": additive,
    "multiply": multiply,
    "glass": glass,
}


def blend(tau: str, fg: Float[np.ndarray, "h w 4"], bg: Picture, params: Mapping[str, float]) -> Picture:
    """Composite of a foreground (straight alpha) and a background by blend `tau`, everything float32 in 0..1."""
    if tau not in BLENDS:
        raise UserError(f"parameter tau = {tau!r}: one of {', '.join(BLENDS)} is wanted")
    if fg.shape[2] != 4:
        raise UserError(f"parameter fg: {fg.shape[2]} channels; 4 are wanted, RGBA")
    if fg.shape[:2] != bg.shape[:2]:
        raise UserError(f"parameter bg: {_size(bg)} px, the foreground fg is {_size(fg)} px; equal sizes are wanted")
    alpha = alpha_of(fg)
    if not cv2.countNonZero(alpha):
        raise UserError("parameter fg: alpha is zero everywhere; a visible foreground is wanted")
    return BLENDS[tau](colour_of(fg), thrice(alpha), bg, params)


def reblend_error(tau: str, fg: np.ndarray, bg: np.ndarray, comp: np.ndarray, params: Mapping[str, float]) -> float:
    """Largest difference, in steps of 1/255, between a stored composite and the blend of the stored layers (uint8)."""
    if comp.shape[:2] != fg.shape[:2]:
        raise UserError(f"parameter comp: {_size(comp)} px, the layers are {_size(fg)} px; equal sizes are wanted")
    again = blend(tau, unit(fg), unit(bg), params)
    return float(np.abs(again * 255 - comp).max())


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
