"""What can be said about two masks that touch, each beside the other: few numbers, so that none is learnt by heart.

Near things are apt to be low and large, and what hides another cuts a piece out of its hull.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.providers import Mask

COUNT = 8
NEAR = 4
"""Pixels from the other mask, within which a mask is near it."""


def facts_of(first: Mask, second: Mask, depth: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "2 f"]:
    """Of the first mask and of the second; neither is empty. Exchanging the masks exchanges the rows."""
    hulls = hull(first), hull(second)
    return np.array([about(first, second, *hulls, depth), about(second, first, *hulls[::-1], depth)], np.float32)


def about(mask: Mask, other: Mask, own: Mask, others: Mask, depth: Float32[np.ndarray, "h w"]) -> list[float]:
    """How far and how low it is, its size, what it has of both hulls, and how far it is beside the other mask."""
    height, area = mask.shape[0], np.count_nonzero(mask)
    lines = np.flatnonzero(mask.any(1)) + 1
    within = np.count_nonzero(mask & others)
    beside = mask & masks.dilate(other, NEAR)
    return [
        float(depth[mask].mean()),
        float((mask.sum(1) * (np.arange(height) + 1)).sum() / area / height),
        float(lines[-1] / height),
        float(np.sqrt(area / mask.size)),
        float(np.sqrt(within / np.count_nonzero(other))),
        float(np.sqrt(within / area)),
        float(area / np.count_nonzero(own)),
        float(np.median(depth[beside if beside.any() else mask])),
    ]


def hull(mask: Mask) -> Mask:
    """The smallest convex region that holds a mask which is not empty."""
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0
