"""A tiny data set of shapes in the plane and in space, made by the stage itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from stages.run import StageRun
from systems.parts.labelled_pictures import Labelled, write, write_split
from systems.parts.meshes import Mesh, write_meshes
from systems.scene.bsp_net.synthesize import Params, synthesize

COUNTS = {
    "figures": {"train": 6, "test": 3, "side": 64},
    "silhouettes": {"train": 6, "test": 2, "side": 16},
    "boxes": {"train": 5, "test": 2, "side": 16},
    "meshes": {"train": 4, "test": 1, "side": 16},
}


def make_sources(folder: Path) -> dict[str, Path]:
    """Three meshes and a few grey discs."""
    meshes, pictures = folder / "meshes", folder / "pictures"
    for path in (meshes, pictures):
        path.mkdir(parents=True)
    made = {
        "box": trimesh.creation.box(),
        "ball": trimesh.creation.icosphere(2),
        "can": trimesh.creation.cylinder(1, 3),
    }
    found = [
        Mesh(name, "made", "Apache-2.0", mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))
        for name, mesh in made.items()
    ]
    write_meshes(meshes, found)
    rows, columns = np.indices((28, 28)) - 13.5
    discs = [np.where(np.hypot(rows, columns) < 4 + size, 200, 20) for size in range(8)]
    labelled = Labelled(np.array(discs, np.uint8), np.arange(8) % 2)
    for name in ("train", "test"):
        write(pictures, name, labelled)
    write_split(pictures, labelled.labels, 1, np.random.default_rng(0))
    return {"sources": meshes, "pictures": pictures}


def made(folder: Path, sources: dict[str, Path], **changes: object) -> Path:
    """The data set that the stage leaves."""
    params = Params.model_validate({"sources": "meshes", "pictures": "p", "shard": 4, **COUNTS, **changes})
    run = StageRun("synthesize", "bsp_net", params, sources, folder / "data", folder / "reports")
    run.begin()
    synthesize(run)
    run.finish([run.final, run.reports / "plots"])
    return run.final


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, sources: dict[str, Path]) -> Path:
    return made(tmp_path_factory.mktemp("bsp_net"), sources)
