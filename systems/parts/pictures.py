"""Pictures in tables: lossless, in image columns that pandas, pyarrow and Hugging Face `datasets` open alike."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, UInt8
from PIL import Image

from systems.parts.errors import UserError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The storage of the `datasets` feature Image."""

Codec = Literal["webp", "tiff"]
"""WebP makes small files; TIFF, compressed by its table only, takes a fifth of the time and twice the room."""

OPTIONS: Mapping[Codec, Mapping[str, Any]] = {
    "webp": {"lossless": True, "exact": True, "method": 0, "quality": 0},
    "tiff": {},
}
TIFF = (b"II*\0", b"MM\0*")
"""How a TIFF begins."""

TINY = 1e-6
"""Alpha below which a colour means nothing."""

TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def encode(picture: UInt8[np.ndarray, "h w c"], codec: Codec = "webp") -> bytes:
    """RGB or straight-alpha RGBA without loss: WebP at its fastest setting, or bare TIFF; hidden colours are kept.

    WebP would forget an alpha that is opaque everywhere; such a picture is written as PNG.
    """
    buffer = io.BytesIO()
    if codec == "webp" and picture.shape[2] == 4 and picture[..., 3].min() == 255:
        Image.fromarray(picture).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, codec.upper(), **OPTIONS[codec])
    return buffer.getvalue()


def decode(content: bytes) -> UInt8[np.ndarray, "h w c"]:
    """RGB or straight-alpha RGBA of encoded bytes."""
    picture = _tiff(content) if content[:4] in TIFF else _coded(content)
    if picture is None:
        raise UserError(f"picture of {len(content)} bytes: truncated or not a picture")
    return picture


def _tiff(content: bytes) -> UInt8[np.ndarray, "h w c"] | None:
    """By Pillow: OpenCV would multiply the colours by their alpha."""
    with warnings.catch_warnings(action="ignore"):  # a broken file is refused in our own words
        try:
            return np.array(Image.open(io.BytesIO(content)))
        except OSError:
            return None


def _coded(content: bytes) -> UInt8[np.ndarray, "h w c"] | None:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    return None if picture is None else cv2.cvtColor(picture, TO_RGB[picture.shape[2]])


def digest(picture: UInt8[np.ndarray, "h w c"]) -> str:
    """sha256 of the pixels, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()


def alpha_of(picture: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w"]:
    """The alpha channel, contiguous: arithmetic over strided channels costs several times as much."""
    return cv2.extractChannel(picture, 3)


def colour_of(picture: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 3"]:
    """The colour channels, contiguous."""
    return cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB)


def thrice(plane: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """A plane as three equal channels."""
    return cv2.merge((plane, plane, plane))


def rgba(colour: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 4"]:
    """Colour and alpha in one picture."""
    picture = cv2.cvtColor(colour, cv2.COLOR_RGB2RGBA)
    return cv2.insertChannel(alpha, picture, 3)


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample RGB (uint8 or float) or RGBA (float) to [height, width, c].

    Straight alpha is premultiplied meanwhile, so that colours under zero alpha do not bleed.
    """
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if picture.shape[2] == 3:
        return cv2.resize(picture, (width, height), interpolation=how)
    return unpremultiply(cv2.resize(premultiply(picture), (width, height), interpolation=how))


def premultiply(picture: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    """Colours times alpha."""
    alpha = alpha_of(picture)
    return rgba(colour_of(picture) * thrice(alpha), alpha)


def unpremultiply(flat: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    """Straight colours of premultiplied ones, 0..1; black where alpha is zero."""
    alpha = alpha_of(flat)
    return rgba(np.minimum(colour_of(flat) / thrice(np.maximum(alpha, TINY)), 1), alpha)


def unit(picture: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w c"]:
    """0..255 to 0..1 in float32."""
    return picture * np.float32(1 / 255)


def quantise(picture: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """0..1 to 0..255, rounded and clipped; black where an alpha comes out as zero."""
    out = cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)
    return out if out.shape[2] == 3 else cv2.bitwise_and(out, out, mask=alpha_of(out))


def image_column(
    pictures: Iterable[UInt8[np.ndarray, "h w c"]], names: Iterable[str] | None = None, codec: Codec = "webp"
) -> pa.Array:
    """An image column of encoded pictures, with file names where given."""
    contents = [encode(picture, codec) for picture in pictures]
    paths = list(names) if names is not None else [None] * len(contents)
    rows = [{"bytes": content, "path": path} for content, path in zip(contents, paths, strict=True)]
    return pa.array(rows, type=IMAGE)


def write_table(table: pa.Table, path: Path | BinaryIO, rows: int = 50) -> None:
    """Parquet with `rows` rows a group and the metadata by which `datasets` decodes the image columns."""
    images = {field.name: {"_type": "Image"} for field in table.schema if field.type == IMAGE}
    note = json.dumps({"info": {"features": {**_features(table.schema), **images}}}, sort_keys=True)
    metadata = {**(table.schema.metadata or {}), b"huggingface": note.encode()}
    plain = [name for name in table.column_names if name not in images]  # sorting out equal pictures takes time only
    table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=rows, compression="zstd", use_dictionary=plain, write_statistics=plain)


def _features(schema: pa.Schema) -> Mapping[str, object]:
    def feature(kind: pa.DataType) -> object:
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}

    return {field.name: feature(field.type) for field in schema if field.type != IMAGE}
