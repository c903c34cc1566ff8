"""Layers found at a small size, brought to the full size of the picture.

The masks follow the picture's own edges (fast guided filter, He and Sun 2015, arXiv 1505.00996). Where a layer is seen
it has the picture's own pixels, or on its edge what mixes to them with the layers beneath; what is hidden is enlarged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from systems.image_layers.mulan.providers import Picture
from systems.image_layers.mulan.stack import Layer, Stack
from systems.parts.pictures import thrice

MIDDLE = 1024
"""Longer side, px, at which masks are fitted to edges."""
SMOOTH = 1e-3
"""Regulariser of the guided filter, for a guide in 0..1."""
ROWS = 256
"""Rows that are worked on at once, so that memory stays bounded."""
STEP = 1 / 255
SEEN = 0.5
NEXT = np.ones((3, 3), np.uint8)

Plane = Float32[np.ndarray, "h w"]


def lifted(picture: Picture, stack: Stack) -> list[UInt8[np.ndarray, "h w c"]]:
    """Every layer at the size of the picture, from the bottom up: the background RGB, instances RGBA."""
    alphas = [fitted(picture, layer) for layer in stack.layers[1:]]
    height, width = picture.shape[:2]
    out = [np.empty((height, width, 3 if k == 0 else 4), np.uint8) for k in range(len(stack.layers))]
    for rows in strips(height):
        fill(picture, stack.layers, alphas, rows, out)
    return out


def strips(height: int) -> Iterator[slice]:
    """The rows of a picture, a few at a time."""
    return (slice(start, min(start + ROWS, height)) for start in range(0, height, ROWS))


def fitted(picture: Picture, layer: Layer) -> UInt8[np.ndarray, "h w"]:
    """Alpha of a layer at the picture's size, moved to the edges of the picture."""
    height, width = picture.shape[:2]
    scale = min(1.0, MIDDLE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = layer.pixels[..., 3] / np.float32(255)
    guide = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    middle = enlarged(small, size)
    slope, offset = guided(guide / np.float32(255), middle, 2 * max(1, round(size[0] / small.shape[1])) + 1)
    sure = np.where(cv2.dilate(middle, NEXT) <= 0, -1, np.where(cv2.erode(middle, NEXT) >= 1, 1, 0)).astype(np.float32)
    out = np.empty((height, width), np.uint8)
    for rows in strips(height):
        grey = cv2.cvtColor(picture[rows], cv2.COLOR_RGB2GRAY) / np.float32(255)
        slopes, offsets, surely = (part(plane, rows, height, width) for plane in (slope, offset, sure))
        alpha = np.clip((slopes * grey + offsets - 0.1) / 0.8, 0, 1)
        alpha = np.where(surely >= 1, 1, np.where(surely <= -1, 0, alpha))
        out[rows] = np.rint(alpha * 255)
    return out


def guided(guide: Plane, target: Plane, width: int) -> tuple[Plane, Plane]:
    """Slope and offset by which the guide gives the target, smoothed over boxes `width` px wide."""
    size = (width, width)
    mean, wanted = cv2.blur(guide, size), cv2.blur(target, size)
    slope = (cv2.blur(guide * target, size) - mean * wanted) / (cv2.blur(guide * guide, size) - mean * mean + SMOOTH)
    return cv2.blur(slope, size), cv2.blur(wanted - slope * mean, size)


def enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By linear interpolation to (width, height)."""
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


def part(plane: np.ndarray, rows: slice, height: int, width: int) -> np.ndarray:
    """The rows of a plane enlarged to height and width, without enlarging the rest."""
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * (plane.shape[0] / height) - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) * (plane.shape[1] / width) - 0.5
    columns, lines = np.meshgrid(x, y)
    return cv2.remap(plane, columns, lines, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def fill(
    picture: Picture,
    layers: Sequence[Layer],
    alphas: Sequence[UInt8[np.ndarray, "h w"]],
    rows: slice,
    out: Sequence[UInt8[np.ndarray, "h w c"]],
) -> None:
    """Some rows of every layer, from the bottom up over what lies beneath."""
    height, width = picture.shape[:2]
    own = picture[rows].astype(np.float32)
    clear = transmitted([alpha[rows] for alpha in alphas], own.shape[:2])
    flat = np.where(thrice(clear[0]) > SEEN, own, part(layers[0].colour, rows, height, width))
    out[0][rows] = np.rint(flat)
    for number, layer in enumerate(layers[1:], 1):
        alpha = alphas[number - 1][rows] / np.float32(255)
        there = np.flatnonzero(alpha.any(0))
        out[number][rows] = 0
        if not len(there):
            continue
        some = np.s_[:, there[0] : there[-1] + 1]
        a = thrice(np.ascontiguousarray(alpha[some]))
        painted = part(layer.colour, rows, height, width)[some].astype(np.float32)
        solved = np.clip((own[some] - (1 - a) * flat[some]) / np.maximum(a, STEP), 0, 255)
        colour = np.rint(np.where(thrice(clear[number][some]) > SEEN, solved, painted)) * (a > 0)
        flat[some] = a * colour + (1 - a) * flat[some]
        out[number][rows][some] = np.dstack((colour, np.rint(a[..., 0] * 255)))


def transmitted(alphas: Sequence[UInt8[np.ndarray, "h w"]], shape: tuple[int, ...]) -> list[Plane]:
    """How much of every layer, the background first, the layers above let through."""
    clear = [np.ones(shape, np.float32)]
    for alpha in reversed(alphas):
        clear.insert(0, clear[0] * (1 - alpha / np.float32(255)))
    return clear
