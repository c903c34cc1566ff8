"""What a person looks at: tiles of shapes in the plane, drawings of solids, convexes in the colour of their index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from systems.parts.grids import grid
from systems.scene.bsp_net.polygons import Polygon, contains

GREY = (0.62, 0.66, 0.72)
LIGHT = np.array([0.35, -0.5, 0.8])
"""Direction to the lamp of drawings in space."""

TILE = 128
"""Side of a tile of a shape in the plane, px."""

TALLEST = 2.0
"""Width and height of one drawing in space, inches."""

Faces: TypeAlias = Float[np.ndarray, "f k 3"]
Painted: TypeAlias = tuple[Faces, tuple[float, float, float]]
"""Faces of equally many corners, and their colour."""


def colour(index: int) -> tuple[float, float, float]:
    """The colour of a convex: the same in every shape; 40 of them before they repeat."""
    palette = [*colormaps["tab20"].colors, *colormaps["tab20b"].colors]  # type: ignore[attr-defined]
    red, green, blue = palette[index % len(palette)]
    return red, green, blue


def shapes(voxels: UInt8[np.ndarray, "n ..."]) -> UInt8[np.ndarray, "H W 3"] | Figure:
    """A row of shapes, in the plane or in space."""
    if voxels.ndim == 3:
        return grid([tiles(voxels)])
    return solids([[[(surface(solid), GREY)] for solid in voxels]])


def tiles(planes: UInt8[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n H W 3"]:
    """0 and 1 as white and dark, in whole pixels a cell up to the side of a tile."""
    times = max(1, TILE // planes.shape[1])
    grey = np.where(planes[..., None] > 0, np.uint8(40), np.uint8(255)).repeat(3, -1)
    enlarged: UInt8[np.ndarray, "n H W 3"] = grey.repeat(times, 1).repeat(times, 2)
    return enlarged


def painted(shapes: Sequence[Sequence[tuple[int, Polygon]]], side: int) -> UInt8[np.ndarray, "n H W 3"]:
    """Polygons (row, column) in the colours of their convexes, as large as `tiles`; where they overlap, mixed."""
    side *= max(1, TILE // side)
    middle = ((np.indices((side, side)) + 0.5) / side - 0.5).reshape(2, -1).T
    out = np.full((len(shapes), len(middle), 3), 255, np.uint8)
    for picture, bodies in zip(out, shapes, strict=True):
        within = np.array([contains(polygon, middle) for _, polygon in bodies]).reshape(len(bodies), len(middle))
        colours = np.array([colour(index) for index, _ in bodies]).reshape(len(bodies), 3)
        count = within.sum(axis=0)
        mixed = within.T @ colours / np.maximum(count, 1)[:, None]
        picture[count > 0] = np.rint(255 * mixed[count > 0])
    return out.reshape(len(shapes), side, side, 3)


def surface(solid: UInt8[np.ndarray, "s s s"]) -> Faces:
    """The squares between cells inside and cells outside, in -0.5..0.5."""
    padded, side = np.pad(solid, 1), len(solid)
    faces = []
    for axis in range(3):
        step = np.diff(padded.astype(np.int8), axis=axis)
        cells = np.argwhere(step != 0).astype(float)
        square = np.insert(np.array([(0, 0), (0, 1), (1, 1), (1, 0)]), axis, 0, axis=1)
        lower = cells - 1
        lower[:, axis] += 1
        quads = lower[:, None] + square
        backwards = step[step != 0] < 0
        quads[backwards != (axis == 1)] = quads[backwards != (axis == 1)][:, ::-1]
        faces.append(quads / side - 0.5)
    squares: Faces = np.concatenate(faces)
    return squares


def shaded(faces: Faces, base: tuple[float, float, float]) -> Float[np.ndarray, "f 3"]:
    """A face is brighter the more it looks towards the lamp."""
    normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = 0.55 + 0.45 * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    hues: Float[np.ndarray, "f 3"] = np.clip(light[:, None] * base, 0, 1)
    return hues


def solids(rows: Sequence[Sequence[Sequence[Painted]]]) -> Figure:
    """Rows of drawings in space, each of some painted faces."""
    width = max(map(len, rows))
    figure = Figure(figsize=(TALLEST * width, TALLEST * len(rows)))
    for number, row in enumerate(rows):
        for place, scene in enumerate(row):
            axes = figure.add_subplot(len(rows), width, number * width + place + 1, projection="3d")
            for faces, base in scene:
                hues = shaded(faces, base)
                collection = Poly3DCollection(faces, facecolors=hues, edgecolors=hues, linewidths=0.2)
                axes.add_collection3d(collection)
            axes.set(xlim=(-0.4, 0.4), ylim=(-0.4, 0.4), zlim=(-0.4, 0.4))
            axes.view_init(elev=22, azim=-60)
            axes.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    return figure


def curves(lines: dict[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> Figure:
    """Curves over a common axis."""
    figure = Figure(figsize=(6, 3.6))
    axes = figure.add_subplot()
    for label, (xs, ys) in lines.items():
        axes.plot(xs, ys, marker="o", markersize=3, label=label)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure
