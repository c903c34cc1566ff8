"""Pictures that show what the layers of a picture are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from systems.image_layers.mulan.table import Kept
from systems.parts.grids import LARGEST, grid, on_checker

AMPLIFIED = 4


def exploded(kept: Sequence[Kept]) -> UInt8[np.ndarray, "H W 3"]:
    """A row a picture: itself, its layers from the bottom up, the layers flattened, and the difference amplified."""
    rows = [tiles(one) for one in kept]
    width = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], 255)
    return grid([np.stack([*row[:-2], *[blank] * (width - len(row)), *row[-2:]]) for row in rows])


def tiles(kept: Kept) -> list[UInt8[np.ndarray, "s s 3"]]:
    """What one row shows, each tile square."""
    flat = kept.stack.flat()
    difference = np.clip(AMPLIFIED * np.abs(flat.astype(int) - kept.image), 0, 255).astype(np.uint8)
    shown = [kept.image, *on_checker(kept.stack.pixels()), flat, difference]
    return [squared(tile) for tile in shown]


def squared(tile: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """On a white square of the side of the grid's tiles."""
    scale = LARGEST / max(tile.shape[:2])
    size = max(1, round(tile.shape[1] * scale)), max(1, round(tile.shape[0] * scale))
    out = np.full((LARGEST, LARGEST, 3), 255, np.uint8)
    out[: size[1], : size[0]] = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
    return out
