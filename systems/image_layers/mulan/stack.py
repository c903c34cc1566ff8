"""A picture taken apart: layers from the bottom up that lie over each other to the picture again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from systems.image_layers.mulan.providers import Box, Mask, Picture
from systems.image_layers.mulan.scenes import flatten
from systems.parts.pictures import rgba

Alpha = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Layer:
    """One layer. Its `colour` (straight, black where alpha is zero) is the picture's own exactly where `original` is.

    `visible` is where the picture shows it, `whole` all of it, hidden parts included; `switched` is where its alpha
    counts as zero, because something that lies beneath shows there. The background has no box and alpha 255.
    """

    label: str
    colour: Picture
    alpha: Alpha
    original: Mask
    visible: Mask
    whole: Mask
    switched: Mask
    depth: float
    box: Box | None = None
    caption: str = ""

    @property
    def pixels(self) -> UInt8[np.ndarray, "h w 4"]:
        """RGBA with occlusion-altered alpha."""
        return rgba(self.colour, self.alpha * ~self.switched)


@dataclass(frozen=True)
class Pair:
    """Two layers that touch, by number, and the probability that each occludes the other."""

    first: int
    second: int
    there: float
    back: float


@dataclass(frozen=True)
class Stack:
    """Layers from the bottom up, layer 0 the background. `mutual` pairs are (lower, upper)."""

    layers: Sequence[Layer]
    pairs: Sequence[Pair] = ()
    mutual: Sequence[tuple[int, int]] = ()
    caption: str = ""

    def pixels(self) -> UInt8[np.ndarray, "n h w 4"]:
        """RGBA of every layer."""
        return np.stack([layer.pixels for layer in self.layers])

    def flat(self) -> Picture:
        """The layers over each other."""
        return flatten(self.pixels())
