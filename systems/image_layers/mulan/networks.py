"""The small networks over the pretrained eye: one cuts out, one sees depth and things, and one compares two masks."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pixel_shuffle, pixel_unshuffle

from systems.image_layers.mulan.eye import CHANNELS
from systems.image_layers.mulan.facts import COUNT
from systems.image_layers.mulan.views import (
    FOLD,
    Rectangles,
    View,
    dotted,
    filled,
    frame,
    heights,
    mirrored,
    sample,
    squares,
)
from systems.parts.run import Strict

DEPTH, OBJECT = range(2)
"""Channels that a `SceneNet` answers with: logits of the depth in 0..1, and of being inside an instance."""
MARGIN = 0.25
"""Share of its longer side by which what is shown of an instance is wider than its box, on every side."""
DOT = 1.0
"""A point is shown as a square of so many pixels on each side of it."""


class Architecture(Strict):
    """Sizes of the small networks."""

    widths: tuple[int, ...] = Field(default=(24, 40, 64), min_length=2, description="channels a level of the U-Nets")
    order_widths: tuple[int, ...] = Field(default=(32, 32), min_length=1, description="widths of the comparison")
    cut: int = Field(default=64, ge=16, multiple_of=8, description="side at which one instance is shown, px")
    sharpness: int = Field(default=2, ge=1, description="the pretrained eye sees pictures so many times as large")

    @property
    def grain(self) -> int:
        """Both sides of a picture shown to the networks are multiples of this."""
        return int(FOLD * 2 ** (max(len(CHANNELS), len(self.widths)) - 1))


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


class Down(nn.Module):
    """Levels of a view and of planes beside it, each half as large as the last; the eye's maps join where they fit."""

    def __init__(self, planes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        maps = CHANNELS[: len(widths)]
        above = ((3 + planes) * FOLD**2, *widths[:-1])
        joined = [*maps, *[0] * (len(widths) - len(maps))]
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in maps)
        self.levels = nn.ModuleList(
            block(before + beside, after) for before, beside, after in zip(above, joined, widths, strict=True)
        )

    def forward(self, view: View, planes: Float[Tensor, "b p h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """From the finest to the coarsest."""
        x, answers = pixel_unshuffle(torch.cat((view.pixels, planes), 1), FOLD), []
        for number, level in enumerate(self.levels):
            x = max_pool2d(x, 2) if number else x
            if number < len(self.norms):
                x = torch.cat((x, self.norms[number](view.maps[number])), 1)
            x = level(x.contiguous(memory_format=torch.channels_last))
            answers.append(x)
        return answers


class UNet(nn.Module):
    """A view and planes beside it to logits of the same size."""

    def __init__(self, planes: int, answers: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = Down(planes, widths)
        self.up = nn.ModuleList(
            block(deep + wide, wide) for wide, deep in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], answers * FOLD**2, 1)

    def forward(self, view: View, planes: Float[Tensor, "b p h w"]) -> Float[Tensor, "b a h w"]:
        """Both sides are multiples of the grain."""
        *skips, x = self.down(view, planes)
        for up in self.up:
            x = up(torch.cat((interpolate(x, scale_factor=2.0), skips.pop()), 1))
        answer: Tensor = pixel_shuffle(self.head(x), FOLD)
        return answer.float()


class Segmenter(nn.Module):
    """Cuts out the instance in a box, on which points may lie; boxes and points are in px of the view."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.side = architecture.cut
        self.unet = UNet(2, 1, architecture.widths)
        channels_last(self)

    def shown(
        self, view: View, boxes: Rectangles, points: Float[Tensor, "b n 2"]
    ) -> tuple[View, Float[Tensor, "b 2 s s"], Rectangles]:
        """What it sees of every picture, what it is asked for there, and where that is."""
        where = squares(boxes, MARGIN)
        prompt = filled(boxes, where, self.side), dotted(points, where, self.side, DOT)
        return view.part(where, (self.side, self.side)), torch.cat(prompt, 1), where

    def forward(self, part: View, prompt: Float[Tensor, "b 2 s s"]) -> Float[Tensor, "b s s"]:
        """Logits of the mask in what is `shown`."""
        answer: Tensor = self.unet(part, prompt)
        return answer[:, 0]

    def masks(
        self, view: View, boxes: Rectangles, points: Float[Tensor, "b n 2"], size: tuple[int, int]
    ) -> Float[Tensor, "b h w"]:
        """Logits of the masks in the whole pictures, at any size; the mean with those of mirrored pictures."""
        part, prompt, where = self.shown(view, boxes, points)
        turned = self(part.mirrored(), mirrored(prompt)).flip(-1)
        logits = (self(part, prompt) + turned)[:, None] / 2
        return sample(logits, frame(view.size, where, self.side), size)[:, 0]


class SceneNet(nn.Module):
    """Sees depth and the insides of things in whole pictures."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.unet = UNet(1, 2, architecture.widths)
        channels_last(self)

    def shown(self, view: View) -> tuple[View, Float[Tensor, "b 1 h w"]]:
        """All of every picture, and how far down it is: near things are apt to stand low."""
        everything = view.pixels.new_tensor([[0, 0, view.size[1], view.size[0]]]).expand(len(view.pixels), -1)
        return view.part(everything, view.size), heights(everything, view.size, view.size)

    def forward(self, part: View, height: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 2 h w"]:
        """Logits, `DEPTH` and `OBJECT`, of what is `shown`."""
        answer: Tensor = self.unet(part, height)
        return answer


class OrderNet(nn.Module):
    """Facts about two masks to two logits: the first occludes the second, the second the first.

    Crops of the picture, as InstaOrder compares them, were learnt by heart here: thousands of pairs are too few.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = (2 * COUNT, *architecture.order_widths)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.norm = nn.BatchNorm1d(COUNT, affine=False)
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 2))

    def forward(self, facts: Float[Tensor, "b 2 f"]) -> Float[Tensor, "b 2"]:
        """Facts about the first, and about the second."""
        logits: Tensor = self.layers(self.norm(facts.flatten(0, 1)).reshape(len(facts), -1))
        return logits.float()

    def both_ways(self, facts: Float[Tensor, "b 2 f"]) -> Float[Tensor, "b 2"]:
        """The mean of the answers for both orders of the masks: exchanging these exchanges the answers."""
        there: Tensor = self(facts)
        back: Tensor = self(facts.flip(1))
        return (there + back.flip(1)) / 2
