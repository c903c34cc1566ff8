"""TIFF with a page a layer, the bottom one first.

Names and places stand in the tags PageName, XPosition and YPosition, which GIMP reads; TIFF knows no opacity, blend or
place left of the picture, so `ImageDescription` holds all of it as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from systems.parts.layered_files.folder import described, layer_of
from systems.parts.layered_files.stack import Layer, Stack

KIND = "delaminate layer"
PAGE_NAME, X_POSITION, Y_POSITION, FULL_WIDTH, FULL_HEIGHT = 285, 286, 287, 33300, 33301


def write(stack: Stack, path: Path) -> None:
    """Write the file; its bytes depend on the stack alone."""
    with tifffile.TiffWriter(path) as file:
        for layer in stack.layers:
            kept = {"kind": KIND, "size": list(stack.size), **described(layer)}
            file.write(
                layer.rgba,
                photometric="rgb",
                extrasamples=["unassalpha"],
                compression="adobe_deflate",
                description=json.dumps(kept),
                resolution=(1, 1),
                resolutionunit="none",
                software=False,
                metadata=None,
                contiguous=False,
                extratags=tags(stack, layer),
            )


def tags(stack: Stack, layer: Layer) -> list[tuple[int, str, int, Any, bool]]:
    """Name, place and size of the whole; a place left of or above the picture is no TIFF's."""
    x, y = layer.offset
    placed = [(X_POSITION, "2I", 1, (x, 1), True), (Y_POSITION, "2I", 1, (y, 1), True)] if min(x, y) >= 0 else []
    sizes = [(tag, "I", 1, length, True) for tag, length in zip((FULL_WIDTH, FULL_HEIGHT), stack.size, strict=True)]
    return [(PAGE_NAME, "s", 0, layer.name.encode(), True), *placed, *sizes]


def read(path: Path) -> Stack:
    """The stack in a file that this project wrote."""
    with tifffile.TiffFile(path) as file:
        pages = [(json.loads(page.aspage().description), page.asarray()) for page in file.pages]
    if any(not isinstance(kept, dict) or kept.get("kind") != KIND for kept, _ in pages):
        raise ValueError("its pages do not say that they are layers")
    width, height = pages[0][0]["size"]
    return Stack((width, height), tuple(layer_of(np.asarray(rgba), kept) for kept, rgba in pages))
