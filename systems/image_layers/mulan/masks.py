"""Arithmetic on masks of one picture."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Int

from systems.image_layers.mulan.providers import Mask


def dilate(mask: Mask, reach: int) -> Mask:
    """The mask and all pixels at most `reach` px away from it, by the greater of both coordinates."""
    if reach == 0:
        return mask
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(mask.view(np.uint8), kernel).view(bool)


def touching(first: Mask, second: Mask, reach: int) -> bool:
    """Whether the masks meet once both are dilated by `reach` px."""
    return bool((dilate(first, reach) & dilate(second, reach)).any())


def iou(first: Mask, second: Mask) -> float:
    """Shared pixels as a share of all pixels of both; 0 where both are empty."""
    either = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / either) if either else 0.0


def union(masks: Iterable[Mask], shape: tuple[int, int]) -> Mask:
    """All pixels of any of the masks, which may be none."""
    out = np.zeros(shape, bool)
    for mask in masks:
        out |= mask
    return out


def owners(masks: Bool[np.ndarray, "n h w"]) -> Int[np.ndarray, "h w"]:
    """For every pixel the number of the one mask it lies in; the masks cover the picture and are disjoint."""
    numbers: Int[np.ndarray, "h w"] = masks.argmax(0)
    return numbers


def pick(mask: Mask, count: int) -> Int[np.ndarray, "n 2"]:
    """At most `count` points (x, y) of a mask, spread over it, from its inside out."""
    inside = cv2.distanceTransform(np.pad(mask, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    points = list[tuple[int, int]]()
    while len(points) < count and inside.max() > 0:
        row, column = divmod(int(inside.argmax()), mask.shape[1])
        points.append((column, row))
        reach = max(1, int(inside[row, column]))
        inside[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 0
    return np.array(points, np.int64).reshape(-1, 2)
