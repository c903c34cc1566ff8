"""A folder of PNGs with `layers.json`, which holds what a PNG does not: order, place, opacity, blend."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from systems.parts.layered_files.stack import Layer, Stack

CONTENTS = "layers.json"
LEVEL = 3
"""Of zlib: half the time of the usual 6 for a few per cent more."""


def write(stack: Stack, path: Path) -> None:
    """Make folder `path`: `<name>.png` for each layer, or a number where a name is no file's, and `layers.json`."""
    path.mkdir()
    names = file_names([layer.name for layer in stack.layers])
    for layer, name in zip(stack.layers, names, strict=True):
        Image.fromarray(pixels(layer)).save(path / name, compress_level=LEVEL)
    contents = {
        "size": list(stack.size),
        "bottom_to_top": [layer.name for layer in stack.layers],
        "layers": [{"file": name, **described(layer)} for layer, name in zip(stack.layers, names, strict=True)],
    }
    (path / CONTENTS).write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Stack:
    """The stack in a folder."""
    contents = json.loads((path / CONTENTS).read_text())
    width, height = contents["size"]
    return Stack((width, height), tuple(layer_of(rgba_of(path, row["file"]), row) for row in contents["layers"]))


def rgba_of(path: Path, name: str) -> np.ndarray:
    """Pixels of a file of the folder itself."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} names no file in the folder")
    with Image.open(path / name) as image:
        return np.asarray(image.convert("RGBA"))


def pixels(layer: Layer) -> np.ndarray:
    """The layer as a picture, without its alpha where that is opaque everywhere."""
    return layer.rgba if layer.rgba[..., 3].min() < 255 else np.ascontiguousarray(layer.rgba[..., :3])


def described(layer: Layer) -> dict[str, Any]:
    """All of a layer but its pixels, as JSON knows it."""
    x, y = layer.offset
    rest = {"opacity": layer.opacity, "blend": layer.blend, "visible": layer.visible}
    return {"name": layer.name, "x": x, "y": y, **rest}


def layer_of(rgba: np.ndarray, row: dict[str, Any]) -> Layer:
    """The layer that `described` describes."""
    place, rest = (int(row["x"]), int(row["y"])), (float(row["opacity"]), str(row["blend"]), bool(row["visible"]))
    return Layer(str(row["name"]), rgba, place, *rest)


def file_names(names: Sequence[str]) -> list[str]:
    """`<name>.png` where that is a plain word no other layer has, whatever its capitals, else `layer.<number>.png`."""
    words = [name.lower() for name in names]
    plain = [re.fullmatch(r"[\w-]{1,60}", word) and words.count(word) == 1 for word in words]
    pairs = enumerate(zip(names, plain, strict=True), 1)
    return [f"{name}.png" if fits else f"layer.{number:02d}.png" for number, (name, fits) in pairs]
