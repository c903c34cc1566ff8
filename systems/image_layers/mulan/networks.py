"""The small networks: a U-Net that segments what it is pointed at and sees depth, and a network that compares two."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pixel_shuffle, pixel_unshuffle

from systems.parts.run import Strict

MASK, DEPTH, OBJECT = range(3)
"""Channels that a `UNet` answers with: logits of the mask, of the depth in 0..1, and of being inside an instance."""
FOLD = 2
"""Pixels along a side that the networks take as one with more channels: a quarter of the time, whole resolution."""


class Architecture(Strict):
    """Sizes of the small networks."""

    widths: tuple[int, ...] = Field(default=(16, 32, 64, 64), min_length=2, description="channels a level of the U-Net")
    order_widths: tuple[int, ...] = Field(default=(16, 32, 64), min_length=1, description="channels of the comparison")
    crop: int = Field(default=48, ge=16, multiple_of=8, description="side of the crops that are compared, px")

    @property
    def grain(self) -> int:
        """Both sides of a picture shown to the U-Net are multiples of this."""
        return int(FOLD * 2 ** (len(self.widths) - 1))


def block(before: int, after: int) -> nn.Sequential:
    """Two convolutions."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def channels_last(network: nn.Module) -> None:
    """Lay the weights of convolutions out as processors like them: half the time."""
    for weight in network.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


class UNet(nn.Module):
    """Picture, box and points to `MASK`, `DEPTH` and `OBJECT`; without a box and points the mask means nothing."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        folded = FOLD**2
        above = ((3 + 2) * folded, *widths[:-1])
        self.down = nn.ModuleList(block(before, after) for before, after in zip(above, widths, strict=True))
        self.up = nn.ModuleList(
            block(deep + wide, wide) for wide, deep in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 3 * folded, 1)
        channels_last(self)

    def forward(self, image: Float[Tensor, "b 3 h w"], prompt: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures in 0..1; `prompt` is 1 in the box, and 1 at the points."""
        x = pixel_unshuffle(torch.cat((image - 0.5, prompt), 1), FOLD).contiguous(memory_format=torch.channels_last)
        skips = []
        for level, down in enumerate(self.down):
            x = down(max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(torch.cat((interpolate(x, scale_factor=2.0), skips.pop()), 1))
        answer: Tensor = pixel_shuffle(self.head(x), FOLD)
        return answer.float()


class OrderNet(nn.Module):
    """Crops of a picture with two masks to two logits: the first occludes the second, the second the first."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        above = (5 * FOLD**2, *widths[:-1])
        self.stages = nn.ModuleList(block(before, after) for before, after in zip(above, widths, strict=True))
        self.head = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.ReLU(), nn.Linear(64, 2))
        channels_last(self)

    def forward(self, crops: Float[Tensor, "b 5 s s"]) -> Float[Tensor, "b 2"]:
        """Channels: red, green, blue in 0..1, the first mask, the second."""
        x = pixel_unshuffle(crops - 0.5, FOLD).contiguous(memory_format=torch.channels_last)
        for level, stage in enumerate(self.stages):
            x = stage(max_pool2d(x, 2) if level else x)
        logits: Tensor = self.head(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1))
        return logits.float()

    def both_ways(self, crops: Float[Tensor, "b 5 s s"]) -> Float[Tensor, "b 2"]:
        """The mean of the answers for both orders of the masks: exchanging these exchanges the answers."""
        there: Tensor = self(crops)
        back: Tensor = self(exchanged(crops))
        return (there + back.flip(1)) / 2


def exchanged(crops: Float[Tensor, "b 5 s s"]) -> Float[Tensor, "b 5 s s"]:
    """The crops with the second mask first."""
    return crops[:, [0, 1, 2, 4, 3]]
