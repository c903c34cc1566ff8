"""The table of shapes: one row a shape, its voxels packed to bits; for ShapeNet also sampled points.

`<family>-<split>-<number>.parquet`; `numpy.unpackbits(row, count=side**dims).reshape([side] * dims)` gives a shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from systems.parts.errors import UserError

Family = Literal["figures", "silhouettes", "boxes", "meshes", "shapenet"]
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
RESOLUTIONS = (16, 32, 64)
"""Grids by which ShapeNet's points were sampled, coarse to fine."""

SAMPLED = tuple(f"{kind}_{side}" for side in RESOLUTIONS for kind in ("points", "values"))
"""Columns of ShapeNet's points: coordinates q of 8 bits, (q + 0.5) / 256 - 0.5, and whether they lie inside."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("dims", pa.int64()),
        ("side", pa.int64()),
        ("parts", pa.string()),
        ("voxels", pa.binary()),
        ("sha256", pa.string()),
        *((name, pa.binary()) for name in SAMPLED),
    ]
)


@dataclass(frozen=True)
class Shapes:
    """The shapes of one family and split, in the order of their ids."""

    ids: list[str]
    sources: list[str]
    parts: list[Any]
    voxels: UInt8[np.ndarray, "n ..."]
    sampled: Mapping[str, UInt8[np.ndarray, "n ..."]]

    def __len__(self) -> int:
        return len(self.ids)


def row(
    name: str,
    voxels: UInt8[np.ndarray, ...],
    source: str = "",
    parts: object = None,
    sampled: Mapping[str, UInt8[np.ndarray, ...]] | None = None,
) -> dict[str, Any]:
    """A row of the table; raises `UserError` if a voxel is neither 0 nor 1 or the grid has unequal sides."""
    if voxels.max(initial=0) > 1:
        raise UserError(f"voxels of {name}: {voxels.max()} is among them; only 0 and 1 are allowed")
    if len(set(voxels.shape)) != 1:
        raise UserError(f"voxels of {name}: {' x '.join(map(str, voxels.shape))}; equal sides are wanted")
    bits = np.packbits(voxels).tobytes()
    points = {key: np.ascontiguousarray(values).tobytes() for key, values in (sampled or {}).items()}
    return {
        "id": name,
        "source": source or name,
        "dims": voxels.ndim,
        "side": len(voxels),
        "parts": json.dumps(parts or [], sort_keys=True),
        "voxels": bits,
        "sha256": sha256(bits).hexdigest(),
        **{key: points.get(key) for key in SAMPLED},
    }


def write(folder: Path, family: str, split: str, rows: Iterable[dict[str, Any]], shard: int) -> int:
    """Write rows to shards of at most `shard` rows; returns how many there were."""
    count = 0
    for number, some in enumerate(_pieces(rows, shard)):
        table = pa.Table.from_pylist(some, schema=SCHEMA)
        pq.write_table(table, folder / f"{family}-{split}-{number:05d}.parquet", compression="zstd")
        count += len(some)
    return count


def read(folder: Path, family: str, split: str) -> Shapes:
    """Every shape of a family and split; raises `UserError` if there are none."""
    paths = sorted(folder.glob(f"{family}-{split}-*.parquet"))
    if not paths:
        raise UserError(f"data set {folder}: no {split} shapes of family {family}")
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    side, dims = table["side"][0].as_py(), table["dims"][0].as_py()
    voxels = [unpacked(content, side, dims) for content in table["voxels"].to_pylist()]
    return Shapes(
        table["id"].to_pylist(),
        table["source"].to_pylist(),
        [json.loads(text) for text in table["parts"].to_pylist()],
        np.stack(voxels),
        {name: _sampled(table, name) for name in SAMPLED if table[name].null_count == 0},
    )


def unpacked(content: bytes, side: int, dims: int) -> UInt8[np.ndarray, ...]:
    """The voxels of a row."""
    return np.unpackbits(np.frombuffer(content, np.uint8), count=side**dims).reshape([side] * dims)


def _pieces(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    waiting = iter(rows)
    while piece := list(islice(waiting, size)):
        yield piece


def _sampled(table: pa.Table, name: str) -> UInt8[np.ndarray, "n ..."]:
    """Points [n, k, 3] or values [n, k] of every shape."""
    rows = [np.frombuffer(content, np.uint8) for content in table[name].to_pylist()]
    return np.stack([row.reshape(-1, 3) for row in rows] if name.startswith("points") else rows)
