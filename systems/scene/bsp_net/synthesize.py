"""synthesize@bsp_net: shapes in the plane and in space, by rule, from pictures and from meshes.

python -m stages synthesize bsp_net
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from systems.parts.errors import UserError
from systems.parts.labelled_pictures import read as read_pictures
from systems.parts.meshes import read_meshes
from systems.parts.run import Run, Strict
from systems.scene.bsp_net import pictures, shapenet, toys
from systems.scene.bsp_net.shapes import SPLITS, Family, Split, read, row, write
from systems.scene.bsp_net.voxelise import normalised, turned, voxelise

SHOWN = 10
GREY = 255


class Count(Strict):
    """How many shapes of a family there are; none at all leaves the family out."""

    train: int = Field(ge=0, description="shapes to learn from")
    test: int = Field(ge=0, description="held-out shapes")
    side: int = Field(default=32, ge=8, description="voxels a side; the authors' figures always have 64")


class Params(Strict):
    """Parameters of the data set."""

    sources: str = Field(default="", description="fetched meshes, for the family meshes")
    pictures: str = Field(default="", description="fetched grey pictures, for the family silhouettes")
    shapenet: str = Field(default="", description="folder with ShapeNet's HDF5 files, for the family shapenet")
    seed: int = Field(default=0, ge=0, description="seed of the shapes made by rule and of the choice of pictures")
    shard: int = Field(default=2000, gt=0, description="shapes a file at most")
    threshold: float = Field(default=0.2, gt=0, lt=1, description="grey above which a picture's pixel is inside")
    figures: Count = Field(default=Count(train=4000, test=50, side=64), description="diamond, cross and hollow diamond")
    silhouettes: Count = Field(default=Count(train=2000, test=200), description="outlines of Fashion-MNIST")
    boxes: Count = Field(default=Count(train=500, test=32, side=16), description="unions of boxes in space")
    meshes: Count = Field(
        default=Count(train=48, test=6), description="train: positions of a mesh, at most 48; test: held-out meshes"
    )


Rows = Iterator[dict[str, Any]]


def synthesize(run: Run[Params]) -> None:
    """Write the shards of every family that is asked for, and show some shapes of each."""
    for family, split in itertools.product(families(run.params), SPLITS):
        rows = run.track(MAKERS[family](run, split), f"{family} {split}")
        run.metric(f"shapes/{family}/{split}", write(run.output, family, split, rows, run.params.shard))
    for family in families(run.params):
        shown = read(run.output, family, "test").voxels[:SHOWN]
        run.figure(f"{family}-samples", pictures.shapes(shown), f"Held-out shapes of the family {family}.")


def families(params: Params) -> list[Family]:
    """Those that are asked for."""
    counted: tuple[Family, ...] = ("figures", "silhouettes", "boxes", "meshes")
    asked = [family for family in counted if getattr(params, family).test]
    for family, name in (("silhouettes", "pictures"), ("meshes", "sources")):
        if family in asked and not getattr(params, name):
            raise UserError(f"parameter {name} is empty: the family {family} needs a fetched source")
    return [*asked, "shapenet"] if params.shapenet else asked


def figures(run: Run[Params], split: Split) -> Rows:
    """The authors' toy: three figures in the plane."""
    for number in range(getattr(run.params.figures, split)):
        name = f"figures-{split}-{number:05d}"
        parts = toys.figures(run.generator(name))
        yield row(name, toys.draw(parts), parts=list(map(asdict, parts)))


def silhouettes(run: Run[Params], split: Split) -> Rows:
    """Outlines of pictures, drawn at random from their own train and test parts."""
    stored = read_pictures(run.inputs["pictures"], split)
    count = getattr(run.params.silhouettes, split)
    if count > len(stored):
        raise UserError(f"parameter silhouettes.{split} = {count}: the source has {len(stored)} pictures")
    for number in np.sort(run.generator("silhouettes", split).permutation(len(stored))[:count]).tolist():
        voxels = outline(stored.pictures[number], run.params.silhouettes.side, run.params.threshold)
        yield row(f"silhouettes-{split}-{number:05d}", voxels, parts=int(stored.labels[number]))


def outline(picture: UInt8[np.ndarray, "h w"], side: int, threshold: float) -> UInt8[np.ndarray, "s s"]:
    """Resampled, then 1 where it is brighter than a share of full white."""
    smooth = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
    return (smooth > threshold * GREY).astype(np.uint8)


def boxes(run: Run[Params], split: Split) -> Rows:
    """Unions of boxes in space."""
    for number in range(getattr(run.params.boxes, split)):
        name = f"boxes-{split}-{number:05d}"
        yield row(name, toys.boxes(run.generator(name), run.params.boxes.side))


def meshes(run: Run[Params], split: Split) -> Rows:
    """Voxels of meshes: those held out as they stand, all others in several positions, the first as they stand."""
    stored = read_meshes(run.inputs["sources"])
    held = held_out([mesh.name for mesh in stored], run)
    positions = run.params.meshes.train if split == "train" else 1
    for mesh in stored:
        if (mesh.name in held) == (split == "test"):
            solid = voxelise(normalised(mesh.corners.astype(float)), mesh.triangles, run.params.meshes.side)
            for number, voxels in enumerate(itertools.islice(turned(solid), positions)):
                yield row(f"meshes-{split}-{mesh.name}-{number:02d}", voxels, source=mesh.name)


def held_out(names: list[str], run: Run[Params]) -> set[str]:
    """Names of the meshes that nothing is trained on."""
    count = run.params.meshes.test
    if count >= len(names):
        raise UserError(
            f"parameter meshes.test = {count}: the source has {len(names)} meshes, and some are to train on"
        )
    return set(run.generator("held out").permutation(sorted(names))[:count].tolist())


def from_shapenet(run: Run[Params], split: Split) -> Rows:
    """ShapeNet's own rows."""
    return shapenet.rows(Path(run.params.shapenet), split)


MAKERS: Mapping[Family, Callable[[Run[Params], Split], Rows]] = {
    "figures": figures,
    "silhouettes": silhouettes,
    "boxes": boxes,
    "meshes": meshes,
    "shapenet": from_shapenet,
}
