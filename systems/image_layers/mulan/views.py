"""Pictures as the small networks take them in, whole or in part: pixels, and what the pretrained eye makes of them.

A rectangle is left, top, right, bottom in px, with fractions; the middle of the first pixel lies at (0.5, 0.5). All
that is cut out and put back goes through one function, `sample`, so that places agree to a fraction of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from systems.image_layers.mulan.eye import STRIDES, Eye
from systems.image_layers.mulan.providers import Picture

FOLD = 2
"""Pixels along a side that our networks take as one with more channels: a quarter of the time, whole resolution."""
BATCH = 32
"""Pictures that the eye looks at together."""

Rectangles = Float[Tensor, "b 4"]


@dataclass(frozen=True)
class View:
    """Pixels in -0.5..0.5, 0 beyond the picture; and maps of the whole picture, the finest first."""

    pixels: Float[Tensor, "b 3 h w"]
    maps: Sequence[Float[Tensor, "b c h2 w2"]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        height, width = self.pixels.shape[2:]
        return height, width

    def at(self, numbers: Tensor, device: torch.device | None = None) -> View:
        """Some of the pictures, in full precision."""
        parts = [plane[numbers].to(device or plane.device).float() for plane in (self.pixels, *self.maps)]
        return View(parts[0], parts[1:])

    def halved(self) -> View:
        """In half the memory."""
        return View(self.pixels.half(), [plane.half() for plane in self.maps])

    def part(self, rectangles: Rectangles, size: tuple[int, int]) -> View:
        """A rectangle of every picture at another size; a cell of the first map is a fold of pixels, and so on."""
        sizes = [(size[0] // (FOLD * 2**level), size[1] // (FOLD * 2**level)) for level in range(len(self.maps))]
        places = [
            in_cells(rectangles, self.size, plane, stride) for plane, stride in zip(self.maps, STRIDES, strict=True)
        ]
        maps = [sample(*each) for each in zip(self.maps, places, sizes, strict=True)]
        return View(sample(self.pixels, rectangles, size), maps)

    def mirrored(self, which: Tensor | None = None) -> View:
        """With left and right exchanged in some of the pictures, or all."""
        return View(mirrored(self.pixels, which), [mirrored(plane, which) for plane in self.maps])


def mirrored(planes: Float[Tensor, "b c h w"], which: Tensor | None = None) -> Float[Tensor, "b c h w"]:
    """Left and right exchanged in some samples, or all."""
    turned = planes.flip(-1)
    return turned if which is None else torch.where(which[:, None, None, None], turned, planes)


def sample(
    planes: Float[Tensor, "b c h w"], rectangles: Rectangles, size: tuple[int, int]
) -> Float[Tensor, "b c h2 w2"]:
    """Values in the middles of the cells of a grid over each rectangle, linear between pixels and 0 beyond them."""
    height, width = planes.shape[2:]
    left, top, right, bottom = rectangles.unbind(1)
    across, down = (centres(count, planes.device) for count in (size[1], size[0]))
    x = (left[:, None] + across * (right - left)[:, None]) * (2 / width) - 1
    y = (top[:, None] + down * (bottom - top)[:, None]) * (2 / height) - 1
    grid = torch.stack((x[:, None, :].expand(-1, *size), y[:, :, None].expand(-1, *size)), -1)
    values: Tensor = grid_sample(planes, grid, align_corners=False)
    return values


def centres(count: int, device: torch.device | None = None) -> Float[Tensor, " n"]:
    """Middles of cells along a side of length 1."""
    return (torch.arange(count, device=device) + 0.5) / count


def in_cells(rectangles: Rectangles, size: tuple[int, int], plane: Float[Tensor, "b c h w"], stride: int) -> Rectangles:
    """Rectangles of a picture of `size` in cells of a map of it.

    Every halving of the eye looks half a pixel farther right and down than the middle of its two pixels.
    """
    cells = rectangles.new_tensor([plane.shape[3] / size[1], plane.shape[2] / size[0]]).repeat(2)
    return rectangles * cells - (0.5 - 0.5 / stride)


def frame(size: tuple[int, int], rectangles: Rectangles, side: int) -> Rectangles:
    """A whole picture of `size`, in px of the parts of it which the rectangles are, enlarged to `side`."""
    corners = rectangles.new_tensor([[0, 0], [size[1], size[0]]])
    return inside(corners, rectangles[:, None], side).flatten(1)


def squares(boxes: Rectangles, margin: float, least: float = 1.0) -> Rectangles:
    """Squares around the middles of boxes, on every side wider by a share of the longer side, and none too small."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = ((boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) * (0.5 + margin)).clamp(min=least / 2)
    return torch.cat((middle - reach, middle + reach), 1)


