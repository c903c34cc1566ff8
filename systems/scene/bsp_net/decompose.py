"""decompose@bsp_net: held-out shapes as convex pieces, polygons or polyhedra, by every discrete network.

python -m stages decompose bsp_net
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from pydantic import Field

from systems.parts.grids import grid
from systems.parts.run import Run, Strict
from systems.scene.bsp_net import files, pictures, pieces, storage
from systems.scene.bsp_net.network import BSPNet
from systems.scene.bsp_net.pieces import Piece
from systems.scene.bsp_net.shapes import Shapes, read

SHOWN = 8


class Params(Strict):
    """Parameters of the decomposition."""

    data: str = Field(description="data set whose test split is taken apart")
    model: str = Field(description="trained model, as bsp_net")
    files: int = Field(default=8, ge=0, description="solids of a family that get an OBJ and a GLB file")
    drop_inside: bool = Field(default=False, description="leave out convexes that are inside another one")


def decompose(run: Run[Params]) -> None:
    """Write `<family>-<seed>-phase<phase>.parquet` for every discrete network, and files that open elsewhere."""
    saved = storage.read_saved(run.inputs["model"])
    for network in saved.networks:
        if network.phase == 0:
            continue
        shapes = read(run.inputs["data"], network.family, "test")
        net = storage.load(run.inputs["model"], network)
        found = take_apart(run, net, shapes.voxels, network.label)
        pieces.write(run.output / f"{network.label}.parquet", shapes.ids, found)
        run.metric(f"pieces a shape/{network.label}", float(np.mean([len(some) for some in found])))
        save_files(run, network.label, shapes, found)
        caption = f"{network.label}: held-out shapes, what the network makes of them, its convexes by index."
        run.figure(network.label, picture_of(net, shapes, found), caption)


def take_apart(run: Run[Params], net: BSPNet, voxels: UInt8[np.ndarray, "n ..."], label: str) -> list[list[Piece]]:
    """The pieces of every shape, a few shapes at a time."""
    found: list[list[Piece]] = []
    for some in run.track(list(pieces.few(len(voxels), net.given.side, net.given.dims)), f"decompose {label}"):
        found += pieces.extract(net, torch.from_numpy(voxels[some]))
    return [pieces.outer(shape) for shape in found] if run.params.drop_inside else found


def save_files(run: Run[Params], label: str, shapes: Shapes, found: Sequence[Sequence[Piece]]) -> None:
    """An SVG of the first polygons, or the first solids as OBJ and GLB."""
    if shapes.voxels.ndim == 3:
        (run.output / f"{label}.svg").write_text(files.svg(found[:SHOWN]))
        return
    folder = run.output / label
    folder.mkdir()
    for name, some in list(zip(shapes.ids, found, strict=True))[: run.params.files]:
        if some:
            files.write_solid(folder / name, some)


def picture_of(net: BSPNet, shapes: Shapes, found: Sequence[Sequence[Piece]]) -> UInt8[np.ndarray, "H W 3"] | Figure:
    """Rows of shapes, of what the network takes to be inside, and of its convexes."""
    voxels = shapes.voxels[:SHOWN]
    inside = net.shapes(torch.from_numpy(voxels).float()).numpy().reshape(voxels.shape).astype(np.uint8)
    if voxels.ndim == 3:
        bodies = [[(piece.convex, piece.corners) for piece in some] for some in found[:SHOWN]]
        return grid([pictures.tiles(voxels), pictures.tiles(inside), pictures.painted(bodies, net.given.side)])
    cells = [[[(pictures.surface(solid), pictures.GREY)] for solid in some] for some in (voxels, inside)]
    return pictures.solids([*cells, list(map(pieces.painted, found[:SHOWN]))])
