"""What the networks trained so far find in training scenes: the comparison learns from masks as it will meet them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from systems.image_layers.mulan.discovery import Instance, Limits, apart, large_enough, median
from systems.image_layers.mulan.examples import AWAY, POINTS, Seen, as_box, inside, shaken
from systems.image_layers.mulan.networks import DEPTH, SceneNet, Segmenter
from systems.image_layers.mulan.scenes import Scene
from systems.image_layers.mulan.views import View
from systems.parts.step_batches import step_generator

BATCH = 32


@torch.no_grad()
def found_in(
    scenes: Sequence[Scene], pictures: Sequence[int], album: View, depth: Tensor, segmenter: Segmenter, seed: int
) -> list[Seen]:
    """Disjoint masks of the instances of every scene, by the number of their layer, from boxes with errors."""
    segmenter.eval()
    owners = [number for number, scene in enumerate(scenes) for _ in scene.boxes[1:]]
    boxes = torch.from_numpy(np.float32(np.concatenate([scene.boxes[1:] for scene in scenes])))
    boxes = shaken(boxes, step_generator(seed, 0)).round()
    places = torch.tensor(pictures)
    masks = iter(cut_out(album, places[torch.tensor(owners)], boxes, segmenter))
    corners = iter(boxes.long().numpy())
    return [
        discovered([(next(corners), next(masks)) for _ in scene.boxes[1:]], depth[picture].float())
        for scene, picture in zip(scenes, pictures, strict=True)
    ]


def cut_out(album: View, pictures: Tensor, boxes: Float[Tensor, "n 4"], segmenter: Segmenter) -> Bool[Tensor, "n h w"]:
    """What the segmenter finds, without points."""
    nowhere = torch.full((len(boxes), POINTS, 2), AWAY)
    pieces = [
        segmenter.masks(album.at(pictures[rows]), boxes[rows], nowhere[rows], album.size) > 0
        for rows in torch.split(torch.arange(len(boxes)), BATCH)
    ]
    return torch.cat(pieces)


@torch.no_grad()
def seen_depth(album: View, network: SceneNet) -> Float[Tensor, "m h w"]:
    """Depth in 0..1 of whole pictures, in half the memory."""
    network.eval()
    pieces = [
        network(*network.shown(album.at(numbers)))[:, DEPTH].sigmoid().half()
        for numbers in torch.split(torch.arange(len(album.pixels)), BATCH)
    ]
    return torch.cat(pieces)


def discovered(found: Sequence[tuple[np.ndarray, Tensor]], depth: Tensor) -> Seen:
    """Masks within their boxes, shared pixels given to the nearer one, as `discover` does."""
    plane, limits = depth.numpy(), Limits()
    instances = []
    for layer, (corners, mask) in enumerate(found, 1):
        within = mask.numpy() & inside(corners, plane.shape)
        if large_enough(within, limits):
            instances.append(Instance(as_box(corners, str(layer)), within, median(plane, within)))
    return {int(one.box.label): one.mask for one in apart(instances, plane, limits)}
