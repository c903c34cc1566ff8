"""Module 1 of MuLAn: find instances, cut them out, and say how far away each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.providers import Box, Mask, Picture, Providers
from systems.parts.run import Strict


class Limits(Strict):
    """What counts as an instance; shares are of the picture's area, or of the length named."""

    overlap: float = Field(default=0.7, gt=0, le=1, description="IoU of two boxes from which the lesser one goes")
    same: float = Field(default=0.8, gt=0, le=1, description="IoU of two masks from which the lesser one goes")
    least: float = Field(default=0.005, ge=0, lt=1, description="smallest box and, of its half, mask")
    most: float = Field(default=0.8, gt=0, le=1, description="largest box")
    truncated: float = Field(
        default=0.9, gt=0, le=1, description="a mask is cut off if more of a side is at the border"
    )
    count: int = Field(default=12, gt=0, description="instances at most, the best scored ones")


@dataclass(frozen=True)
class Instance:
    """One found instance: its visible mask, disjoint from all others, and the median depth in it, larger is farther."""

    box: Box
    mask: Mask
    depth: float


@dataclass(frozen=True)
class Found:
    """Instances, the best scored one first, and the median depth of everything else."""

    instances: list[Instance]
    backdrop: float


def discover(image: Picture, providers: Providers, limits: Limits) -> Found:
    """Every instance of a picture."""
    depth = providers.depth.depth(image)
    found: list[Instance] = []
    for box in admissible(suppress(providers.detector.detect(image), limits.overlap), image.shape[:2], limits):
        mask = providers.segmenter.segment(image, box, None)
        known = any(masks.iou(mask, other.mask) > limits.same for other in found)
        if large_enough(mask, limits) and not truncated(mask, limits.truncated) and not known:
            found.append(Instance(box, mask, median(depth, mask)))
    instances = apart(found[: limits.count], depth, limits)
    rest = ~masks.union((instance.mask for instance in instances), depth.shape)
    return Found(instances, median(depth, rest) if rest.any() else float(depth.max()))


def suppress(boxes: Sequence[Box], overlap: float) -> list[Box]:
    """Boxes from the best score on, without those that overlap a better one by more than the IoU given."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(box_iou(box, better) <= overlap for better in kept):
            kept.append(box)
    return kept


def box_iou(first: Box, second: Box) -> float:
    """Shared area as a share of the area of both."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    shared = max(0, width) * max(0, height)
    either = first.area + second.area - shared
    return shared / either if either else 0.0


def admissible(boxes: Sequence[Box], shape: tuple[int, ...], limits: Limits) -> list[Box]:
    """Boxes, brought into the picture, that are neither too small nor too large."""
    height, width = shape[:2]
    inside = [
        replace(box, x0=max(0, box.x0), y0=max(0, box.y0), x1=min(width, box.x1), y1=min(height, box.y1))
        for box in boxes
    ]
    return [box for box in inside if limits.least * height * width <= box.area <= limits.most * height * width]


def large_enough(mask: Mask, limits: Limits) -> bool:
    """Whether a mask has half the pixels the smallest box must have, and at least one."""
    return bool(np.count_nonzero(mask) >= max(1, limits.least * mask.size / 2))


def truncated(mask: Mask, most: float) -> bool:
    """Whether the picture's border cuts the mask: along a side lies more than the share `most` of its extent."""
    columns, rows = np.count_nonzero(mask.any(0)), np.count_nonzero(mask.any(1))
    sides = ((mask[0], columns), (mask[-1], columns), (mask[:, 0], rows), (mask[:, -1], rows))
    return any(int(np.count_nonzero(side)) > most * extent for side, extent in sides)


def median(depth: Float32[np.ndarray, "h w"], mask: Mask) -> float:
    """Median depth in a mask that is not empty."""
    return float(np.median(depth[mask]))


def apart(found: Sequence[Instance], depth: Float32[np.ndarray, "h w"], limits: Limits) -> list[Instance]:
    """The instances with disjoint masks: a shared pixel goes to the nearer one. What is left too small is gone."""
    taken, disjoint = np.zeros(depth.shape, bool), dict[int, Mask]()
    for number in sorted(range(len(found)), key=lambda number: found[number].depth):
        disjoint[number] = found[number].mask & ~taken
        taken |= found[number].mask
    return [
        replace(instance, mask=disjoint[number], depth=median(depth, disjoint[number]))
        for number, instance in enumerate(found)
        if large_enough(disjoint[number], limits)
    ]
