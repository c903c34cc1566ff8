"""The small providers: our own networks where they learn in minutes, classical methods where these do."""

# ruff: noqa: ARG002 - an interface hands over what some other provider reads

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from pydantic import Field
from safetensors.torch import load_file
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from systems.image_layers.mulan.networks import DEPTH, MASK, OBJECT, Architecture, OrderNet, UNet
from systems.image_layers.mulan.providers import Box, Mask, Picture
from systems.image_layers.mulan.scenes import box_of
from systems.parts.errors import UserError
from systems.parts.run import Strict

HALF = 0.5
DOT = 1
"""A point is shown to the U-Net as a square of so many pixels on each side of it."""
MARGIN = 0.1
"""Share of their sides by which crops of two masks are wider than these."""
RADIUS = 3
"""Pixels around a hole that Telea's method looks at."""
FEATHER = 3
"""Width of the blur that softens an edge, px."""


class Saved(Strict):
    """model.json: everything but the weights."""

    system: str = "mulan"
    side: int = Field(gt=0, description="side of the scenes trained on, px")
    architecture: Architecture
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Networks:
    """Trained networks of one seed."""

    saved: Saved
    unet: UNet
    order: OrderNet


def read_saved(model: Path) -> Saved:
    """What model.json says; one line if there is none."""
    try:
        return Saved.model_validate(json.loads((model / "model.json").read_text()))
    except FileNotFoundError as error:
        raise UserError(f"model {model}: holds no model.json; run `python -m stages train mulan`") from error


@lru_cache(maxsize=4)
def load(model: Path, seed: int) -> Networks:
    """The networks of a seed, ready to answer."""
    saved = read_saved(model)
    if seed not in saved.seeds:
        raise UserError(f"seed = {seed}: {model} has networks of the seeds {', '.join(map(str, saved.seeds))}")
    unet, order = UNet(saved.architecture.widths), OrderNet(saved.architecture.order_widths)
    unet.load_state_dict(load_file(model / f"unet-{seed}.safetensors"))
    order.load_state_dict(load_file(model / f"order-{seed}.safetensors"))
    return Networks(saved, unet.eval(), order.eval())


def network_size(shape: tuple[int, ...], side: int, grain: int) -> tuple[int, int]:
    """Height and width at which a picture is shown to the U-Net: its longer side about `side`, multiples of `grain`."""
    longer = max(shape[:2])
    height, width = (max(1, round(length * side / longer / grain)) * grain for length in shape[:2])
    return height, width


def resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture or float plane at another size."""
    if plane.shape[:2] == (height, width):
        return plane
    shrinks = height * width < plane.shape[0] * plane.shape[1]
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def prompt_of(
    box: Int[np.ndarray, " 4"], points: Int[np.ndarray, "n 2"], height: int, width: int
) -> Float32[np.ndarray, "2 h w"]:
    """Channels of a prompt: the box filled, and a dot at each point."""
    prompt = np.zeros((2, height, width), np.float32)
    left, top, right, bottom = box
    prompt[0, max(0, top) : bottom, max(0, left) : right] = 1
    for x, y in points:
        prompt[1, max(0, y - DOT) : y + DOT + 1, max(0, x - DOT) : x + DOT + 1] = 1
    return prompt


@dataclass(frozen=True)
class UNetProvider:
    """Detector, segmenter and depth: what one network answers without a prompt, and with one."""

    networks: Networks

    def detect(self, image: Picture) -> list[Box]:
        """Connected pieces of what the network takes for the inside of instances."""
        inside = self._answer(image)[OBJECT]
        numbers, stats = cv2.connectedComponentsWithStats((inside > HALF).astype(np.uint8))[1:3]
        found = []
        for number, (left, top, width, height, _) in enumerate(stats.tolist()):
            if number:
                score = float(inside[numbers == number].mean())
                found.append(
                    Box(max(0, left - 1), max(0, top - 1), left + width + 1, top + height + 1, score, "object")
                )
        return found

    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """What the network sees in the box, and nothing beyond it."""
        answer = self._answer(image, box, points)[MASK]
        within = np.zeros(answer.shape, bool)
        within[max(0, box.y0) : box.y1, max(0, box.x0) : box.x1] = True
        mask: Mask = (answer > HALF) & within
        return mask

    def depth(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """0 (near) to 1 (far)."""
        depth: Float32[np.ndarray, "h w"] = self._answer(image)[DEPTH]
        return depth

    @torch.no_grad()
    def _answer(
        self, image: Picture, box: Box | None = None, points: Int[np.ndarray, "n 2"] | None = None
    ) -> Float32[np.ndarray, "3 h w"]:
        """All channels after a sigmoid, at the picture's own size."""
        saved = self.networks.saved
        height, width = network_size(image.shape, saved.side, saved.architecture.grain)
        scale = np.array([width / image.shape[1], height / image.shape[0]])
        corners = np.zeros(4, int) if box is None else scaled(np.array([[box.x0, box.y0], [box.x1, box.y1]]), scale)
        dots = np.zeros((0, 2), int) if points is None else scaled(points, scale)
        prompt = torch.from_numpy(prompt_of(corners.reshape(4), dots, height, width))
        answer = self.networks.unet(as_tensor(resized(image, height, width)), prompt[None])[0].sigmoid().numpy()
        return np.stack([resized(plane, *image.shape[:2]) for plane in answer])


