"""Triangle meshes in one Parquet file: a row a mesh, corners and triangles as flat lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int32

from systems.parts.errors import UserError

NAME = "meshes.parquet"
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("origin", pa.string()),
        ("licence", pa.string()),
        ("corners", pa.list_(pa.float32())),
        ("triangles", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True)
class Mesh:
    """Corners and triangles, these counter-clockwise seen from outside; `origin` is the package and file."""

    name: str
    origin: str
    licence: str
    corners: Float32[np.ndarray, "v 3"]
    triangles: Int32[np.ndarray, "t 3"]

    @property
    def is_closed(self) -> bool:
        """Whether every edge is run through once in each direction."""
        edges = np.concatenate([self.triangles[:, [a, (a + 1) % 3]] for a in range(3)]).astype(np.int64)
        there, back = (edges[:, a] * len(self.corners) + edges[:, 1 - a] for a in range(2))
        return len(np.unique(there)) == len(there) and bool(np.isin(there, back).all())


def write_meshes(folder: Path, meshes: Sequence[Mesh]) -> None:
    """Write `meshes.parquet`."""
    rows = [{**vars(mesh), "corners": mesh.corners.ravel(), "triangles": mesh.triangles.ravel()} for mesh in meshes]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / NAME, row_group_size=8, compression="zstd")


def read_meshes(folder: Path) -> list[Mesh]:
    """The inverse of `write_meshes`."""
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"source {folder}: no {NAME}; run `python -m stages fetch meshes`")
    return [_mesh(row) for row in pq.read_table(path).to_pylist()]


def _mesh(row: dict[str, Any]) -> Mesh:
    corners = np.array(row.pop("corners"), np.float32).reshape(-1, 3)
    triangles = np.array(row.pop("triangles"), np.int32).reshape(-1, 3)
    return Mesh(**row, corners=corners, triangles=triangles)
