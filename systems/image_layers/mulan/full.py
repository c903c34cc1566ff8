"""The providers of the full scale: the published classes of transformers and diffusers, from local folders.

`weights` holds a folder a model, as `save_pretrained` or a hub snapshot leaves it: grounding-dino, sam, dpt,
sdxl-inpainting, blip2, llava, clip; and `concepts.txt`, a name a line, for the detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import DPTForDepthEstimation, GroundingDinoForObjectDetection, SamModel

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.describing import Describer, device, read, read_tokenizer
from systems.image_layers.mulan.painting import DiffusionInpainter
from systems.image_layers.mulan.providers import Box, Depth, Mask, Picture, Providers
from systems.image_layers.mulan.small import FeatherMatter
from systems.parts.errors import UserError

FOLDERS = ("grounding-dino", "sam", "dpt", "sdxl-inpainting", "blip2", "llava", "clip")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
CONCEPTS = ("person", "animal", "bird", "vehicle", "furniture", "plant", "food", "tool", "bottle", "toy", "clothing")
"""What is looked for where no `concepts.txt` says more."""
AT_ONCE = 40
"""Concepts of one question: the detector reads at most 256 tokens."""
BOX_SCORE, WORD_SCORE = 0.3, 0.25
SHORT, LONG = 800, 1333
"""Sides of a picture as the detector was trained, px."""
NEAR = 4
"""Pixels on either side of where two masks meet at which their depth is compared."""
STEEP = 12.0
"""How fast a difference of depth, as a share of the picture's range, becomes certainty."""


@lru_cache(1)
def full(weights: Path) -> Providers:
    """All of them; one line if a folder is missing."""
    for name in FOLDERS:
        if not (weights / name).is_dir():
            raise UserError(f"weights {weights}: no folder {name}; wanted are {', '.join(FOLDERS)}")
    depth = DptDepth.load(weights / "dpt")
    return Providers(
        detector=GroundingDino.load(weights / "grounding-dino", concepts(weights)),
        segmenter=Sam.load(weights / "sam"),
        depth=depth,
        order=ContactOrder(depth),
        inpainter=DiffusionInpainter.load(weights / "sdxl-inpainting"),
        captioner=Describer.load(weights),
        matter=FeatherMatter(),
    )


def concepts(weights: Path) -> tuple[str, ...]:
    """What the detector looks for."""
    path = weights / "concepts.txt"
    return tuple(path.read_text().splitlines()) if path.is_file() else CONCEPTS


def standardised(
    image: Picture, height: int, width: int, mean: Sequence[float] = MEAN, deviation: Sequence[float] = DEVIATION
) -> Float[Tensor, "1 3 h w"]:
    """A picture at the size and in the colours that a network was trained with."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    plain = (small.astype(np.float32) / 255 - np.array(mean, np.float32)) / np.array(deviation, np.float32)
    return torch.from_numpy(np.ascontiguousarray(plain.transpose(2, 0, 1)))[None].to(device())


@dataclass(frozen=True)
class GroundingDino:
    """Open-vocabulary boxes (IDEA-Research/grounding-dino-base in the place of detCLIPv2)."""

    model: Any
    tokenizer: Any
    concepts: Sequence[str]

    @classmethod
    def load(cls, folder: Path, concepts: Sequence[str] = CONCEPTS) -> GroundingDino:
        """From a folder."""
        return cls(read(GroundingDinoForObjectDetection, folder), read_tokenizer(folder), concepts)

    def detect(self, image: Picture) -> list[Box]:
        """Boxes of every concept."""
        scale = min(SHORT / min(image.shape[:2]), LONG / max(image.shape[:2]))
        pixels = standardised(image, *(round(length * scale) for length in image.shape[:2]))
        asked = (self.concepts[first : first + AT_ONCE] for first in range(0, len(self.concepts), AT_ONCE))
        return [box for some in asked for box in self._ask(pixels, some, image.shape)]

    @torch.no_grad()
    def _ask(self, pixels: Tensor, asked: Sequence[str], shape: tuple[int, ...]) -> Iterator[Box]:
        words = self.tokenizer(". ".join(asked) + ".", return_tensors="pt").to(pixels.device)
        answer = self.model(pixel_values=pixels, **words)
        chances = answer.logits[0].sigmoid()
        for chance, place in zip(chances, answer.pred_boxes[0], strict=True):
            score = float(chance.max())
            if score > BOX_SCORE:
                tokens = words["input_ids"][0][chance[: words["input_ids"].shape[1]] > WORD_SCORE]
                label = self.tokenizer.decode(tokens, skip_special_tokens=True).strip(" .")
                yield as_box(place.tolist(), shape, score, label or "object")


def as_box(place: Sequence[float], shape: tuple[int, ...], score: float, label: str) -> Box:
    """A box given by its middle and size as shares of the picture's."""
    x, y, width, height = place
    left, right = ((x - width / 2) * shape[1], (x + width / 2) * shape[1])
    top, bottom = ((y - height / 2) * shape[0], (y + height / 2) * shape[0])
    return Box(
        max(0, round(left)), max(0, round(top)), min(shape[1], round(right)), min(shape[0], round(bottom)), score, label
    )