def scaled(places: Int[np.ndarray, "n 2"], scale: Float[np.ndarray, " 2"]) -> Int[np.ndarray, "n 2"]:
    """Places (x, y) in a picture resized by `scale`."""
    moved: Int[np.ndarray, "n 2"] = np.rint(places * scale).astype(int)
    return moved


def as_tensor(image: Picture) -> Float[Tensor, "1 3 h w"]:
    """A batch of one picture in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)[None].float() / 255


@dataclass(frozen=True)
class PairOrder:
    """The comparison of two masks by our network."""

    networks: Networks

    @torch.no_grad()
    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        """Exchanging the masks exchanges the answers."""
        crop = torch.from_numpy(pair_crop(image, first, second, self.networks.saved.architecture.crop))
        there, back = self.networks.order.both_ways(crop[None].float() / 255)[0].sigmoid().tolist()
        return there, back


def pair_crop(image: Picture, first: Mask, second: Mask, side: int) -> np.ndarray:
    """The picture and both masks around these, channels first: uint8 [5, side, side], masks 0 or 255 and between."""
    left, top, right, bottom = box_of(first | second)
    across, down = round(MARGIN * (right - left)) + 1, round(MARGIN * (bottom - top)) + 1
    where = np.s_[max(0, top - down) : bottom + down, max(0, left - across) : right + across]
    both = np.stack((first[where], second[where]), axis=-1) * np.uint8(255)
    crop = np.concatenate((resized(image[where], side, side), resized(both, side, side)), axis=-1)
    return np.ascontiguousarray(np.moveaxis(crop, -1, 0))


class TeleaInpainter:
    """Fast marching from the rim of the hole inwards (Telea 2004); the caption is not read."""

    def inpaint(self, image: Picture, region: Mask, caption: str) -> Picture:
        """A picture that is all hole stays as it is."""
        if region.all() or not region.any():
            return image
        return cv2.inpaint(np.ascontiguousarray(image), region.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)


class BiharmonicInpainter:
    """The smoothest surface through the rim of the hole; the caption is not read. Slow on large holes."""

    def inpaint(self, image: Picture, region: Mask, caption: str) -> Picture:
        """A picture that is all hole stays as it is."""
        if region.all() or not region.any():
            return image
        filled = np.rint(255 * inpaint_biharmonic(image, region, channel_axis=-1)).clip(0, 255).astype(np.uint8)
        return np.where(region[..., None], filled, image)


class ClassCaptioner:
    """The name of the class, with its article."""

    def caption(self, image: Picture, mask: Mask, label: str) -> str:
        """As "a dog"; a label that has an article, or is none, stays as it is."""
        if not label or label.split()[0] in {"a", "an", "the", "background"}:
            return label
        return f"an {label}" if label[0].lower() in "aeiou" else f"a {label}"


class FeatherMatter:
    """A mask blurred a little."""

    def alpha(self, image: Picture, mask: Mask) -> Float32[np.ndarray, "h w"]:
        """0.5 on the edge."""
        return cv2.GaussianBlur(mask.astype(np.float32), (FEATHER, FEATHER), 0)
