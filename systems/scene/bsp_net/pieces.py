"""Convexes of shapes as their rows are stored: for each the corners and, for solids, the faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from systems.scene.bsp_net import polygons, polyhedra
from systems.scene.bsp_net.layers import INSIDE
from systems.scene.bsp_net.network import BSPNet, centres
from systems.scene.bsp_net.pictures import Painted, colour
from systems.scene.bsp_net.polygons import Polygon
from systems.scene.bsp_net.polyhedra import Polyhedron

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("convex", pa.int64()),
        ("corners", pa.list_(pa.list_(pa.float64()))),
        ("faces", pa.list_(pa.list_(pa.int64()))),
    ]
)
CELLS = 1 << 17
"""Cells whose distances are held at once."""

LEAST = 1e-9
"""Area or volume below which a piece is nothing."""


@dataclass(frozen=True)
class Piece:
    """One convex of one shape: its index, the same for all shapes, and its polygon or polyhedron."""

    convex: int
    body: Polygon | Polyhedron

    @property
    def corners(self) -> Float[np.ndarray, "k d"]:
        """Corners, in order where the body is a polygon."""
        return self.body.corners if isinstance(self.body, Polyhedron) else self.body

    def contains(self, points: Float[np.ndarray, "n d"], slack: float = 1e-7) -> Bool[np.ndarray, " n"]:
        """Which points lie in it."""
        if isinstance(self.body, Polyhedron):
            return polyhedra.contains(self.body, points, slack)
        return polygons.contains(self.body, points, slack)

    def row(self, name: str) -> dict[str, Any]:
        """The row of the piece of shape `name`."""
        faces = self.body.faces if isinstance(self.body, Polyhedron) else (tuple(range(len(self.body))),)
        return {"id": name, "convex": self.convex, "corners": self.corners.tolist(), "faces": faces}


def few(count: int, side: int, dims: int) -> Iterator[slice]:
    """Slices of so few shapes that the distances of all their cells to all convexes fit into memory."""
    step = max(1, CELLS // side**dims)
    return (slice(start, start + step) for start in range(0, count, step))


@torch.no_grad()
def extract(net: BSPNet, voxels: UInt8[Tensor, "b ..."]) -> list[list[Piece]]:
    """Pieces of every shape: of each convex that contains a cell of the grid, in the order of the convexes."""
    planes = net.encoder(voxels.float())
    points = centres(net.given.side, net.given.dims)
    used = (net.distances(planes, points.expand(len(voxels), -1, -1)).amin(1) < INSIDE).numpy()
    bounds = (net.T > INSIDE).numpy()
    rows = -torch.cat(planes, dim=1).transpose(1, 2).double().numpy()
    return [
        [piece for j in np.flatnonzero(used[shape]).tolist() if (piece := _piece(j, rows[shape][bounds[:, j]]))]
        for shape in range(len(voxels))
    ]


def _piece(convex: int, planes: Float[np.ndarray, "p d1"]) -> Piece | None:
    """None where nothing is left between the planes: a convex may contain a cell by its tolerance alone."""
    if planes.shape[1] == 3:
        polygon = polygons.extract(planes)
        return Piece(convex, polygon) if len(polygon) > 2 and polygons.area(polygon) > LEAST else None
    solid = polyhedra.extract(planes)
    return Piece(convex, solid) if solid.volume > LEAST else None


def outer(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces that are not inside another one; of equal ones the first stays."""
    kept = list(pieces)
    for piece in reversed(pieces):
        others = (other for other in kept if other is not piece)
        if any(other.contains(piece.corners).all() for other in others):
            kept = [other for other in kept if other is not piece]
    return kept


def painted(pieces: Sequence[Piece]) -> list[Painted]:
    """The pieces of a solid in the colours of their convexes, to be drawn."""
    return [
        (piece.body.corners[piece.body.triangles], colour(piece.convex))
        for piece in pieces
        if isinstance(piece.body, Polyhedron)
    ]


def rasterised(pieces: Sequence[Piece], side: int, dims: int) -> Bool[np.ndarray, " n"]:
    """Which cells of a grid lie in any of the pieces."""
    points = centres(side, dims).double().numpy()
    drawn = np.zeros(len(points), bool)
    for piece in pieces:
        drawn |= piece.contains(points)
    return drawn


def write(path: Path, names: Sequence[str], shapes: Sequence[Sequence[Piece]]) -> None:
    """Write the pieces of shapes as one Parquet file."""
    rows = [piece.row(name) for name, pieces in zip(names, shapes, strict=True) for piece in pieces]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd")


def read(path: Path, names: Sequence[str]) -> list[list[Piece]]:
    """The pieces of the shapes named, in their order; a shape without any has an empty list."""
    found: dict[str, list[Piece]] = {name: [] for name in names}
    for row in pq.read_table(path).to_pylist():
        corners = np.array(row["corners"])
        body = corners if corners.shape[1] == 2 else Polyhedron(corners, tuple(map(tuple, row["faces"])))
        if row["id"] in found:
            found[row["id"]].append(Piece(row["convex"], body))
    return list(found.values())
