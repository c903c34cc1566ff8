"""synthesize@bsp_net: shapes in the plane and in space, by rule, from pictures and from meshes.

python -m stages synthesize bsp_net
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from systems.parts.errors import UserError
from systems.parts.labelled_pictures import Labelled
from systems.parts.labelled_pictures import read as read_pictures
from systems.parts.meshes import Mesh, read_meshes
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
    meshes: Count = Field(default=Count(train=48, test=6), description="train: positions of a mesh, at most 48; "
                          "test: held-out meshes")


def synthesize(run: Run[Params]) -> None:
    """Write the shards of every family that is asked for, and show some shapes of each."""
    for family, split in itertools.product(families(run), SPLITS):
        rows = run.track(families(run)[family](run, split), f"{family} {split}")
        count = write(run.output, family, split, rows, run.params.shard)  # type: ignore[arg-type]
        run.metric(f"shapes/{family}/{split}", count)
    for family in families(run):
        voxels = read(run.output, family, "test").voxels[:SHOWN]
        caption = f"Held-out shapes of the family {family}"
        run.figure(f"{family}-samples", pictures.sheet([list(pictures.views(voxels))]), caption=caption)
