"""Pictures between networks (float, channels first) and everything else (uint8, channels last)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_uint8(pictures: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """0..1 to 0..255, rounded and clipped."""
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def to_numpy(pictures: UInt8[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """Channels last, on the processor."""
    return pictures.cpu().movedim(1, -1).contiguous().numpy()
