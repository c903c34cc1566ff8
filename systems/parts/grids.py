"""Grids of pictures to look at: rows of equal tiles, transparency shown on a checker-board."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

CHECKER = (255, 205)
GAP = 2
LARGEST = 128
"""Side of a tile, px, beyond which it is not enlarged, and to which larger pictures are shrunk."""


def on_checker(pictures: UInt8[np.ndarray, "n h w c"], cell: int = 4) -> UInt8[np.ndarray, "n h w 3"]:
    """RGB pictures as they are, RGBA ones (straight alpha) over a checker-board."""
    if pictures.shape[-1] == 3:
        return pictures
    rows, columns = np.indices(pictures.shape[1:3]) // cell
    ground = np.where((rows + columns) % 2, *CHECKER)[..., None]
    alpha = pictures[..., 3:] / 255.0
    return np.rint(pictures[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)


def grid(rows: Sequence[UInt8[np.ndarray, "n h w 3"]], scale: int = 3) -> UInt8[np.ndarray, "H W 3"]:
    """One picture of rows of tiles on white, each tile enlarged up to `scale` times without smoothing."""
    lines = []
    for row in rows:
        tiles = [np.pad(_shown(tile, scale), _pad(), constant_values=255) for tile in row]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _shown(tile: UInt8[np.ndarray, "h w 3"], scale: int) -> UInt8[np.ndarray, "H W 3"]:
    side = max(tile.shape[:2])
    if side > LARGEST:
        height, width = (max(1, LARGEST * length // side) for length in tile.shape[:2])
        return cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA)
    scale = min(scale, LARGEST // side)
    return tile.repeat(scale, 0).repeat(scale, 1)


def _pad() -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return (GAP, GAP), (GAP, GAP), (0, 0)
