"""Diffusion transformer core: rotary position codes in several axes, blocks with adaptive layer norm (adaLN-zero).

Sources: Peebles and Xie 2023 (DiT, adaLN-zero); FLUX's rotary ids in three axes (diffusers `FluxPosEmbed`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def rotary_angles(ids: Float[Tensor, "m a"], widths: Sequence[int], base: float) -> Float[Tensor, "m half"]:
    """Angles of every token: axis `a` turns `widths[a] / 2` pairs of channels at speeds base^(-2i/width)."""
    parts = []
    for axis, width in enumerate(widths):
        speeds = base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=ids.device) / width)
        parts.append(ids[:, axis : axis + 1] * speeds)
    return torch.cat(parts, dim=1)


def rotate(x: Float[Tensor, "b heads m c"], angles: Float[Tensor, "m half"]) -> Float[Tensor, "b heads m c"]:
    """Turn the channel pairs (2i, 2i+1) of queries or keys by the angles of their tokens."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def noise_embedding(sigma: Float[Tensor, " b"], width: int) -> Float[Tensor, "b width"]:
    """Sine and cosine features of noise levels in 0..1."""
    speeds = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device=sigma.device) / (width // 2))
    phases = 1000.0 * sigma[:, None] * speeds
    return torch.cat((phases.cos(), phases.sin()), dim=1)


class Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by the condition; starts as the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "b m c"], condition: Float[Tensor, "b c"], angles: Float[Tensor, "m half"]
    ) -> Float[Tensor, "b m c"]:
        """One step of the residual stream."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition))[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attend(self.norm1(x) * (1 + scale1) + shift1, angles)
        hidden = F.gelu(self.feed_in(self.norm2(x) * (1 + scale2) + shift2))
        out: Tensor = x + gate2 * self.feed_out(hidden)
        return out

    def attend(self, x: Float[Tensor, "b m c"], angles: Float[Tensor, "m half"]) -> Float[Tensor, "b m c"]:
        """Full bidirectional attention over the whole sequence.

        Written out: on a processor, torch's fused attention takes twice the time in bfloat16 at heads this narrow.
        """
        b, m, c = x.shape
        q, k, v = self.to_qkv(x).view(b, m, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, angles) * q.shape[-1] ** -0.5, rotate(k, angles)
        out = (q @ k.transpose(-1, -2)).softmax(dim=-1) @ v
        joined: Tensor = self.to_out(out.transpose(1, 2).reshape(b, m, c))
        return joined


class DiT(nn.Module):
    """Tokens in, tokens out. `widths` are the channels of a head that each position axis turns."""

    def __init__(self, channels: int, width: int, depth: int, heads: int, widths: Sequence[int], base: float) -> None:
        super().__init__()
        self.widths, self.base = tuple(widths), base
        self.enter = nn.Linear(channels, width)
        self.noise = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels)
        for layer in (self.modulation, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        tokens: Float[Tensor, "b m d"],
        ids: Float[Tensor, "m a"],
        text: Float[Tensor, "b t c"],
        sigma: Float[Tensor, " b"],
        codes: Float[Tensor, "m c"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Output for every token; `text` tokens join the attention at position 0, `codes` are added where given."""
        x = self.enter(tokens)
        if codes is not None:
            x = x + codes
        condition = self.noise(noise_embedding(sigma, x.shape[2])) + text.mean(1)
        ids = torch.cat((ids, ids.new_zeros(text.shape[1], ids.shape[1])))
        angles = rotary_angles(ids, self.widths, self.base)
        x = torch.cat((x, text), dim=1)
        for block in self.blocks:
            x = block(x, condition, angles)
        shift, scale = self.modulation(F.silu(condition))[:, None].chunk(2, dim=-1)
        out: Tensor = self.leave(self.norm(x[:, : tokens.shape[1]]) * (1 + scale) + shift)
        return out
