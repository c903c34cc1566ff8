"""What the small networks learn from, made of scenes with known layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from systems.image_layers.mulan import masks, placing
from systems.image_layers.mulan.facts import facts_of
from systems.image_layers.mulan.providers import Box, Inpainter, Mask, Picture
from systems.image_layers.mulan.scenes import Scene, flatten, seen
from systems.image_layers.mulan.views import Rectangles

REACH = 2
"""Pixels by which masks are dilated where they are asked to touch, and holes where they are painted over."""
HIDDEN = 0.001
"""Least share of the picture that one instance hides of another, or it does not count."""
JITTER = 0.08
"""Largest error of a box's sides, as a share of them."""
GROWTH, POINTS = 0.1, 4
"""Share of its sides by which a box grows where what is hidden is looked for, and how many points go with it."""
AWAY = -1e4
"""Where points lie that there are not."""


@dataclass(frozen=True)
class Cuts:
    """Masks to be found: in which picture, from which box and points."""

    pictures: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    points: Float[Tensor, "n p 2"]
    masks: Bool[Tensor, "n h w"]


def shaken(boxes: Rectangles, generator: torch.Generator) -> Rectangles:
    """Boxes whose sides are a little wrong, not empty."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + sides * (2 * torch.rand(boxes.shape, generator=generator) - 1) * JITTER


def cuts_of(scenes: Sequence[Scene], inpainter: Inpainter) -> tuple[Cuts, list[Picture]]:
    """The visible mask of every instance in its scene, and the whole of one that is hidden in part, once uncovered.

    The first pictures are the scenes; those with something uncovered come with the cuts, and are numbered after them.
    """
    more: list[Picture] = []
    found: list[tuple[int, Int[np.ndarray, " 4"], Int[np.ndarray, "p 2"], Mask]] = []
    for number, scene in enumerate(scenes):
        for layer in range(1, len(scene.layers)):
            visible = scene.visible[layer]
            found.append((number, scene.boxes[layer], masks.pick(visible, 0), visible))
            if (again := uncovered(scene, layer, inpainter)) is not None:
                box = grown(scene.boxes[layer], scene.image.shape)
                whole = scene.amodal[layer] & inside(box, again.shape)
                found.append((len(scenes) + len(more), box, masks.pick(visible, POINTS), whole))
                more.append(again)
    pictures, boxes, points, wanted = zip(*found, strict=True)
    stacked = np.stack([placed(each) for each in points])
    cuts = Cuts(*map(torch.from_numpy, (np.array(pictures), np.float32(boxes), stacked, np.stack(wanted))))
    return cuts, more


def placed(points: Int[np.ndarray, "p 2"]) -> Float[np.ndarray, "q 2"]:
    """The middles of the pixels that are pointed at, `POINTS` of them; those that there are not lie far away."""
    out = np.full((POINTS, 2), AWAY, np.float32)
    out[: len(points)] = points[:POINTS] + 0.5
    return out


def grown(box: Int[np.ndarray, " 4"], shape: tuple[int, ...]) -> Int[np.ndarray, " 4"]:
    """A box, larger on every side, but inside the picture."""
    left, top, right, bottom = box.tolist()
    across, down = round(GROWTH * (right - left)), round(GROWTH * (bottom - top))
    return np.array(
        [max(0, left - across), max(0, top - down), min(shape[1], right + across), min(shape[0], bottom + down)]
    )


def inside(box: Int[np.ndarray, " 4"], shape: tuple[int, ...]) -> Mask:
    """The pixels of a box as a mask."""
    left, top, right, bottom = box
    mask = np.zeros(shape[:2], bool)
    mask[max(0, top) : bottom, max(0, left) : right] = True
    return mask


def as_box(corners: Int[np.ndarray, " 4"], label: str = "") -> Box:
    """Left, top, right, bottom as the providers know them."""
    left, top, right, bottom = corners.tolist()
    return Box(left, top, right, bottom, 1.0, label)


@dataclass(frozen=True)
class Maps:
    """Of whole scenes: the depth that is seen, and where things are."""

    depth: Float[Tensor, "s h w"]
    objects: Bool[Tensor, "s h w"]


def maps_of(scenes: Sequence[Scene]) -> Maps:
    """Of every scene."""
    return Maps(
        torch.from_numpy(np.stack([(scene.visible * scene.depth[:, None, None]).sum(0) for scene in scenes])).float(),
        torch.from_numpy(np.stack([insides(scene) for scene in scenes])),
    )


def insides(scene: Scene) -> Mask:
    """Visible pixels of instances that have only their own kind around them: so that neighbours fall apart."""
    solid = [cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for mask in scene.visible[1:]]
    return masks.union(solid, scene.image.shape[:2])


def uncovered(scene: Scene, layer: int, inpainter: Inpainter) -> Picture | None:
    """A layer over what is farther away, painted over where something may hide it; None if nothing touches it."""
    visible = scene.visible
    touching = [
        other
        for other in range(1, len(visible))
        if other != layer and masks.touching(visible[other], visible[layer], REACH) and nearer(scene, other, layer)
    ]
    box = inside(grown(scene.boxes[layer], scene.image.shape), scene.image.shape)
    hidden = masks.union((visible[other] for other in touching), scene.image.shape[:2]) & box
    if not hidden.any():
        return None
    context = np.where(visible[layer][..., None], scene.image, flatten(scene.layers[:layer]))
    return inpainter.inpaint(context, masks.dilate(hidden, REACH) & box, scene.labels[layer])


def nearer(scene: Scene, other: int, layer: int) -> bool:
    """Whether one layer hides, or may hide, a part of another."""
    return other > layer or (other, layer) in scene.mutual


@dataclass(frozen=True)
class Pairs:
    """Facts about two masks that touch, and whether the first occludes the second, and the second the first."""

    facts: Float[Tensor, "n 2 f"]
    occludes: Float[Tensor, "n 2"]


Seen = Mapping[int, Mask]
"""Masks of the layers of a scene, as far as these were found."""


def known(scene: Scene) -> Seen:
    """What is truly visible of all instances."""
    return dict(enumerate(scene.visible[1:], 1))


def pairs_of(scenes: Sequence[Scene], found: Sequence[Seen], depths: Sequence[Float32[np.ndarray, "h w"]]) -> Pairs:
    """Every pair of instances whose masks touch, as they were found in the scenes, of which such depths are seen.

    Of scenes with a crossing made anew only what hides each other is new.
    """
    pairs = [
        (facts_of(both[0], both[1], depth), occludes)
        for scene, seen_there, depth in zip(scenes, found, depths, strict=True)
        for both, occludes in scene_pairs(scene, seen_there)
        if all(occludes) or not scene.id.endswith(CROSSED)
    ]
    return Pairs(
        torch.from_numpy(np.stack([facts for facts, _ in pairs])),
        torch.tensor([occludes for _, occludes in pairs], dtype=torch.float32),
    )


def scene_pairs(scene: Scene, found: Seen) -> Iterator[tuple[Bool[np.ndarray, "2 h w"], tuple[bool, bool]]]:
    """Masks that touch, and the truth about them."""
    hides = occlusions(scene)
    for first, second in combinations(found, 2):
        if masks.touching(found[first], found[second], REACH):
            yield np.stack((found[first], found[second])), (bool(hides[first, second]), bool(hides[second, first]))


CROSSED = "-crossed"


def with_crossings(scenes: Sequence[Scene], share: float, seed: int = 0) -> list[Scene]:
    """A share of the scenes with another mutual occlusion in the place of their own, where their layers allow one."""
    out = []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng([seed, number])
        if rng.random() < share and (crossed := with_crossing(scene, rng)).mutual:
            out.append(crossed)
    return out


def with_crossing(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with another mutual occlusion in the place of its own, if its layers allow one."""
    switched, pairs = placing.cross(scene.layers, rng)
    return replace(
        scene,
        id=scene.id + CROSSED,
        image=flatten(scene.layers, switched),
        visible=seen(scene.layers, switched),
        switched=switched,
        mutual=tuple(pairs),
    )


def occlusions(scene: Scene) -> Bool[np.ndarray, "n n"]:
    """`[i, j]`: layer i is seen where layer j would be."""
    amodal = scene.amodal
    covered = np.einsum("ihw,jhw->ij", scene.visible.astype(np.float32), amodal.astype(np.float32))
    hides: Bool[np.ndarray, "n n"] = covered >= HIDDEN * scene.image[..., 0].size
    return hides & ~np.eye(len(amodal), dtype=bool)
