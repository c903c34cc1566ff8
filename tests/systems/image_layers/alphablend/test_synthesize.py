"""AlphaBlend: what is stored blends again, splits share no asset, and neither time nor workers change a byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from systems.image_layers.alphablend import synthesize
from systems.image_layers.alphablend.assets import Asset, Assets, load, split_of
from systems.image_layers.alphablend.layers import SUBTASKS
from systems.image_layers.alphablend.synthesize import GROUP_BYTES, GROUP_ROWS, Params, Shard, group_rows, sample
from systems.image_layers.alphablend.table import PICTURES, SCHEMA, TAUS
from systems.parts.blend import BLENDS, reblend_error
from systems.parts.errors import UserError
from systems.parts.layered_files.stack import flatten
from systems.parts.layered_files.strip import unstrip
from systems.parts.pictures import decode, digest
from tests.systems.image_layers.alphablend.conftest import make_data
from tests.systems.image_layers.alphablend.sources import COUNTS, picture


def rows_of(data: Path, split: str) -> list[dict]:
    """Rows of a split with decoded pictures."""
    rows = pa.concat_tables(pq.read_table(path) for path in sorted(data.glob(f"{split}-*.parquet"))).to_pylist()
    return [{**row, **{name: decode(row[name]["bytes"]) for name in PICTURES}} for row in rows]


def test_holds_4_1_every_stored_sample_blends_again(data: Path) -> None:
    rows = rows_of(data, "train") + rows_of(data, "test")
    assert {row["tau"] for row in rows} == set(BLENDS)
    for row in rows:
        layers = (row[name] for name in PICTURES)
        assert reblend_error(row["tau"], *layers, json.loads(row["params"])) <= 1, row["id"]
        assert row["tau"] in TAUS[row["subtask"]]


def test_holds_4_2_no_asset_is_in_both_splits(data: Path) -> None:
    used = {
        split: {name for row in rows_of(data, split) for name in (*row["fg_assets"], row["bg_asset"])}
        for split in ("train", "test")
    }
    assert not used["train"] & used["test"]
    assert min(len(names) for names in used.values()) > 10
    catalogued = pq.read_table(data / "assets.parquet")
    assert set(catalogued["asset_id"].to_pylist()) == used["train"] | used["test"]


@pytest.mark.parametrize("workers", [1, 2])
def test_holds_4_2_any_number_of_workers_gives_the_same_bytes(
    data: Path, sources: Path, tmp_path: Path, workers: int
) -> None:
    again = make_data(sources, tmp_path, workers)
    files = sorted(path.name for path in data.iterdir())
    assert files == sorted(path.name for path in again.iterdir())
    for name in files:
        assert (data / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize("side", [16, 32, 128, 256, 512, 2048])
def test_row_groups_of_large_pictures_have_fewer_rows(side: int) -> None:
    rows = group_rows(side)
    assert rows == GROUP_ROWS if side <= 128 else 1 <= rows < GROUP_ROWS
    assert rows == 1 or rows * 10 * side**2 <= GROUP_BYTES


def test_row_groups_change_no_row(data: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesize, "GROUP_BYTES", 2 * 10 * 24**2)
    again = make_data(sources, tmp_path)
    name = "train-00000.parquet"
    metadata = pq.read_metadata(again / name)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 2, 1]
    assert pq.read_table(again / name).equals(pq.read_table(data / name))


def test_another_seed_gives_other_pictures(data: Path, sources: Path, tmp_path: Path) -> None:
    other = make_data(sources, tmp_path, seed=1, subtasks=("cells",), train=5)
    mine = {row["sha256_comp"] for row in rows_of(data, "train")}
    assert not mine & {row["sha256_comp"] for row in rows_of(other, "train")}


def test_rows_say_what_they_hold(data: Path) -> None:
    rows = rows_of(data, "test")
    assert pq.read_schema(data / "test-00000.parquet").names == SCHEMA.names
    assert [row["subtask"] for row in rows] == [name for name in SUBTASKS for _ in range(5)]
    for row in rows:
        assert row["fg_phrase"] in row["prompt"]
        assert row["bg_phrase"] in row["prompt"]
        assert [row[name].shape for name in PICTURES] == [(24, 24, 4), (24, 24, 3), (24, 24, 3)]
        assert [row[f"sha256_{name}"] for name in PICTURES] == [digest(row[name]) for name in PICTURES]
        assert not row["fg"][row["fg"][..., 3] == 0].any()
        assert not np.array_equal(row["comp"], row["bg"])


def test_alphas_stay_in_the_ranges_of_the_card(data: Path) -> None:
    rows = rows_of(data, "train")
    most = {name: max(row["fg"][..., 3].max() / 255 for row in rows if row["subtask"] == name) for name in SUBTASKS}
    assert 0.3 < most["watermark"] <= 0.7 + 1 / 255
    assert 0.2 < most["cells"] <= 0.6 + 1 / 255
    for row in rows:
        if row["subtask"] == "glassware":
            params = json.loads(row["params"])
            assert 1 <= params["k"] <= 4
            assert 0.1 <= params["s"] <= 0.4


def test_split_depends_on_the_names_alone_and_keeps_the_share() -> None:
    names = [f"asset {number}" for number in range(50)]
    split = split_of(names, 0.2)
    assert split == split_of(names[::-1], 0.2)
    assert list(split.values()).count("test") == 10


def test_too_few_assets_are_named(sources: Path) -> None:
    with pytest.raises(UserError, match="1 assets of kind cutout for test, at least 4 are wanted"):
        load(sources, "test", 0.01, 64)
    assert {len(load(sources, split, 0.25, 64).by_kind["photo"]) for split in ("train", "test")} == {5, 15}
    assert COUNTS["photo"] == 20


def test_holds_4_7_foregrounds_that_never_show_are_named() -> None:
    clear = picture("cutout", 0)
    clear[..., 3] = 0
    assets = [Asset("ghost", "cutout", "a ghost", clear), Asset("wall", "photo", "a wall", picture("photo", 0))]
    params = Params(sources="images", side=24)
    with pytest.raises(UserError, match=r"could not be seen, as \('ghost',\)"):
        sample(params, Assets(assets), Shard("train", "xray", 0, 0, 1), 0)


def test_holds_4_7_unknown_subtasks_and_sizes_are_refused(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="parameter subtasks = 'smoke': one of flare, "):
        make_data(sources, tmp_path, subtasks=("smoke",))
    with pytest.raises(ValidationError, match="side"):
        Params(sources="images", side=31)


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_the_layers_for_the_report_flatten_to_the_composite(data: Path, subtask: str) -> None:
    found = unstrip(*synthesize.layers_of(data, subtask))
    wanted = next(row for row in rows_of(data, "test") if row["subtask"] == subtask)
    assert found.caption == wanted["prompt"]
    assert (found.picture[..., :3] == wanted["comp"]).all()
    assert np.abs(flatten(found.stack)[..., :3].astype(int) - wanted["comp"]).max() <= 1
