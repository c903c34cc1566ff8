"""Files that open elsewhere: OBJ and GLB of a solid's convexes, SVG of polygons; equal pieces give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import trimesh

from systems.scene.bsp_net.pictures import colour
from systems.scene.bsp_net.pieces import Piece
from systems.scene.bsp_net.polyhedra import Polyhedron

TILE = 100
"""Width of a shape in an SVG."""


def write_solid(stem: Path, pieces: Sequence[Piece]) -> None:
    """`stem`.obj with an object a convex and its faces whole, and `stem`.glb with a coloured mesh a convex."""
    stem.with_suffix(".obj").write_text("".join(_obj(pieces)))
    scene = trimesh.Scene()
    for piece, solid in _solids(pieces):
        hues = np.tile([round(255 * part) for part in (*colour(piece.convex), 1)], (len(solid.corners), 1))
        mesh = trimesh.Trimesh(solid.corners, solid.triangles, process=False, vertex_colors=hues)
        scene.add_geometry(mesh, node_name=f"convex-{piece.convex}", geom_name=f"convex-{piece.convex}")
    stem.with_suffix(".glb").write_bytes(scene.export(file_type="glb"))  # type: ignore[no-untyped-call]


def _solids(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Polyhedron]]:
    yield from ((piece, piece.body) for piece in pieces if isinstance(piece.body, Polyhedron))


def _obj(pieces: Sequence[Piece]) -> Iterator[str]:
    before = 1
    for piece, solid in _solids(pieces):
        yield f"o convex-{piece.convex}\n"
        yield from (f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in solid.corners)
        yield from (f"f {' '.join(str(before + corner) for corner in loop)}\n" for loop in solid.faces)
        before += len(solid.corners)


def svg(shapes: Sequence[Sequence[Piece]]) -> str:
    """A row of shapes in the plane, their polygons in the colours of their convexes; (row, column) is (y, x)."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {TILE * len(shapes)} {TILE}">']
    for number, pieces in enumerate(shapes):
        for piece in pieces:
            red, green, blue = (round(255 * part) for part in colour(piece.convex))
            points = " ".join(f"{TILE * (x + 0.5 + number):.3f},{TILE * (y + 0.5):.3f}" for y, x in piece.corners)
            style = f'fill="rgb({red},{green},{blue})" fill-opacity="0.7" stroke="black" stroke-width="0.3"'
            lines.append(f'<polygon id="shape-{number}-convex-{piece.convex}" points="{points}" {style}/>')
    return "\n".join([*lines, "</svg>", ""])
