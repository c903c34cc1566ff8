"""Files of strangers to pictures that can be taken apart; the others are named with what is wrong with them."""

from __future__ import annotations

import io
import re
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from systems.image_layers.mulan.providers import Picture

LEAST_SIDE = 8
MOST_PIXELS = 25_000_000
"""As of a person's own picture: a camera of 24 megapixels and its margin."""
LONGEST = 16
"""Longer side over shorter side."""
PLAIN = {"1", "L", "LA", "P", "RGB", "RGBA"}
DEEP = re.compile(r";16[BLN]")
"""In the names that Pillow has for what a file holds, where it would bring 16 bits a channel to 8 without a word."""


class SetAsideError(Exception):
    """A picture that is not taken apart; the text says why, without its name."""


def opened(content: bytes) -> Picture:
    """RGB pixels of a picture file, upright; what is transparent shows white."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            check(image)
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SetAsideError("truncated or not a picture") from error
    rgba = upright.convert("RGBA")
    if rgba.getchannel("A").getextrema()[1] == 0:
        raise SetAsideError("transparent everywhere")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def check(image: Image.Image) -> None:
    """Refuse what the header alone shows to be unfit."""
    width, height = image.size
    if getattr(image, "n_frames", 1) > 1:
        raise SetAsideError(f"animated, {getattr(image, 'n_frames', 1)} frames")
    if image.mode not in PLAIN:
        raise SetAsideError(f"{image.mode} pixels; RGB or grey of 8 bits a channel are wanted")
    if DEEP.search(str(getattr(image, "tile", ""))):
        raise SetAsideError("16 bits a channel; 8 are wanted")
    if min(width, height) < LEAST_SIDE:
        raise SetAsideError(f"{width} x {height} px; at least {LEAST_SIDE} px a side are wanted")
    if max(width, height) > LONGEST * min(width, height):
        raise SetAsideError(f"{width} x {height} px; at most {LONGEST} times as long as wide is wanted")
    if width * height > MOST_PIXELS:
        raise SetAsideError(f"{width} x {height} px; at most {MOST_PIXELS // 1_000_000} megapixels are wanted")


def bounded(picture: Picture, side: int) -> Picture:
    """The picture, shrunk where its longer side has more than `side` px."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
