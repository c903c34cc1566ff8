"""What the small networks learn from, made of scenes with known layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from systems.image_layers.mulan import masks, placing
from systems.image_layers.mulan.providers import Box, Inpainter, Mask, Picture
from systems.image_layers.mulan.scenes import Scene, flatten, seen
from systems.image_layers.mulan.small import pair_crop, prompt_of

REACH = 2
"""Pixels by which masks are dilated where they are asked to touch, and holes where they are painted over."""
HIDDEN = 0.001
"""Least share of the picture that one instance hides of another, or it does not count."""
JITTER = 0.08
"""Largest error of a box's sides, as a share of them."""
GROWTH, POINTS = 0.1, 4
"""Share of its sides by which a box grows where what is hidden is looked for, and how many points go with it."""


@dataclass(frozen=True)
class Cut:
    """One mask to be found: in which picture, from which box and points."""

    picture: int
    box: Int[np.ndarray, " 4"]
    points: Int[np.ndarray, "n 2"]
    mask: Mask


@dataclass(frozen=True)
class Cuts:
    """Masks to be found in pictures; the first pictures are whole scenes, of which depth and insides are known."""

    pictures: UInt8[Tensor, "m 3 h w"]
    depth: Float[Tensor, "s h w"]
    objects: Bool[Tensor, "s h w"]
    cuts: Sequence[Cut]

    def prompts(self, rows: Sequence[int], rng: np.random.Generator) -> Float[Tensor, "b 2 h w"]:
        """Boxes with errors, and points."""
        size = self.pictures.shape[2:]
        return torch.from_numpy(
            np.stack([prompt_of(shaken(cut.box, rng), cut.points, *size) for cut in self._of(rows)])
        )

    def masks(self, rows: Sequence[int]) -> Float[Tensor, "b h w"]:
        """The masks to be found."""
        return torch.from_numpy(np.stack([cut.mask for cut in self._of(rows)])).float()

    def places(self, rows: Sequence[int]) -> Int[Tensor, " b"]:
        """Numbers of the pictures."""
        return torch.tensor([cut.picture for cut in self._of(rows)])

    def _of(self, rows: Sequence[int]) -> list[Cut]:
        return [self.cuts[row] for row in rows]


def shaken(box: Int[np.ndarray, " 4"], rng: np.random.Generator) -> Int[np.ndarray, " 4"]:
    """A box whose sides are a little wrong, not empty."""
    left, top, right, bottom = box
    off = rng.uniform(-JITTER, JITTER, 4) * np.array([right - left, bottom - top] * 2)
    moved = np.rint(box + off).astype(int)
    return np.concatenate((moved[:2], np.maximum(moved[2:], moved[:2] + 1)))


def cuts_of(scenes: Sequence[Scene], inpainter: Inpainter) -> Cuts:
    """The visible mask of every instance in its scene, and the whole of one that is hidden in part, once uncovered."""
    pictures = [scene.image for scene in scenes]
    cuts = []
    for number, scene in enumerate(scenes):
        for layer in range(1, len(scene.layers)):
            nothing = np.zeros((0, 2), int)
            cuts.append(Cut(number, scene.boxes[layer], nothing, scene.visible[layer]))
            if (again := uncovered(scene, layer, inpainter)) is not None:
                box = grown(scene.boxes[layer], scene.image.shape)
                points = masks.pick(scene.visible[layer], POINTS)
                cuts.append(Cut(len(pictures), box, points, scene.amodal[layer] & inside(box, again.shape)))
                pictures.append(again)
    return Cuts(
        torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous(),
        torch.from_numpy(np.stack([(scene.visible * scene.depth[:, None, None]).sum(0) for scene in scenes])).float(),
        torch.from_numpy(np.stack([insides(scene) for scene in scenes])),
        cuts,
    )


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
    mask[top:bottom, left:right] = True
    return mask


def as_box(corners: Int[np.ndarray, " 4"], label: str = "") -> Box:
    """Left, top, right, bottom as the providers know them."""
    left, top, right, bottom = corners.tolist()
    return Box(left, top, right, bottom, 1.0, label)


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
    """Crops of two masks that touch, 0..255, and whether the first occludes the second, and the second the first."""

    crops: UInt8[Tensor, "n 5 s s"]
    occludes: Float[Tensor, "n 2"]


def pairs_of(scenes: Sequence[Scene], crop: int, crossed: int = 0, seed: int = 0) -> Pairs:
    """Every pair of instances that touch, and `crossed` times as many scenes with a mutual occlusion made anew."""
    found = [pair for scene in scenes for pair in scene_pairs(scene, crop)]
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng([seed, number])
        for _ in range(crossed):
            found += [pair for pair in scene_pairs(with_crossing(scene, rng), crop) if all(pair[1])]
    return Pairs(
        torch.from_numpy(np.stack([picture for picture, _ in found])),
        torch.tensor([occludes for _, occludes in found], dtype=torch.float32),
    )


def with_crossing(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with another mutual occlusion in the place of its own, if its layers allow one."""
    switched, pairs = placing.cross(scene.layers, rng)
    return replace(
        scene,
        image=flatten(scene.layers, switched),
        visible=seen(scene.layers, switched),
        switched=switched,
        mutual=tuple(pairs),
    )


def scene_pairs(scene: Scene, crop: int) -> Iterator[tuple[UInt8[np.ndarray, "5 s s"], tuple[bool, bool]]]:
    """Crops and truth of all pairs whose masks touch."""
    hides = occlusions(scene)
    for first, second in combinations(range(1, len(scene.layers)), 2):
        if masks.touching(scene.visible[first], scene.visible[second], REACH):
            picture = pair_crop(scene.image, scene.visible[first], scene.visible[second], crop)
            yield picture, (bool(hides[first, second]), bool(hides[second, first]))


def occlusions(scene: Scene) -> Bool[np.ndarray, "n n"]:
    """`[i, j]`: layer i is seen where layer j would be."""
    amodal = scene.amodal
    covered = np.einsum("ihw,jhw->ij", scene.visible.astype(np.float32), amodal.astype(np.float32))
    hides: Bool[np.ndarray, "n n"] = covered >= HIDDEN * scene.image[..., 0].size
    return hides & ~np.eye(len(amodal), dtype=bool)
