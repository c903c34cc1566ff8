"""A sample for the gallery of the report: a picture and its layers in one PNG, which `run.figure` records.

    run.figure(f"stacks/{name}", *strip(picture, stack, "What it shows."))

The tiles lie below each other: the picture, then every layer from the bottom. What the words of a PNG hold tells them
apart again. A page carries all its samples, so of a large picture every second, third, ... pixel is kept: each is still
blended of the same layers, as it would not be after smoothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from systems.parts.layered_files.folder import described, layer_of
from systems.parts.layered_files.stack import Layer, Stack, with_alpha

FOLDER = "stacks"
"""Where among a stage's plots the report looks for samples."""
LARGEST = 256
"""Pixels a side of a sample."""


@dataclass(frozen=True)
class Sample:
    """A picture, the layers found in it, and a sentence that says what it is."""

    picture: UInt8[np.ndarray, "h w 4"]
    stack: Stack
    caption: str


def strip(picture: UInt8[np.ndarray, "h w c"], stack: Stack, caption: str) -> tuple[UInt8[np.ndarray, "H W 4"], str]:
    """Pixels and words of the PNG."""
    step = -(-max(stack.size) // LARGEST)
    picture, stack = picture[::step, ::step], thinned(stack, step)
    tiles = [with_alpha(picture), *(layer.rgba for layer in stack.layers)]
    widest = max(tile.shape[1] for tile in tiles)
    pixels = np.concatenate([np.pad(tile, ((0, 0), (0, widest - tile.shape[1]), (0, 0))) for tile in tiles])
    rows = [{"height": layer.rgba.shape[0], "width": layer.rgba.shape[1], **described(layer)} for layer in stack.layers]
    return pixels, json.dumps({"caption": caption, "size": list(stack.size), "layers": rows})


def thinned(stack: Stack, step: int) -> Stack:
    """Every `step`-th pixel of the picture and of its layers."""
    width, height = (-(-side // step) for side in stack.size)
    return Stack((width, height), tuple(_thinned(layer, step) for layer in stack.layers))


def _thinned(layer: Layer, step: int) -> Layer:
    x, y = (-(-place // step) for place in layer.offset)
    kept = layer.rgba[y * step - layer.offset[1] :: step, x * step - layer.offset[0] :: step]
    return replace(layer, rgba=kept if kept.size else np.zeros((1, 1, 4), np.uint8), offset=(x, y))


def unstrip(pixels: UInt8[np.ndarray, "H W 4"], words: str) -> Sample:
    """The sample that `strip` made into pixels and words."""
    kept = json.loads(words)
    width, height = kept["size"]
    shapes = [(row["height"], row["width"]) for row in kept["layers"]]
    picture, *layers = cut(pixels, [(height, width), *shapes])
    stack = Stack((width, height), tuple(map(layer_of, layers, kept["layers"])))
    return Sample(picture, stack, kept["caption"])


def cut(pixels: UInt8[np.ndarray, "H W 4"], shapes: Sequence[tuple[int, int]]) -> list[UInt8[np.ndarray, "h w 4"]]:
    """Tiles of (height, width) that lie below each other."""
    ends = np.cumsum([height for height, _ in shapes])
    return [pixels[end - height : end, :width] for end, (height, width) in zip(ends, shapes, strict=True)]
