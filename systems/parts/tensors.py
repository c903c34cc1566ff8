"""Pictures between networks (float, channels first) and everything else (uint8, channels last)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

PIXELS = 1 << 20
"""A network without gradients is shown so many pixels at once, whatever the size of the pictures."""


def pieces(count: int, side: int, most: int) -> Iterator[slice]:
    """Consecutive slices of `count` pictures of `side` px; of `most`, or fewer where those would be too many pixels."""
    step = max(1, min(most, PIXELS // side**2))
    return (slice(start, start + step) for start in range(0, count, step))


def to_uint8(pictures: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """0..1 to 0..255, rounded and clipped."""
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def to_numpy(pictures: UInt8[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """Channels last, on the processor."""
    return pictures.cpu().movedim(1, -1).contiguous().numpy()
