"""Samples that a person can take apart and together in the page: a picture, its layers, and what they flatten to.

The page blends by itself and needs exact straight colours, which no browser gives of a picture with alpha. So a layer
is embedded as an opaque picture of twice its height: the colours, and below them the alpha.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stages.reporting.pictures import caption, webp
from systems.parts.layered_files.folder import described
from systems.parts.layered_files.strip import FOLDER, unstrip


def samples(plots: Path) -> Iterator[dict[str, Any]]:
    """Every sample among the plots of a stage."""
    for path in sorted((plots / FOLDER).glob("*.png")):
        with Image.open(path) as image:
            sample = unstrip(np.asarray(image.convert("RGBA")), caption(path))
        width, height = sample.stack.size
        yield {
            "name": path.stem,
            "caption": sample.caption,
            "width": width,
            "height": height,
            "picture": embedded(sample.picture),
            "layers": [{**described(layer), **embedded(layer.rgba)} for layer in sample.stack.layers],
        }


def embedded(rgba: UInt8[np.ndarray, "h w 4"]) -> dict[str, Any]:
    """Size and data URI of the colours with the alpha below them; what cannot be seen is black."""
    alpha = rgba[..., 3:]
    pixels = np.concatenate((rgba[..., :3] * (alpha > 0), alpha.repeat(3, axis=2)))
    content = base64.b64encode(webp(Image.fromarray(pixels), lossless=True)).decode()
    return {"width": rgba.shape[1], "height": rgba.shape[0], "uri": f"data:image/webp;base64,{content}"}
