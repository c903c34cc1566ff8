"""A scene drawn by rule, and providers that know it: what the pipeline does with right answers is exact."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from systems.image_layers.mulan.masks import iou
from systems.image_layers.mulan.providers import Box, Mask, Picture, Providers
from systems.image_layers.mulan.scenes import Scene, flatten, seen

SIDE = 64


def disc(x: float, y: float, radius: float, soft: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.clip((radius - np.hypot(columns - x, rows - y)) / max(soft, 1e-6) + 0.5, 0, 1)


def scene(seed: int, mutual: bool = False, soft: float = 2.0, count: int = 3) -> Scene:
    """Discs of one colour each with soft edges in a row, each before the last; in a mutual pair both hide the other."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((count + 1, SIDE, SIDE, 4), np.uint8)
    layers[0] = 255
    layers[0, ..., :3] = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (SIDE, SIDE))
    for number in range(1, count + 1):
        alpha = disc(10 + 11 * number + rng.uniform(-1, 1), 32 + rng.uniform(-3, 3), 10, soft)
        layers[number, ..., :3] = rng.integers(0, 256, 3) * (alpha > 0)[..., None]
        layers[number, ..., 3] = np.rint(alpha * 255)
    switched = np.zeros(layers.shape[:3], bool)
    if mutual:
        both = (layers[1, ..., 3] == 255) & (layers[2, ..., 3] >= 128)
        middle = np.flatnonzero(both.any(1)).mean()
        switched[2] = both & (np.arange(SIDE) < middle - 1)[:, None]
    depth = np.linspace(1, 0, count + 1).astype(np.float32)
    labels = ("background", *(f"disc {number}" for number in range(1, count + 1)))
    pairs = ((1, 2),) if mutual else ()
    image = flatten(layers, switched)
    return Scene(f"made-{seed}", image, layers, seen(layers, switched), switched, depth, labels, pairs)


@dataclass(frozen=True)
class Knowing:
    """Every provider at once, with the scene's own answers; only the inpainter has to guess."""

    scene: Scene

    def detect(self, image: Picture) -> list[Box]:
        corners = self.scene.boxes.tolist()
        return [
            Box(*corners[number], 0.99 - 0.01 * number, self.scene.labels[number])
            for number in range(1, len(self.scene.layers))
        ]

    def segment(self, image: Picture, box: Box, points: np.ndarray | None) -> Mask:
        number = self.scene.labels.index(box.label)
        return self.scene.visible[number] if points is None else self.scene.amodal[number]

    def depth(self, image: Picture) -> np.ndarray:
        return self.scene.depth[self.scene.visible.argmax(0)]

    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        a, b = (self.number_of(mask) for mask in (first, second))
        if (min(a, b), max(a, b)) in self.scene.mutual:
            return 0.9, 0.9
        hides = bool((self.scene.amodal[a] & self.scene.amodal[b]).any())
        return 0.9 * hides * (a > b) + 0.05, 0.9 * hides * (b > a) + 0.05

    def number_of(self, mask: Mask) -> int:
        return int(np.argmax([iou(mask, other) for other in self.scene.visible]))

    def inpaint(self, image: Picture, region: Mask, caption: str) -> Picture:
        return cv2.inpaint(image, region.astype(np.uint8), 3, cv2.INPAINT_TELEA)

    def caption(self, image: Picture, mask: Mask, label: str) -> str:
        return f"a {label}"

    def alpha(self, image: Picture, mask: Mask) -> np.ndarray:
        number = int(np.argmax([iou(mask, other) for other in self.scene.amodal]))
        return self.scene.layers[number, ..., 3] / np.float32(255)


def knowing(of: Scene) -> Providers:
    answers = Knowing(of)
    return Providers(*([answers] * 7))
