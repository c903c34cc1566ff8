"""A sample for the gallery of the report: a picture and its layers in one PNG, which `run.figure` records.

    run.figure(f"stacks/{name}", *strip(picture, stack, "What it shows."))

The tiles lie below each other: the picture, then every layer from the bottom. What the words of a PNG hold tells them
apart again. A page carries all its samples, so they are small: 256 px a side and a dozen a system are many.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from systems.parts.layered_files.folder import described, layer_of
from systems.parts.layered_files.stack import Stack, with_alpha

FOLDER = "stacks"
"""Where among a stage's plots the report looks for samples."""


@dataclass(frozen=True)
class Sample:
    """A picture, the layers found in it, and a sentence that says what it is."""

    picture: UInt8[np.ndarray, "h w 4"]
    stack: Stack
    caption: str


def strip(picture: UInt8[np.ndarray, "h w c"], stack: Stack, caption: str) -> tuple[UInt8[np.ndarray, "H W 4"], str]:
    """Pixels and words of the PNG."""
    tiles = [with_alpha(picture), *(layer.rgba for layer in stack.layers)]
    widest = max(tile.shape[1] for tile in tiles)
    pixels = np.concatenate([np.pad(tile, ((0, 0), (0, widest - tile.shape[1]), (0, 0))) for tile in tiles])
    rows = [{"height": layer.rgba.shape[0], "width": layer.rgba.shape[1], **described(layer)} for layer in stack.layers]
    return pixels, json.dumps({"caption": caption, "size": list(stack.size), "layers": rows})


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
