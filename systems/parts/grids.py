"""Grids of pictures to look at: rows of equal tiles, transparency shown on a checker-board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

CHECKER = (255, 205)
GAP = 2


def to_uint8(pictures: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """0..1 to 0..255, rounded and clipped."""
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def on_checker(pictures: UInt8[Tensor, "n c h w"], cell: int = 4) -> UInt8[np.ndarray, "n h w 3"]:
    """RGB pictures as they are, RGBA ones (straight alpha) over a checker-board."""
    array = pictures.cpu().movedim(1, -1).numpy()
    if array.shape[-1] == 3:
        return array
    rows, columns = np.indices(array.shape[1:3]) // cell
    ground = np.where((rows + columns) % 2, *CHECKER)[..., None]
    alpha = array[..., 3:] / 255.0
    return np.rint(array[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)


def grid(rows: Sequence[UInt8[np.ndarray, "n h w 3"]], scale: int = 3) -> UInt8[np.ndarray, "H W 3"]:
    """One picture of rows of tiles on white, each tile enlarged `scale` times without smoothing."""
    lines = []
    for row in rows:
        tiles = [np.pad(tile.repeat(scale, 0).repeat(scale, 1), _pad(), constant_values=255) for tile in row]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _pad() -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return (GAP, GAP), (GAP, GAP), (0, 0)
