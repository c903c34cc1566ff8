"""Stacks as layered files: in every format they flatten to the picture again, with names, places and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from stages import export
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.stacks import layered, slug
from systems.image_layers.mulan.table import SCHEMA, Kept, row_of
from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.stack import flatten
from systems.parts.pictures import write_table
from tests.systems.image_layers.mulan.made import knowing, scene
from tests.systems.image_layers.mulan.test_pipeline import bands

ENDING = {"png": "", "ora": ".ora", "psd": ".psd", "tiff": ".tiff"}
MADE = [scene(seed, mutual=seed % 2 == 1) for seed in range(3)]
STACKS = [take_apart(made.image, knowing(made), Settings()).stack for made in MADE]


def stored(folder: Path, run: str, numbers: range, shard: int = 0) -> None:
    """Some of the pictures as a shard of a run."""
    orders = {"depth": [1, 2, 3], "occlusion": [1, 2, 3], "mutual": [1, 2, 3]}
    rows = [
        row_of(Kept(f"a source/picture {n}", "annotated", 0, MADE[n].image, STACKS[n], orders, 40.0, rejected=False))
        for n in numbers
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"{run}-{shard:05d}.parquet")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with two runs over scenes, the learned one in two shards, and one over photographs."""
    monkeypatch.chdir(tmp_path)
    Path("data/mulan").mkdir(parents=True)
    Path("params.yaml").write_text(yaml.safe_dump({"image_layers": {"decompose": {"mulan": {"data": "mulan"}}}}))
    folder = Path("data/layers/mulan")
    stored(folder, "annotated-0", range(1))
    stored(folder, "learned-0", range(2))
    stored(folder, "learned-0", range(2, 3), shard=1)
    stored(folder, "photographs-learned", range(1, 2))


@pytest.mark.parametrize("kind", files.FORMATS)
def test_holds_08_1_exported_stacks_flatten_to_the_picture_outside_the_feather_band(kind: files.Format) -> None:
    export.main(["mulan", "--rows", "1:9", "--format", kind, "--out", "out"])
    assert len(list(Path("out").iterdir())) == 2
    for number in (1, 2):
        found = files.read(Path("out") / f"a-source-picture-{number}{ENDING[kind]}")
        flat = flatten(found)[..., :3].astype(int)
        assert np.abs(flat - STACKS[number].flat()).max() <= 1
        assert np.abs(flat - MADE[number].image)[~bands(STACKS[number])].max() <= 1
        names = ["background", "1-disc-1", "2-disc-2", "3-disc-3"]
        assert [(layer.name, layer.opacity, layer.blend, layer.visible) for layer in found.layers] == [
            (name, 1.0, "over", True) for name in names
        ]


def test_a_split_may_be_a_run() -> None:
    export.main(["mulan", "--split", "photographs-learned", "--format", "ora", "--out", "out"])
    assert [path.name for path in Path("out").iterdir()] == ["a-source-picture-1.ora"]
    with pytest.raises(
        UserError, match="--split train: one of test, annotated-0, learned-0, photographs-learned is wanted"
    ):
        export.main(["mulan", "--split", "train", "--out", "more"])


@pytest.mark.parametrize("number", range(3))
def test_layers_are_cut_to_what_there_is_of_them_and_keep_every_visible_pixel(number: int) -> None:
    made = layered(STACKS[number])
    assert made.size == (64, 64)
    for layer, wanted in zip(made.layers, STACKS[number].layers, strict=True):
        (x, y), (height, width) = layer.offset, layer.rgba.shape[:2]
        whole = np.zeros((64, 64, 4), np.uint8)
        whole[y : y + height, x : x + width] = layer.rgba
        np.testing.assert_array_equal(whole, wanted.pixels)
        if wanted.box:
            assert height < 64 > width
            assert all(side.any() for side in (*layer.rgba[[0, -1], :, 3], *layer.rgba[:, [0, -1], 3].T))


def test_names_of_layers_can_be_names_of_files() -> None:
    assert slug("a red/green Apple!") == "a-red-green-apple"
    assert slug("?") == "instance"
    assert len(slug("word " * 99)) == 50
