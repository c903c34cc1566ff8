"""Shapes as they are made, stored, read and validated, ShapeNet's among them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.expectations import expect
from stages.run import StageRun
from systems.parts.errors import UserError
from systems.scene.bsp_net import shapenet, shapes, toys
from systems.scene.bsp_net.synthesize import Params, families, outline
from systems.scene.bsp_net.validate import Params as Validation
from systems.scene.bsp_net.validate import validate
from tests.systems.scene.bsp_net.conftest import COUNTS, made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shapes_come_back_as_they_were_made(data: Path) -> None:
    found = shapes.read(data, "figures", "test")
    assert len(found) == 3
    for voxels, parts in zip(found.voxels, found.parts, strict=True):
        assert np.array_equal(voxels, toys.draw([toys.Part(**part) for part in parts]))
    assert shapes.read(data, "silhouettes", "train").voxels.shape == (6, 16, 16)
    assert shapes.read(data, "boxes", "train").voxels.shape == (5, 16, 16, 16)
    assert shapes.read(data, "meshes", "train").voxels.shape == (2 * 4, 16, 16, 16)
    assert sorted(path.name for path in data.glob("figures-*")) == [
        "figures-test-00000.parquet",
        "figures-train-00000.parquet",
        "figures-train-00001.parquet",
    ]


def test_a_mesh_is_in_one_split_and_the_same_seed_makes_the_same_bytes(
    data: Path, tmp_path: Path, sources: dict[str, Path]
) -> None:
    train, test = (set(shapes.read(data, "meshes", split).sources) for split in shapes.SPLITS)
    assert len(train) == 2
    assert len(test) == 1
    assert not train & test
    assert contents(made(tmp_path, sources)) == contents(data)


def test_an_outline_is_what_is_brighter_than_the_threshold() -> None:
    picture = np.zeros((28, 28), np.uint8)
    picture[7:21, 7:21], picture[0, 0] = 255, 40
    found = outline(picture, 28, 0.2)
    assert found.sum() == 14 * 14
    assert outline(picture, 56, 0.5).sum() == 2 * 2 * 14 * 14


def test_a_family_without_its_source_is_refused() -> None:
    with pytest.raises(UserError, match="parameter pictures is empty: the family silhouettes"):
        families(Params(sources="meshes"))
    asked = Params.model_validate({"silhouettes": {"train": 0, "test": 0}, "meshes": {"train": 0, "test": 0}})
    assert families(asked) == ["figures", "boxes"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"meshes": {"train": 1, "test": 3}}, "meshes.test = 3"), ({"silhouettes": {"train": 9, "test": 1}}, "train = 9")],
)
def test_more_than_the_sources_have_is_refused(
    tmp_path: Path, sources: dict[str, Path], changes: dict[str, object], named: str
) -> None:
    with pytest.raises(UserError, match=named):
        made(tmp_path, sources, **changes)


def test_holds_12_8_voxels_that_are_not_binary_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="voxels of mug: 7 is among them"):
        shapes.row("mug", np.full((4, 4), 7, np.uint8))
    with pytest.raises(UserError, match="voxels of mug: 4 x 5"):
        shapes.row("mug", np.ones((4, 5), np.uint8))


def check(folder: Path, reports: Path) -> StageRun[Validation]:
    run = StageRun(
        "validate", "bsp_net", Validation(data="d"), {"data": folder}, reports / "no", reports, expecter=expect
    )
    run.begin()
    validate(run)
    return run


def test_a_sound_data_set_passes(data: Path, tmp_path: Path) -> None:
    metrics = check(data, tmp_path).metrics
    assert metrics["shapes/rows"] == sum(c["train"] + c["test"] for c in COUNTS.values()) + 4
    assert 0.05 < metrics["share inside/figures"] < 0.5


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("voxels", b"\xff" * 512, "not those that were made|an outside"),
        ("id", "figures-test-00001", "an id names one shape"),
        ("source", "figures-train-00000", "in train and test leaks"),
        ("side", 32, "a grid of another size"),
    ],
)
def test_a_spoilt_row_is_found(data: Path, tmp_path: Path, column: str, value: object, why: str) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    path = copy / "figures-test-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=shapes.SCHEMA), path)
    with pytest.raises(UserError, match=why):
        check(copy, tmp_path / "reports")


def hdf5(count: int) -> dict[str, np.ndarray]:
    """What the authors' files hold, as arrays."""
    rng = np.random.default_rng(0)
    file = {"voxels": (rng.random((count, 64, 64, 64, 1)) < 0.1).astype(np.uint8)}
    for side, points in ((16, 30), (32, 40), (64, 50)):
        file[f"points_{side}"] = rng.integers(0, 256, (count, points, 3)).astype(np.uint8)
        file[f"values_{side}"] = rng.integers(0, 2, (count, points, 1)).astype(np.uint8)
    return file


def test_shapenet_comes_back_with_its_points(tmp_path: Path) -> None:
    file = hdf5(3)
    shapes.write(tmp_path, "shapenet", "train", shapenet.rows_of(file, "train", "x.hdf5"), 2)
    found = shapes.read(tmp_path, "shapenet", "train")
    assert np.array_equal(found.voxels, file["voxels"][..., 0])
    for side in shapes.RESOLUTIONS:
        assert np.array_equal(found.sampled[f"points_{side}"], file[f"points_{side}"])
        assert np.array_equal(found.sampled[f"values_{side}"], file[f"values_{side}"][..., 0])


def test_shapenet_without_its_files_keys_or_reader_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"all_vox256_img_test\.hdf5 is not there"):
        list(shapenet.rows(tmp_path, "test"))
    (tmp_path / "all_vox256_img_test.hdf5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="needs h5py"):
        list(shapenet.rows(tmp_path, "test"))
    with pytest.raises(UserError, match="file x: no values_64"):
        list(shapenet.rows_of({key: value for key, value in hdf5(1).items() if key != "values_64"}, "test", "x"))
