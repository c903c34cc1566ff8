"""The small providers: our own networks where they learn in minutes, classical methods where these do."""

# ruff: noqa: ARG002 - an interface hands over what some other provider reads

from __future__ import annotations

import json
from dataclasses import dataclass, field
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

from systems.image_layers.mulan.examples import inside, placed
from systems.image_layers.mulan.eye import Eye
from systems.image_layers.mulan.facts import facts_of
from systems.image_layers.mulan.networks import DEPTH, OBJECT, Architecture, OrderNet, SceneNet, Segmenter
from systems.image_layers.mulan.providers import Box, Mask, Picture
from systems.image_layers.mulan.views import View, looked_at, resized
from systems.parts.errors import UserError
from systems.parts.run import Strict

HALF = 0.5
KEPT = 2
"""Pictures whose views are kept: that which is taken apart, and that in which something is completed."""
RADIUS = 3
"""Pixels around a hole that Telea's method looks at."""
FEATHER = 3
"""Width of the blur that softens an edge, px."""
EYE = "eye.safetensors"


class Saved(Strict):
    """model.json: everything but the weights."""

    system: str = "mulan"
    side: int = Field(gt=0, description="side of the scenes trained on, px")
    architecture: Architecture
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Networks:
    """Trained networks of one seed, the eye before them, and the last pictures it looked at."""

    saved: Saved
    eye: Eye
    segmenter: Segmenter
    scene: SceneNet
    order: OrderNet
    views: list[tuple[Picture, View, Tensor]] = field(default_factory=list)

    @torch.no_grad()
    def look(self, image: Picture) -> tuple[View, Float[Tensor, "1 2 h w"]]:
        """A picture as the networks take it in, and what is seen of all of it, in 0..1."""
        for known, view, seen in self.views:
            if np.array_equal(known, image):
                return view, seen
        architecture = self.saved.architecture
        view = looked_at([image], self.eye, self.saved.side, architecture.sharpness, architecture.grain)
        seen = self.scene(*self.scene.shown(view)).sigmoid()
        self.views[:] = [(image, view, seen), *self.views[: KEPT - 1]]
        return view, seen


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
    architecture = saved.architecture
    segmenter, scene, order = Segmenter(architecture), SceneNet(architecture), OrderNet(architecture)
    for name, network in (("segment", segmenter), ("scene", scene), ("order", order)):
        network.load_state_dict(load_file(model / f"{name}-{seed}.safetensors"))
        network.eval()
    return Networks(saved, Eye.read(model / EYE), segmenter, scene, order)


@dataclass(frozen=True)
class UNetProvider:
    """Detector, segmenter and depth: what two U-Nets see of whole pictures, and of what is boxed in them."""

    networks: Networks

    def detect(self, image: Picture) -> list[Box]:
        """Connected pieces of what the network takes for the inside of instances."""
        inner = self._seen(image, OBJECT)
        numbers, stats = cv2.connectedComponentsWithStats((inner > HALF).astype(np.uint8))[1:3]
        found = []
        for number, (left, top, width, height, _) in enumerate(stats.tolist()):
            if number:
                score = float(inner[numbers == number].mean())
                found.append(
                    Box(max(0, left - 1), max(0, top - 1), left + width + 1, top + height + 1, score, "object")
                )
        return found

    @torch.no_grad()
    def segment(self, image: Picture, box: Box, points: Int[np.ndarray, "n 2"] | None) -> Mask:
        """What the network sees in the box, and nothing beyond it."""
        (view, _), (height, width) = self.networks.look(image), image.shape[:2]
        scale = torch.tensor([view.size[1] / width, view.size[0] / height])
        corners = np.array([box.x0, box.y0, box.x1, box.y1])
        dots = torch.from_numpy(placed(np.zeros((0, 2), int) if points is None else points))
        boxes = torch.from_numpy(np.float32(corners))[None] * scale.repeat(2)
        logits = self.networks.segmenter.masks(view, boxes, dots[None] * scale, (height, width))[0]
        mask: Mask = (logits > 0).numpy() & inside(corners, image.shape)
        return mask

    def depth(self, image: Picture) -> Float32[np.ndarray, "h w"]:
        """0 (near) to 1 (far)."""
        return self._seen(image, DEPTH)

    def _seen(self, image: Picture, channel: int) -> Float32[np.ndarray, "h w"]:
        """One channel at the picture's own size."""
        return resized(self.networks.look(image)[1][0, channel].numpy(), *image.shape[:2])


@dataclass(frozen=True)
class PairOrder:
    """The comparison of two masks by our network."""

    networks: Networks

    @torch.no_grad()
    def occludes(self, image: Picture, first: Mask, second: Mask) -> tuple[float, float]:
        """Exchanging the masks exchanges the answers."""
        depth = UNetProvider(self.networks).depth(image)
        facts = torch.from_numpy(facts_of(first, second, depth))[None]
        there, back = self.networks.order.both_ways(facts)[0].sigmoid().tolist()
        return there, back


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
