"""Real pretrained weights that a package ships: U2-Net finds and cuts out what stands out in a photograph.

U2-Net, arXiv 2005.09007. It was trained on photographs of salient objects; it knows no boxes and no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float32, Int

from systems.image_layers.mulan.providers import Box, Mask, Picture
from systems.parts.errors import UserError

FILE = "u2net.onnx"
SIDE = 320
"""The network's own size, px."""
MEAN, DEVIATION = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
"""Those of ImageNet, by which its pictures were standardised."""
HALF = 0.5
LEAST = 0.002
"""Smaller pieces, as a share of the picture, are no instances."""


class Network(Protocol):
    """Anything that maps a standardised picture to where it stands out, 0..1."""

    def __call__(self, batch: Float32[np.ndarray, "1 3 s s"]) -> Float32[np.ndarray, "s s"]:
        """One picture."""


@lru_cache(1)
def u2net(path: Path) -> Network:
    """The network of a file, on one thread."""
    import onnxruntime

    if not path.is_file():
        raise UserError(f"weights {path}: no such file; run `python -m stages fetch matting`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, answer = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(batch: Float32[np.ndarray, "1 3 s s"]) -> Float32[np.ndarray, "s s"]:
        plane: Float32[np.ndarray, "s s"] = session.run([answer], {name: batch})[0][0, 0]
        return plane

    return run


@dataclass
class SalientProvider:
    """Detector, segmenter and matter: the pieces of what stands out. The last picture's answer is kept."""

    network: Network
    picture: Picture | None = None
    answer: Float32[np.ndarray, "h w"] | None = None

    @classmethod
    def load(cls, weights: Path) -> SalientProvider:
        """From the folder `data/sources/matting`."""
        return cls(u2net(weights / FILE))

    def saliency(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """How much every pixel stands out, 0..1 from the least to the most of the picture, as its authors have it."""
        if self.answer is None or self.picture is None or not np.array_equal(self.picture, image):
            small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
            batch = (small / max(float(small.max()), 1.0) - MEAN) / DEVIATION
            plane = self.network(np.ascontiguousarray(batch.transpose(2, 0, 1)[None], np.float32))
            spread = float(plane.max() - plane.min())
            plane = (plane - plane.min()) / spread if spread > 0 else np.zeros_like(plane)
            size = (image.shape[1], image.shape[0])
            self.picture, self.answer = image, cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR).clip(0, 1)
        return self.answer

    def detect(self, image: Picture) -> list[Box]:
        """A box around every connected piece."""
        saliency = self.saliency(image)
        numbers, stats = cv2.connectedComponentsWithStats((saliency > HALF).astype(np.uint8))[1:3]
        return [
            Box(left, top, left + width, top + height, float(saliency[numbers == number].mean()), "object")
            for number, (left, top, width, height, area) in enumerate(stats.tolist())
            if number and area >= LEAST * saliency.size
        ]

    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """What stands out in the box; with points, the pieces on which they lie, if they lie on any."""
        within = np.zeros(image.shape[:2], bool)
        within[max(0, box.y0) : box.y1, max(0, box.x0) : box.x1] = True
        mask = (self.saliency(image) > HALF) & within
        if points is None or not len(points):
            return mask
        numbers = cv2.connectedComponents(mask.astype(np.uint8))[1]
        meant = np.unique(numbers[points[:, 1], points[:, 0]])
        return np.isin(numbers, meant[meant > 0]) if meant.any() else mask

    def alpha(self, image: Picture, mask: Mask) -> Float32[np.ndarray, "h w"]:
        """Its soft answer where it agrees with the mask, a blurred mask where it does not."""
        saliency = self.saliency(image)
        agrees = (saliency > HALF) == mask
        near = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)
        return np.where(agrees, saliency, near).astype(np.float32)
