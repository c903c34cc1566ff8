"""What validation of AlphaBlend lets pass and what it stops."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from stages.expectations import expect
from stages.run import StageRun
from systems.image_layers.alphablend.table import TAUS
from systems.image_layers.alphablend.validate import Params, validate
from systems.parts.errors import UserError
from systems.parts.pictures import decode, digest, image_column, write_table
from systems.parts.whole import partial

Change = Callable[[list[dict]], None]


def check(data: Path, folder: Path) -> dict[str, float]:
    """Metrics of a validation of `data`."""
    reports = folder / "reports" / "validate" / "alphablend"
    params = Params(data="alphablend")
    run = StageRun("validate", "alphablend", params, {"data": data}, folder / "unused", reports, expecter=expect)
    validate(run)
    return run.metrics


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """A data set to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "copy"))


def spoil(copy: Path, change: Change, name: str = "test-00003.parquet") -> None:
    """Change the rows of a shard."""
    table = pq.read_table(copy / name)
    rows = table.to_pylist()
    change(rows)
    write_table(pa.Table.from_pylist(rows, schema=table.schema.remove_metadata()), copy / name)


def test_a_sound_data_set_passes(data: Path, tmp_path: Path) -> None:
    metrics = check(data, tmp_path)
    assert metrics["samples/rows"] == 6 * 17
    counts = csv.read_csv(partial(tmp_path / "reports" / "validate" / "alphablend") / "plots" / "samples.csv")
    assert sum(counts["samples"].to_pylist()) == 6 * 17
    assert set(counts["subtask"].to_pylist()) == set(TAUS)
    assert metrics["shards/rows"] == 6 * 3 + 6
    assert 0 < metrics["largest re-blend error in 255ths"] <= 0.5 + 1e-3


def test_a_composite_that_is_not_made_of_its_layers_is_found(copy: Path, tmp_path: Path) -> None:
    def change(rows: list[dict]) -> None:
        comp = decode(rows[2]["comp"]["bytes"])
        comp[3, 4, 1] ^= 8
        rows[2]["comp"], rows[2]["sha256_comp"] = image_column([comp])[0].as_py(), digest(comp)

    spoil(copy, change)
    with pytest.raises(UserError, match=r"check 4\.1.*1 of 102 rows, first by id: glassware-test-000002; failing"):
        check(copy, tmp_path)


def test_a_swapped_picture_is_found(copy: Path, tmp_path: Path) -> None:
    def change(rows: list[dict]) -> None:
        rows[0]["bg"] = rows[1]["bg"]

    spoil(copy, change)
    with pytest.raises(UserError, match=r"column_A='found_bg'.*not the one that was made.*glassware-test-000000"):
        check(copy, tmp_path)


def test_a_picture_of_another_size_is_found(copy: Path, tmp_path: Path) -> None:
    def change(rows: list[dict]) -> None:
        comp = decode(rows[1]["comp"]["bytes"])[:-1]
        rows[1]["comp"] = image_column([comp])[0].as_py()

    spoil(copy, change)
    with pytest.raises(UserError, match=r"size_comp.*layers of another size.*glassware-test-000001; 2 other"):
        check(copy, tmp_path)


def test_an_invisible_foreground_is_found(copy: Path, tmp_path: Path) -> None:
    def change(rows: list[dict]) -> None:
        fg = decode(rows[1]["fg"]["bytes"]) * 0
        rows[1]["fg"], rows[1]["sha256_fg"] = image_column([fg])[0].as_py(), digest(fg)

    spoil(copy, change)
    with pytest.raises(UserError, match=r"zero alpha everywhere.*glassware-test-000001"):
        check(copy, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows[4].update(tau="dodge"),
            r"the sub-task is not blended so; 1 of 102 rows.*glassware-test-000004",
        ),
        (lambda rows: rows[0].update(bg_asset="stolen"), r"without a licence.*first by asset_id: stolen;"),
        (lambda rows: rows[2].update(prompt=""), r"prompts name the layers; 1 of 102 rows.*glassware-test-000002"),
        (lambda rows: rows[1].update(id=rows[0]["id"]), r"an id names one sample; 2 of 102 rows"),
        (lambda rows: rows.append({**rows[0], "id": "another"}), r"the same composite twice; 2 of 103 rows"),
    ],
)
def test_a_wrong_row_is_found(copy: Path, tmp_path: Path, change: Change, message: str) -> None:
    spoil(copy, change)
    with pytest.raises(UserError, match=message):
        check(copy, tmp_path)


def test_an_asset_in_both_splits_is_found(copy: Path, tmp_path: Path) -> None:
    leaked = pq.read_table(copy / "train-00000.parquet")["bg_asset"][0].as_py()
    spoil(copy, lambda rows: rows[0].update(bg_asset=leaked))
    with pytest.raises(UserError, match=f"leaks .check 4.2.*first by asset_id: {leaked};"):
        check(copy, tmp_path)


def test_a_shard_with_other_columns_is_found(copy: Path, tmp_path: Path) -> None:
    path = copy / "test-00000.parquet"
    write_table(pq.read_table(path).drop_columns(["seed"]), path)
    with pytest.raises(UserError, match=r"readers rely on these columns; 1 of 24 rows, first by shard: test-00000\."):
        check(copy, tmp_path)


def test_a_truncated_picture_names_sample_and_file(copy: Path, tmp_path: Path) -> None:
    spoil(copy, lambda rows: rows[0]["fg"].update(bytes=b"RIFF"))
    with pytest.raises(UserError, match=r"test-00003\.parquet: fg of sample glassware-test-000000: picture of 4 bytes"):
        check(copy, tmp_path)