def filled(boxes: Rectangles, rectangles: Rectangles, side: int) -> Float[Tensor, "b 1 s s"]:
    """How much of every px of squares enlarged to `side` lies in a box."""
    low, high = (inside(ends, rectangles, side)[..., None] for ends in (boxes[:, :2], boxes[:, 2:]))
    cells = torch.arange(side, device=boxes.device)
    x, y = (torch.minimum(high, cells + 1) - torch.maximum(low, cells)).clamp(0, 1).unbind(1)
    return (y[:, :, None] * x[:, None, :])[:, None]


def dotted(points: Float[Tensor, "b n 2"], rectangles: Rectangles, side: int, reach: float) -> Float[Tensor, "b 1 s s"]:
    """Small squares around points of squares enlarged to `side`, `reach` px wide on each side of them."""
    where = inside(points, rectangles[:, None], side)
    places = torch.arange(side, device=points.device) + 0.5
    x, y = ((places - where[..., [axis]]).abs() for axis in range(2))
    away = torch.maximum(x[:, :, None, :], y[:, :, :, None])
    return (reach + 1 - away).clamp(0, 1).amax(1, keepdim=True)


def inside(places: Float[Tensor, "*b 2"], rectangles: Float[Tensor, "*b 4"], side: int) -> Float[Tensor, "*b 2"]:
    """Places of a picture in px of squares enlarged to `side`."""
    start, end = rectangles[..., :2], rectangles[..., 2:]
    return (places - start) * side / (end - start)


def heights(rectangles: Rectangles, size: tuple[int, int], side: tuple[int, int]) -> Float[Tensor, "b 1 s t"]:
    """How far down the picture of `size` every px of an enlarged rectangle lies, in -0.5..0.5 within the picture."""
    top, bottom = rectangles[:, 1, None], rectangles[:, 3, None]
    down = (top + centres(side[0], rectangles.device) * (bottom - top)) / size[0] - 0.5
    return down[:, None, :, None].expand(-1, -1, -1, side[1])


def network_size(shape: tuple[int, ...], side: int, grain: int) -> tuple[int, int]:
    """Height and width at which a picture is shown to a network: its longer side about `side`, multiples of `grain`."""
    longer = max(shape[:2])
    height, width = (max(1, round(length * side / longer / grain)) * grain for length in shape[:2])
    return height, width


def resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture or float plane at another size."""
    if plane.shape[:2] == (height, width):
        return plane
    shrinks = height * width < plane.shape[0] * plane.shape[1]
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@torch.no_grad()
def looked_at(pictures: Sequence[Picture], eye: Eye, side: int, sharpness: int, grain: int) -> View:
    """Pictures of one size, shown to our networks `side` px long, and `sharpness` times as large to the eye."""
    size = network_size(pictures[0].shape, side, grain)
    large = network_size(pictures[0].shape, side * sharpness, STRIDES[-1])
    pixels = as_tensor([resized(picture, *size) for picture in pictures])
    shown = pixels if large == size else as_tensor([resized(picture, *large) for picture in pictures])
    return View(pixels - 0.5, eye(shown))


def as_tensor(pictures: Sequence[Picture]) -> Float[Tensor, "b 3 h w"]:
    """A batch of pictures in 0..1."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


def album(pictures: Sequence[Picture], eye: Eye, side: int, sharpness: int, grain: int) -> View:
    """Many pictures of one size, looked at once and kept in half the memory."""
    views = [
        looked_at(pictures[first : first + BATCH], eye, side, sharpness, grain).halved()
        for first in range(0, len(pictures), BATCH)
    ]
    maps = [torch.cat(planes) for planes in zip(*(view.maps for view in views), strict=True)]
    return View(torch.cat([view.pixels for view in views]), maps)
