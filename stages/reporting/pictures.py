"""Pictures inside a page: data URIs of WebP, no larger than they have to be."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from stages.run import CAPTION

WIDEST = 900
"""Pixels a row of an embedded picture."""
THUMBNAIL = 320
"""Pixels a row in the overview."""
LARGEST = 64 << 10
"""Bytes of a picture that is embedded as it is; a larger one loses a little."""


def caption(path: Path) -> str:
    """What a PNG file says that it shows; empty if nothing."""
    with Image.open(path) as image:
        return str(image.text.get(CAPTION, "")) if isinstance(image, PngImageFile) else ""


def embedded(path: Path, widest: int = WIDEST) -> dict[str, Any]:
    """A picture as a data URI, with the size to show it in. The browser enlarges again what was enlarged before."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    times = enlargement(pixels)
    small = Image.fromarray(pixels[times // 2 :: times, times // 2 :: times])
    small.thumbnail((widest, sys.maxsize), Image.Resampling.LANCZOS)
    content = webp(small, lossless=True)
    if len(content) > LARGEST:
        content = webp(small, quality=85)
    uri = "data:image/webp;base64," + base64.b64encode(content).decode()
    return {"name": path.stem, "uri": uri, "width": small.width * times, "height": small.height * times, "times": times}


def enlargement(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """How many times a picture was enlarged without smoothing: the usual distance between columns that differ from the
    one before, or between such rows if that is less. Gaps between tiles may have any width.
    """
    changes = (np.flatnonzero(np.diff(pixels, axis=axis).any(axis=(1 - axis, 2))) for axis in (0, 1))
    usual = (int(np.bincount(np.diff(places), minlength=2).argmax()) for places in changes)
    return max(1, min(usual))


def webp(picture: Image.Image, **options: Any) -> bytes:
    """The bytes of a WebP file."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()
