"""A stack of layers and the picture it makes.

Blends are those of `systems.parts.blend` that layered files know, written for premultiplied colours as in the W3C's
Compositing and Blending; on an opaque ground both are the same. `additive` is the operator plus, or lighter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from systems.parts.errors import UserError

Part = Float[np.ndarray, "h w c"]
BAND = 1 << 20
"""Pixels that are flattened at once, so that large pictures take little memory."""
LONGEST = 120
"""Characters of a layer's name."""
MOST = 30000
"""Pixels a side, and away from the picture's corner: as far as a PSD reaches."""
NOT_IN_NAMES = {"Cc", "Cs", "Cn", "Zl", "Zp"}
"""Kinds of characters that no XML holds or that break a line."""


def over(upper: Part, cover: Part, lower: Part, _: Part) -> Part:
    """The layer hides what lies below."""
    mixed: Part = upper + lower * (1 - cover)
    return mixed


def screen(upper: Part, _: Part, lower: Part, __: Part) -> Part:
    """Both shine: 1 - (1 - upper)(1 - lower)."""
    mixed: Part = upper + lower - upper * lower
    return mixed


def multiply(upper: Part, cover: Part, lower: Part, ground: Part) -> Part:
    """The layer filters what lies below, and is seen as it is where nothing lies below."""
    mixed: Part = upper * lower + upper * (1 - ground) + lower * (1 - cover)
    return mixed


def additive(upper: Part, _: Part, lower: Part, __: Part) -> Part:
    """Light is added up to white."""
    mixed: Part = np.minimum(upper + lower, 1)
    return mixed


BLENDS: Mapping[str, Callable[[Part, Part, Part, Part], Part]] = {
    "over": over,
    "screen": screen,
    "multiply": multiply,
    "additive": additive,
}
"""Of colours times alpha of the layer, its alpha, colours times alpha of what lies below, and the alpha of that."""


@dataclass(frozen=True)
class Layer:
    """One layer: straight-alpha pixels, the place (x, y) of their upper left corner in the picture, opacity 0..1."""

    name: str
    rgba: UInt8[np.ndarray, "h w 4"]
    offset: tuple[int, int] = (0, 0)
    opacity: float = 1.0
    blend: str = "over"
    visible: bool = True

    def __post_init__(self) -> None:
        shape = self.rgba.shape
        if self.rgba.dtype != np.uint8 or len(shape) != 3 or shape[2] != 4 or not 0 < min(shape) <= max(shape) <= MOST:
            raise UserError(f"layer {self.name!r}: {self.rgba.dtype} {shape}; uint8 (h, w, 4), sides 1..{MOST} px")
        if not 0 < len(self.name) <= LONGEST or any(unicodedata.category(c) in NOT_IN_NAMES for c in self.name):
            raise UserError(f"layer {self.name!r}: a name of 1 to {LONGEST} printable characters is wanted")
        if not 0 <= self.opacity <= 1:
            raise UserError(f"layer {self.name!r}: opacity {self.opacity}; 0..1 is wanted")
        if self.blend not in BLENDS:
            raise UserError(f"layer {self.name!r}: blend {self.blend!r}; one of {', '.join(BLENDS)} is wanted")
        if max(map(abs, self.offset)) > MOST:
            raise UserError(f"layer {self.name!r}: offset {self.offset}; at most {MOST} px are wanted")


@dataclass(frozen=True)
class Stack:
    """Layers from the bottom to the top in a picture of `size` (width, height) px; they may reach beyond it."""

    size: tuple[int, int]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not 0 < min(self.size) <= max(self.size) <= MOST:
            raise UserError(f"stack of {self.size[0]} x {self.size[1]} px: sides of 1..{MOST} px are wanted")
        if not self.layers:
            raise UserError("stack without layers: at least one is wanted")


def of_pictures(pictures: Mapping[str, UInt8[np.ndarray, "h w c"]]) -> Stack:
    """RGB or RGBA pictures of one size by their names, from the bottom, but `background` lies below all."""
    names = sorted(pictures, key=lambda name: name != "background")
    layers = tuple(Layer(name, with_alpha(pictures[name])) for name in names)
    return Stack((layers[0].rgba.shape[1], layers[0].rgba.shape[0]), layers)


def with_alpha(picture: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 4"]:
    """RGBA as it is, RGB made opaque."""
    if picture.shape[2] == 4:
        return picture
    return np.dstack((picture, np.full(picture.shape[:2], 255, np.uint8)))


def trimmed(layer: Layer) -> Layer:
    """The layer without the empty rows and columns around it; of an empty one, one pixel."""
    seen = layer.rgba[..., 3] > 0
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return replace(layer, rgba=layer.rgba[:1, :1])
    top, left = int(rows[0]), int(columns[0])
    offset = layer.offset[0] + left, layer.offset[1] + top
    return replace(layer, rgba=layer.rgba[top : rows[-1] + 1, left : columns[-1] + 1], offset=offset)


def flatten(stack: Stack) -> UInt8[np.ndarray, "h w 4"]:
    """The picture that the visible layers make: straight alpha, black where nothing is."""
    width, height = stack.size
    step = max(1, BAND // width)
    picture = np.empty((height, width, 4), np.uint8)
    for top in range(0, height, step):
        picture[top : top + step] = straight(_band(stack.layers, top, min(step, height - top), width))
    return picture


def straight(flat: Float[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 4"]:
    """Premultiplied 0..1 to straight 0..255."""
    alpha = np.rint(flat[..., 3:] * 255)
    colour = flat[..., :3] / np.maximum(flat[..., 3:], 1e-6) * (alpha > 0)
    return np.concatenate((np.rint(colour.clip(0, 1) * 255), alpha), axis=2).astype(np.uint8)


def _band(layers: Sequence[Layer], top: int, height: int, width: int) -> Float[np.ndarray, "h w 4"]:
    """Rows `top`.. of the flattened picture, premultiplied."""
    flat = np.zeros((height, width, 4), np.float32)
    for layer in layers:
        x, y = layer.offset[0], layer.offset[1] - top
        first_row, first_column = max(y, 0), max(x, 0)
        ground = flat[first_row : max(y + layer.rgba.shape[0], 0), first_column : max(x + layer.rgba.shape[1], 0)]
        if layer.visible and ground.size:
            inner = layer.rgba[first_row - y :, first_column - x :][: ground.shape[0], : ground.shape[1]]
            ground[:] = composed(inner, layer.opacity, layer.blend, ground)
    return flat


def composed(
    rgba: UInt8[np.ndarray, "h w 4"], opacity: float, blend: str, ground: Float[np.ndarray, "h w 4"]
) -> Float[np.ndarray, "h w 4"]:
    """A layer upon a premultiplied ground of its size, premultiplied."""
    source = rgba * np.float32(1 / 255)
    source[..., 3] *= opacity
    source[..., :3] *= source[..., 3:]
    cover, below = source[..., 3:], ground[..., 3:]
    alpha = (additive if blend == "additive" else over)(cover, cover, below, below)
    return np.concatenate((BLENDS[blend](source[..., :3], cover, ground[..., :3], below), alpha), axis=2)
