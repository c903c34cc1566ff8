"""The small networks over the pretrained eye: one cuts out, one sees depth and things, one compares two masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, max_pool2d, pixel_shuffle, pixel_unshuffle

from systems.image_layers.mulan.eye import CHANNELS
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
BESIDE, NEAR = 0.25, 0.4
"""The same for what is shown around where two instances meet, and its least side as a share of the picture's."""
FACTS, SPREAD = 4, 4.0
"""Facts about a mask that a comparison is told, and by how much they are spread."""
MET = 5
"""Two masks meet where squares so many pixels wide around them overlap."""
DOT = 1.0
"""A point is shown as a square of so many pixels on each side of it."""


class Architecture(Strict):
    """Sizes of the small networks."""

    widths: tuple[int, ...] = Field(default=(24, 40, 64), min_length=2, description="channels a level of the U-Nets")
    order_widths: tuple[int, ...] = Field(default=(24, 40, 64), min_length=1, description="channels of the comparison")
    cut: int = Field(default=64, ge=16, multiple_of=8, description="side at which one instance is shown, px")
    crop: int = Field(default=48, ge=16, multiple_of=8, description="side at which two are compared, px")
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


@dataclass(frozen=True)
class Meeting:
    """Two masks where they meet: what is seen there, planes beside it, and facts about all of either.

    The planes are the first mask, the second, how far down everything is and, in -0.5..0.5, how far away.
    """

    part: View
    planes: Float[Tensor, "b 4 s s"]
    facts: Float[Tensor, "b 2 f"]

    def exchanged(self) -> Meeting:
        """With the second mask first."""
        return Meeting(self.part, self.planes[:, [1, 0, 2, 3]], self.facts.flip(1))

    def mirrored(self, which: Tensor | None = None) -> Meeting:
        """With left and right exchanged, in some samples or all."""
        return Meeting(self.part.mirrored(which), mirrored(self.planes, which), self.facts)


class OrderNet(nn.Module):
    """Two masks in a picture to two logits: the first occludes the second, the second the first.

    As in InstaDepthNet, depth and occlusion are seen together.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.side, widths = architecture.crop, architecture.order_widths
        self.down = Down(4, widths)
        self.head = nn.Sequential(nn.Linear(3 * widths[-1] + 2 * FACTS, 64), nn.ReLU(), nn.Linear(64, 2))
        channels_last(self)

    def shown(
        self, view: View, depth: Float[Tensor, "b 1 h2 w2"], masks: Float[Tensor, "b 2 h w"], boxes: Rectangles
    ) -> Meeting:
        """What is seen around where the masks meet, of which the boxes are given in px of the masks."""
        size, side = (masks.shape[2], masks.shape[3]), (self.side, self.side)
        where = squares(boxes, BESIDE, NEAR * max(size))
        there = where * where.new_tensor([view.size[1] / size[1], view.size[0] / size[0]]).repeat(2)
        planes = (sample(masks, where, side), heights(where, size, side), sample(depth - 0.5, there, side))
        return Meeting(view.part(there, side), torch.cat(planes, 1), facts(masks, depth))

    def forward(self, meeting: Meeting) -> Float[Tensor, "b 2"]:
        """By what is seen in the first mask, in the second and where they meet."""
        deepest = self.down(meeting.part, meeting.planes)[-1].float()
        first, second = meeting.planes[:, :1], meeting.planes[:, 1:2]
        met = max_pool2d(first, MET, 1, MET // 2) * max_pool2d(second, MET, 1, MET // 2)
        seen = [mean_in(deepest, adaptive_avg_pool2d(mask, deepest.shape[2:])) for mask in (first, second, met)]
        logits: Tensor = self.head(torch.cat((*seen, meeting.facts.flatten(1)), 1))
        return logits.float()

    def both_ways(self, meeting: Meeting) -> Float[Tensor, "b 2"]:
        """The mean of the answers for both orders of the masks: exchanging these exchanges the answers.

        Either is the mean with that of the mirrored picture.
        """
        there: Tensor = self(meeting) + self(meeting.mirrored())
        back: Tensor = self(meeting.exchanged()) + self(meeting.exchanged().mirrored())
        return (there + back.flip(1)) / 4


def facts(masks: Float[Tensor, "b 2 h w"], depth: Float[Tensor, "b 1 h2 w2"]) -> Float[Tensor, "b 2 f"]:
    """How far away either mask is, how far down its middle and its lowest line, and how large it is."""
    height, width = masks.shape[2:]
    far = depth if depth.shape[2:] == masks.shape[2:] else interpolate(depth, (height, width), mode="bilinear")
    down = (torch.arange(height, device=masks.device) + 1) / height
    area = masks.sum((2, 3)).clamp(min=1e-3)
    middle, lowest = (masks.sum(3) * down).sum(2) / area, (masks.amax(3) * down).amax(2)
    parts = (masks * far).sum((2, 3)) / area, middle, lowest, (area / (height * width)).sqrt()
    return torch.stack(parts, 2) * SPREAD


def mean_in(planes: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c"]:
    """Mean of the planes where the mask is, 0 if it is nowhere."""
    return (planes * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1e-3)