@dataclass(frozen=True)
class Sam:
    """Masks of what is in a box and at points (facebook/sam-vit-huge)."""

    model: Any

    @classmethod
    def load(cls, folder: Path) -> Sam:
        """From a folder."""
        return cls(read(SamModel, folder))

    @torch.no_grad()
    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """The surest mask."""
        side = int(self.model.config.vision_config.image_size)
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        pixels = torch.zeros(1, 3, side, side, device=device())
        pixels[..., :height, :width] = standardised(image, height, width)
        corners = torch.tensor([[[box.x0, box.y0, box.x1, box.y1]]], dtype=torch.float32, device=device()) * scale
        prompt: dict[str, Tensor] = {"input_boxes": corners}
        if points is not None and len(points):
            prompt["input_points"] = torch.tensor(points[None, None] * scale, dtype=torch.float32, device=device())
            prompt["input_labels"] = torch.ones(1, 1, len(points), dtype=torch.long, device=device())
        answer = self.model(pixel_values=pixels, multimask_output=False, **prompt).pred_masks[0, 0]
        whole = interpolate(answer[None], (side, side), mode="bilinear")[..., :height, :width]
        mask: Mask = (interpolate(whole, image.shape[:2], mode="bilinear")[0, 0] > 0).cpu().numpy()
        return mask


@dataclass(frozen=True)
class DptDepth:
    """Depth of a picture (Intel/dpt-large, MiDaS 3), which answers with nearness; larger is farther here."""

    model: Any

    @classmethod
    def load(cls, folder: Path) -> DptDepth:
        """From a folder."""
        return cls(read(DPTForDepthEstimation, folder))

    @torch.no_grad()
    def depth(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """No unit."""
        side = int(self.model.config.image_size)
        nearness = self.model(pixel_values=standardised(image, side, side, HALF, HALF)).predicted_depth
        plane = interpolate(nearness[:, None], image.shape[:2], mode="bicubic")[0, 0]
        depth: Float32[np.ndarray, "h w"] = -plane.float().cpu().numpy()
        return depth


@dataclass(frozen=True)
class ContactOrder:
    """Which of two masks is nearer where they meet, for want of published weights of InstaOrder."""

    estimator: Depth

    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        """The nearer one there occludes the other; the probabilities add up to one."""
        depth = self.estimator.depth(image)
        sides = [mask & masks.dilate(other, NEAR) for mask, other in ((first, second), (second, first))]
        if not all(side.any() for side in sides):
            sides = [first, second]
        spread = float(depth.max() - depth.min()) or 1.0
        farther = float(np.median(depth[sides[1]]) - np.median(depth[sides[0]])) / spread
        there = float(1 / (1 + np.exp(-STEEP * farther)))
        return there, 1 - there
