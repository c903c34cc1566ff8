"""Pictures in tables: lossless WebP in the image columns that pandas, pyarrow and Hugging Face `datasets` open alike."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, UInt8
from PIL import Image

from systems.parts.errors import UserError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The storage of the `datasets` feature Image."""

TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def encode(picture: UInt8[np.ndarray, "h w c"]) -> bytes:
    """RGB or straight-alpha RGBA to lossless WebP at the fastest setting; colours under zero alpha are kept."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=True, exact=True, method=0, quality=0)
    return buffer.getvalue()


def decode(content: bytes) -> UInt8[np.ndarray, "h w c"]:
    """RGB or straight-alpha RGBA of encoded bytes."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise UserError(f"picture of {len(content)} bytes: truncated or not a picture")
    return cv2.cvtColor(picture, TO_RGB[picture.shape[2]])  # type: ignore[return-value]


def digest(picture: UInt8[np.ndarray, "h w c"]) -> str:
    """sha256 of the pixels, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()


def resize(picture: Float[np.ndarray, "h w c"], height: int, width: int) -> Float[np.ndarray, "height width c"]:
    """Resample in float; straight alpha is premultiplied meanwhile, so colours under zero alpha do not bleed."""
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if picture.shape[2] == 3:
        return cv2.resize(picture, (width, height), interpolation=how)
    colour, alpha = picture[..., :3], picture[..., 3:]
    flat = cv2.resize(np.concatenate((colour * alpha, alpha), axis=2), (width, height), interpolation=how)
    return unpremultiply(flat)


def unpremultiply(flat: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    """Straight colours of premultiplied ones; black where alpha is zero."""
    alpha = flat[..., 3:]
    colour = np.divide(flat[..., :3], alpha, out=np.zeros_like(flat[..., :3]), where=alpha > 0)
    return np.concatenate((colour.clip(0, 1), alpha), axis=2)


def quantise(picture: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """0..1 to 0..255, rounded and clipped; black where an alpha comes out as zero."""
    out = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    if out.shape[2] == 4:
        out[out[..., 3] == 0] = 0
    return out


def image_column(pictures: Iterable[UInt8[np.ndarray, "h w c"]], names: Iterable[str] | None = None) -> pa.Array:
    """An image column of encoded pictures, with file names where given."""
    contents = [encode(picture) for picture in pictures]
    paths = list(names) if names is not None else [None] * len(contents)
    rows = [{"bytes": content, "path": path} for content, path in zip(contents, paths, strict=True)]
    return pa.array(rows, type=IMAGE)


def write_table(table: pa.Table, path: Path, rows: int = 50) -> None:
    """Parquet with `rows` rows a group and the metadata by which `datasets` decodes the image columns."""
    images = {field.name: {"_type": "Image"} for field in table.schema if field.type == IMAGE}
    note = json.dumps({"info": {"features": {**_features(table.schema), **images}}}, sort_keys=True)
    metadata = {**(table.schema.metadata or {}), b"huggingface": note.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows, compression="zstd")


def _features(schema: pa.Schema) -> Mapping[str, object]:
    def feature(kind: pa.DataType) -> object:
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}

    return {field.name: feature(field.type) for field in schema if field.type != IMAGE}
