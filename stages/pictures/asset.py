"""One picture of a source: what is known about it, how it is decoded, and how it is stored."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageOps

Kind = Literal["cutout", "glass", "photo", "mark", "light", "frost", "cell"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OPAQUE: tuple[Kind, ...] = ("photo", "light")
DEEP = {"I", "F", "I;16", "I;16B", "I;16L"}


class BadPicture(Exception):  # noqa: N818 - named for what it is about
    """A picture that cannot be used; the text says why, without the file's name."""


def decode(content: bytes) -> Image.Image:
    """The picture in a file's bytes, upright, RGB or RGBA; raises `BadPicture`."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(f"truncated or not a picture ({error})") from error
    if upright.mode in DEEP:
        raise BadPicture(f"has {upright.mode} pixels, 8 bits a channel are wanted")
    return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


@dataclass(frozen=True)
class Picture:
    """A picture as found in a source, not yet decoded. `origin` is its path there, `content` the bytes of its file."""

    kind: Kind
    origin: str
    phrase: str
    content: bytes
    licence: str
    author: str = ""
    render: Callable[[bytes], Image.Image] = decode

    def pixels(self, max_side: int) -> Image.Image:
        """RGB for photos and lights, else RGBA with straight alpha; the longer side is at most `max_side` pixels."""
        image = self.render(self.content)
        if self.kind in OPAQUE:
            image = image.convert("RGB")
        elif (image := image.convert("RGBA")).getchannel("A").getextrema()[1] == 0:
            raise BadPicture("alpha is zero everywhere")
        scale = max_side / max(image.size)
        if scale >= 1:
            return image
        # Pillow premultiplies RGBA by itself while it resamples, so colours under zero alpha do not bleed.
        return image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
        )


def encode(image: Image.Image) -> bytes:
    """Lossless WebP at the fastest setting; `exact` keeps the colours under zero alpha."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True, method=0, quality=0)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()


def words(name: str) -> str:
    """A file name as lower-case words: `claw_hammer5.png` and `clawHammer` both give `claw hammer`."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", stem)
    return " ".join(re.sub(r"[\W\d_]+", " ", parts).lower().split()) or stem
