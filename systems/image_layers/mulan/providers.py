"""What MuLAn asks of the models it chains: one interface each, so that no stage knows which model answers.

Everything is plain numpy. Pictures are RGB, masks boolean, sizes those of the picture; a point is (x, y) in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

Picture = UInt8[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class Box:
    """A found instance: px from the left and top, the ends exclusive; `score` in 0..1."""

    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    label: str

    @property
    def area(self) -> int:
        """Pixels inside."""
        return max(0, self.x1 - self.x0) * max(0, self.y1 - self.y0)


class Detector(Protocol):
    """Finds instances."""

    def detect(self, image: Picture) -> list[Box]:
        """Boxes of everything that may be an instance, in any order; they may overlap."""


class Segmenter(Protocol):
    """Cuts an instance out."""

    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """Mask of the instance in `box`, on which `points` lie where given."""


class Depth(Protocol):
    """Sees how far away things are."""

    def depth(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """Depth of every pixel in any unit; larger is farther."""


class Order(Protocol):
    """Sees which of two instances hides the other."""

    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        """Probability that the first occludes the second, and that the second occludes the first; both may be high."""


class Inpainter(Protocol):
    """Fills in what cannot be seen."""

    def inpaint(self, image: Picture, region: Mask, caption: str) -> Picture:
        """The picture with new pixels in `region` and its own elsewhere."""


class Captioner(Protocol):
    """Names what it sees."""

    def caption(self, image: Picture, mask: Mask, label: str) -> str:
        """A short phrase for the instance in `mask`, which the detector calls `label`."""


class Matter(Protocol):
    """Makes a hard edge soft."""

    def alpha(self, image: Picture, mask: Mask) -> Float32[np.ndarray, "h w"]:
        """Alpha in 0..1 of an instance whose hard mask is given; read only in a narrow band around its edge."""


@dataclass(frozen=True)
class Providers:
    """One answer to every question of the pipeline."""

    detector: Detector
    segmenter: Segmenter
    depth: Depth
    order: Order
    inpainter: Inpainter
    captioner: Captioner
    matter: Matter
