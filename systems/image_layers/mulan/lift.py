"""Layers found at a small size, brought to the full size of the picture.

The masks follow the picture's own edges (fast guided filter, He and Sun 2015, arXiv 1505.00996). Where a layer is seen
it has the picture's own pixels, or on its edge what mixes to them with the layers beneath; what is hidden is enlarged.
Every instance is worked on within its own rectangle, a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8

from systems.image_layers.mulan.providers import Picture
from systems.image_layers.mulan.scenes import box_of
from systems.image_layers.mulan.stack import Layer, Stack
from systems.image_layers.mulan.stacks import names_of
from systems.parts.layered_files import stack as layered
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


@dataclass(frozen=True)
class Place:
    """Rows and columns of a picture."""

    rows: slice
    columns: slice

    def shared(self, rows: slice) -> Place | None:
        """The part of it that lies in some rows of the picture."""
        first, end = max(self.rows.start, rows.start), min(self.rows.stop, rows.stop)
        return Place(slice(first, end), self.columns) if first < end else None

    def inside(self, rows: slice) -> tuple[slice, slice]:
        """Where it lies in a strip of those rows of the picture."""
        return slice(self.rows.start - rows.start, self.rows.stop - rows.start), self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Piece:
    """An instance at the picture's size: its place, and its pixels there, of which alpha is known first."""

    layer: Layer
    place: Place
    pixels: UInt8[np.ndarray, "h w 4"]

    def some(self, here: Place) -> UInt8[np.ndarray, "h w 4"]:
        """Its pixels at a part of its place, to read or write."""
        return self.pixels[here.rows.start - self.place.rows.start : here.rows.stop - self.place.rows.start]


def lifted(picture: Picture, stack: Stack) -> layered.Stack:
    """Every layer at the size of the picture, from the bottom up, instances cut to what there is of them."""
    height, width = picture.shape[:2]
    pieces = [fitted(picture, layer) for layer in stack.layers[1:]]
    background = np.full((height, width, 4), 255, np.uint8)
    for rows in strips(slice(0, height)):
        fill(picture, stack.layers[0], pieces, rows, background)
    names = names_of([layer.label for layer in stack.layers])
    found = [
        layered.trimmed(layered.Layer(name, piece.pixels, (piece.place.columns.start, piece.place.rows.start)))
        for name, piece in zip(names[1:], pieces, strict=True)
    ]
    return layered.Stack((width, height), (layered.Layer(names[0], background), *found))


def strips(rows: slice) -> Iterator[slice]:
    """The rows a few at a time."""
    return (slice(start, min(start + ROWS, rows.stop)) for start in range(rows.start, rows.stop, ROWS))


def fitted(picture: Picture, layer: Layer) -> Piece:
    """A layer whose alpha at the picture's size is moved to the edges of the picture; its colours are still black."""
    height, width = picture.shape[:2]
    scale = min(1.0, MIDDLE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = layer.pixels[..., 3] / np.float32(255)
    guide = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    middle = enlarged(small, size)
    slope, offset = guided(guide / np.float32(255), middle, 2 * max(1, round(size[0] / small.shape[1])) + 1)
    maybe = cv2.dilate(middle, NEXT) > 0
    sure = np.where(~maybe, -1, np.where(cv2.erode(middle, NEXT) >= 1, 1, 0)).astype(np.float32)
    place = around(box_of(maybe), size, (height, width))
    piece = Piece(layer, place, np.zeros((*place.shape, 4), np.uint8))
    for rows in strips(place.rows):
        here = Place(rows, place.columns)
        grey = cv2.cvtColor(picture[rows, place.columns], cv2.COLOR_RGB2GRAY) / np.float32(255)
        slopes, offsets, surely = (part(plane, here, (height, width)) for plane in (slope, offset, sure))
        alpha = np.clip((slopes * grey + offsets - 0.1) / 0.8, 0, 1)
        alpha = np.where(surely >= 1, 1, np.where(surely <= -1, 0, alpha))
        piece.some(here)[..., 3] = np.rint(alpha * 255)
    return piece


def around(box: Int[np.ndarray, " 4"], size: tuple[int, int], shape: tuple[int, int]) -> Place:
    """Where a box of a picture of (width, height) `size` and a pixel around it lie at another size; never empty."""
    height, width = shape
    left, top, right, bottom = box + np.array([-1, -1, 1, 1])
    rows = _stretched(top, bottom, height / size[1], height)
    return Place(rows, _stretched(left, right, width / size[0], width))


def _stretched(first: int, end: int, scale: float, length: int) -> slice:
    start = int(np.clip(np.floor(first * scale), 0, length - 1))
    return slice(start, int(np.clip(np.ceil(end * scale), start + 1, length)))


def guided(guide: Plane, target: Plane, width: int) -> tuple[Plane, Plane]:
    """Slope and offset by which the guide gives the target, smoothed over boxes `width` px wide."""
    size = (width, width)
    mean, wanted = cv2.blur(guide, size), cv2.blur(target, size)
    slope = (cv2.blur(guide * target, size) - mean * wanted) / (cv2.blur(guide * guide, size) - mean * mean + SMOOTH)
    return cv2.blur(slope, size), cv2.blur(wanted - slope * mean, size)


def enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By linear interpolation to (width, height)."""
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


def part(plane: np.ndarray, here: Place, shape: tuple[int, int]) -> np.ndarray:
    """A place of a plane that is enlarged to height and width, without enlarging the rest."""
    y, x = (
        (np.arange(some.start, some.stop, dtype=np.float32) + 0.5) * (own / length) - 0.5
        for some, own, length in zip((here.rows, here.columns), plane.shape, shape, strict=False)
    )
    columns, lines = np.meshgrid(x, y)
    return cv2.remap(plane, columns, lines, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def fill(
    picture: Picture,
    background: Layer,
    pieces: Sequence[Piece],
    rows: slice,
    out: UInt8[np.ndarray, "h w 4"],
) -> None:
    """Give some rows of every layer their colours, from the bottom up over what lies beneath; `out` is the lowest."""
    shape = picture.shape[:2]
    own = picture[rows].astype(np.float32)
    present = [(piece, here) for piece in pieces if (here := piece.place.shared(rows))]
    seen = transmitted(present, rows, own.shape[:2])
    whole = Place(rows, slice(0, shape[1]))
    flat = np.where(thrice(seen[0]) > SEEN, own, part(background.colour, whole, shape)) if present else own
    out[rows, :, :3] = np.rint(flat)
    for (piece, here), clear in zip(present, seen[1:], strict=True):
        inside, pixels = here.inside(rows), piece.some(here)
        a = thrice(pixels[..., 3] / np.float32(255))
        painted = part(piece.layer.colour, here, shape).astype(np.float32)
        solved = np.clip((own[inside] - (1 - a) * flat[inside]) / np.maximum(a, STEP), 0, 255)
        colour = np.rint(np.where(thrice(clear) > SEEN, solved, painted)) * (a > 0)
        flat[inside] = a * colour + (1 - a) * flat[inside]
        pixels[..., :3] = colour


def transmitted(present: Sequence[tuple[Piece, Place]], rows: slice, shape: tuple[int, int]) -> list[Plane]:
    """How much of the background, and of every piece at its place, the pieces above let through."""
    clear = np.ones(shape, np.float32)
    found = []
    for piece, here in reversed(present):
        inside = here.inside(rows)
        found.append(clear[inside].copy())
        clear[inside] *= 1 - piece.some(here)[..., 3] / np.float32(255)
    return [clear, *reversed(found)]
