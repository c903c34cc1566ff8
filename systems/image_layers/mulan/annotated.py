"""`provider: annotated`: the truth with errors of a set level, for a pipeline whose networks are not to be judged."""

# ruff: noqa: ARG002 - an interface hands over what some other provider reads

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int
from pydantic import Field

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.providers import Box, Mask, Picture
from systems.image_layers.mulan.scenes import Scene
from systems.parts.run import Strict

GRAIN = 8
"""Errors of masks and depth are alike over about so many pixels."""


class Noise(Strict):
    """How wrong annotations are; 0 everywhere is the truth."""

    box: float = Field(default=0.0, ge=0, lt=0.5, description="largest error of a box's sides, as a share of them")
    mask: float = Field(default=0.0, ge=0, description="standard deviation of where a mask ends, px")
    depth: float = Field(default=0.0, ge=0, description="standard deviation of a layer's depth, of 0..1")
    order: float = Field(default=0.0, ge=0, lt=0.5, description="probability that an answer about a pair is wrong")


@dataclass(frozen=True)
class Annotated:
    """Detector, segmenter, depth and order of one scene. Its errors depend on the scene and `seed` alone."""

    scene: Scene
    noise: Noise
    seed: int = 0

    def detect(self, image: Picture) -> list[Box]:
        """A box around what is visible of every instance."""
        return [self._box(layer) for layer in range(1, len(self.scene.layers))]

    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """The visible mask of the instance whose box is most alike, or with points all of it."""
        layer = self._layer(box)
        return self._rough(self.scene.visible[layer] if points is None else self.scene.amodal[layer], layer)

    def depth(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """The depth of the layer that is seen, one error a layer."""
        wrong = np.random.default_rng([self.seed, 1]).normal(0, self.noise.depth, len(self.scene.depth))
        depth: Float32[np.ndarray, "h w"] = (self.scene.depth + wrong).astype(np.float32)[self.scene.visible.argmax(0)]
        return depth

    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        """0 or 1: whether either is seen where the other would be; the masks are those of the likeliest instances."""
        i, j = (self._alike(mask) for mask in (first, second))
        rng = np.random.default_rng([self.seed, 2, min(i, j), max(i, j)])
        wrong = rng.random(2) < self.noise.order
        there, back = ((self.scene.visible[a] & self.scene.amodal[b]).any() for a, b in sorted(((i, j), (j, i))))
        answers = [float(answer ^ error) for answer, error in zip((there, back), wrong, strict=True)]
        return (answers[0], answers[1]) if i <= j else (answers[1], answers[0])

    def _box(self, layer: int) -> Box:
        left, top, right, bottom = self.scene.boxes[layer].tolist()
        rng = np.random.default_rng([self.seed, 0, layer])
        sides = np.array([right - left, bottom - top] * 2)
        off = np.rint(rng.uniform(-self.noise.box, self.noise.box, 4) * sides).astype(int).tolist()
        label = self.scene.labels[layer]
        return Box(left + off[0], top + off[1], right + off[2], bottom + off[3], 1.0, label)

    def _layer(self, box: Box) -> int:
        """The instance whose box differs least."""
        given = np.array([box.x0, box.y0, box.x1, box.y1])
        return 1 + int(np.abs(self.scene.boxes[1:] - given).sum(1).argmin())

    def _alike(self, mask: Mask) -> int:
        """The instance whose visible mask is most alike."""
        return 1 + int(np.argmax([masks.iou(mask, visible) for visible in self.scene.visible[1:]]))

    def _rough(self, mask: Mask, layer: int) -> Mask:
        """The mask with its edge moved in and out at random."""
        if self.noise.mask == 0:
            return mask
        rng = np.random.default_rng([self.seed, 3, layer])
        field = smooth_noise(rng, mask.shape) * self.noise.mask
        return signed_distance(mask) + field > 0


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "h w"]:
    """A field of standard deviation 1 that changes over some pixels."""
    coarse = rng.normal(size=tuple(length // GRAIN + 2 for length in shape)).astype(np.float32)
    field = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return field / max(float(field.std()), 1e-6)


def signed_distance(mask: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Pixels to the edge, positive inside."""
    within, beyond = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask))
    return within - beyond
