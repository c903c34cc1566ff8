"""fetch and validate of the pictures, offline: the curated sample, own folders, sources that cannot be had."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.pictures.asset import KINDS, Picture, encode
from stages.pictures.catalogue import COLUMNS, ROWS, write
from stages.pictures.sources import SOURCES, content_sum, spread
from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import images
from stages.sources.images import described
from systems.parts.errors import UserError
from systems.parts.run import Expectation
from systems.parts.whole import partial


def fetched(folder: Path, **params: Any) -> Path:
    """Folder that `fetch` writes to when no package is asked for unless `params` says so."""
    values = {"sources": (), **params}
    run = StageRun("fetch", "images", images.Params(**values), {}, folder / "images", folder / "reports", workers=2)
    run.begin()
    images.fetch(run)
    return run.output


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def half_clear(value: int = 200) -> np.ndarray:
    pixels = np.full((40, 60, 4), value)
    pixels[:, :30] = (0, 255, 0, 0)
    return pixels


def test_curated_sample_is_whole_small_and_credited() -> None:
    folder = Path("data/samples")
    rows = list(csv.DictReader((folder / "catalogue.csv").open(newline="")))
    assert {row["kind"] for row in rows} == set(KINDS)
    assert all(row["licence"] and row["author"] and row["phrase"] for row in rows)
    assert all(hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"] for row in rows)
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*.webp")}
    assert on_disk == {row["file"] for row in rows}
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 3e6
    counts = Counter(row["kind"] for row in rows)
    assert min(counts["cutout"], counts["photo"]) >= 24


def test_offline_run_has_every_kind_and_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = fetched(tmp_path / "a"), fetched(tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["catalogue.parquet", "samples.parquet"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    table = pq.read_table(first / "catalogue.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert set(table["kind"].to_pylist()) == set(KINDS)
    assert table["asset_id"].to_pylist() == sorted(table["asset_id"].to_pylist())


def test_image_column_opens_in_datasets_pandas_and_pyarrow(tmp_path: Path) -> None:
    path = fetched(tmp_path) / "samples.parquet"
    frame = pd.read_parquet(path)
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    file = pq.ParquetFile(path)
    assert file.metadata.row_group(0).num_rows == ROWS
    for index, row in enumerate(file.read().to_pylist()):
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
        assert frame["image"][index]["bytes"] == row["image"]["bytes"]
        decoded = rows[index]["image"]
        assert decoded.size == (row["width"], row["height"])
        assert decoded.mode == ("RGB" if row["kind"] in ("photo", "light") else "RGBA")


def test_own_folder_gives_cutouts_and_photos(tmp_path: Path) -> None:
    png(tmp_path / "mine" / "red_Fox.png", half_clear())
    png(tmp_path / "mine" / "deep" / "shore.jpg", np.random.default_rng(0).integers(0, 256, (30, 90, 3)))
    output = fetched(tmp_path, folders=(str(tmp_path / "mine"),), max_side=45)
    rows = {row["asset_id"]: row for row in pq.read_table(output / "folders.parquet").to_pylist()}
    fox, shore = rows["folders/mine/red_Fox.png"], rows["folders/mine/deep/shore.jpg"]
    assert (fox["kind"], fox["phrase"], shore["kind"]) == ("cutout", "red fox", "photo")
    assert (shore["width"], shore["height"]) == (45, 15)
    assert hashlib.sha256((tmp_path / "mine" / "red_Fox.png").read_bytes()).hexdigest() == fox["original_sha256"]
    pixels = np.asarray(Image.open(io.BytesIO(fox["image"]["bytes"])))
    # The green under zero alpha must not bleed into the grey when the picture shrinks.
    seen = pixels[pixels[..., 3] > 40][:, :3].astype(int)
    assert np.abs(seen - 200).max() <= 3


@pytest.mark.parametrize("fault", ["truncated", "clear", "deep"])
def test_unusable_own_picture_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    path = png(tmp_path / "mine" / "bad.png", np.random.default_rng(0).integers(0, 256, (64, 64, 4)))
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    elif fault == "clear":
        png(path, np.zeros((8, 8, 4)))
    else:
        Image.fromarray(np.full((8, 8), 9000, np.uint16)).save(path)
    words = {"truncated": "truncated", "clear": "alpha is zero", "deep": "8 bits a channel"}[fault]
    with pytest.raises(UserError, match=rf"bad\.png: .*{words}"):
        fetched(tmp_path, folders=(str(tmp_path / "mine"),))


def test_folder_that_is_not_there_and_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nowhere': no such folder"):
        fetched(tmp_path, folders=("nowhere",))
    twins = [png(tmp_path / side / "mine" / "x.png", half_clear(value)) for side, value in (("a", 9), ("b", 99))]
    with pytest.raises(UserError, match=r"folders/mine/x\.png' is there twice"):
        fetched(tmp_path, folders=tuple(str(path.parent) for path in twins))


def test_the_same_pixels_are_kept_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        png(tmp_path / "mine" / name, half_clear())
    output = fetched(tmp_path, folders=(str(tmp_path / "mine"),))
    assert pq.read_table(output / "folders.parquet")["asset_id"].to_pylist() == ["folders/mine/a.png"]


def test_source_that_cannot_be_had_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(package: object, cache: Path) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(images, "obtain", refuse)
    output = fetched(tmp_path, sources=("gcompris",))
    assert "source gcompris cannot be had and is left out: no network" in capsys.readouterr().err
    assert (output / "samples.parquet").is_file()
    assert (partial(tmp_path / "reports") / "plots" / "missing.csv").read_text().splitlines()[
        1
    ] == '"gcompris","no network"'
    with pytest.raises(UserError, match=r"minimum\.cutout = 900: only \d+ found; sources left out: gcompris"):
        fetched(tmp_path, sources=("gcompris",), minimum={"cutout": 900})


def test_installed_source_replaces_its_samples(tmp_path: Path) -> None:
    ids = pq.read_table(fetched(tmp_path, sources=("scikit-image",)) / "catalogue.parquet")["asset_id"].to_pylist()
    assert "scikit-image/chelsea.png" in ids
    assert "samples/photo/chelsea.webp" not in ids
    assert "samples/photo/igloo.webp" in ids


def test_other_content_than_pinned_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "skimage" / "data").mkdir(parents=True)
    (tmp_path / "skimage" / "data" / "coffee.png").write_bytes(b"other")
    with pytest.raises(Unavailable, match=f"expected {SOURCES['scikit-image'].content}, found"):
        SOURCES["scikit-image"].pictures(tmp_path)


def test_content_sum_knows_names_and_bytes_but_not_order() -> None:
    a, b, c = (Picture("photo", name, "", content, "") for name, content in (("a", b"1"), ("b", b"2"), ("b", b"3")))
    assert content_sum([a, b]) == content_sum([b, a]) == hashlib.sha256(_lines({"a": b"1", "b": b"2"})).hexdigest()
    assert content_sum([a, b]) != content_sum([a, c])


def _lines(files: dict[str, bytes]) -> bytes:
    return "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in files.items()).encode()


@pytest.mark.parametrize(("count", "wanted"), [(0, []), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))])
def test_spread_is_even(count: int, wanted: list[int]) -> None:
    assert spread(range(10), count) == wanted  # type: ignore[arg-type]


def validated(output: Path, **params: Any) -> dict[str, tuple[pa.Table, Sequence[Expectation]]]:
    """Tables and expectations that `validate` hands over, by name."""
    seen: dict[str, tuple[pa.Table, Sequence[Expectation]]] = {}
    run = StageRun("validate", "images", images.Checks(data="x", **params), {"data": output}, output, output / "r")
    run.expecter = lambda _, name, table, expectations: seen.update({name: (table, expectations)})
    images.validate(run)
    return seen


def test_validate_measures_the_stored_pictures(tmp_path: Path) -> None:
    output = fetched(tmp_path)
    seen = validated(output, minimum={"photo": 3})
    pictures, _ = seen["pictures"]
    assert pictures["listed"].to_pylist() == pictures["measured"].to_pylist()
    with (partial(output / "r") / "plots" / "assets.csv").open() as file:
        drawn = {(row["kind"], row["source"]): row["assets"] for row in csv.DictReader(file)}
    assert drawn["photo", "samples"] == "30"
    counts, _ = seen["kinds"]
    assert counts.to_pylist() == [{"kind": "photo", "assets": 30, "minimum": 3}]
    path = output / "samples.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["image"]["bytes"] += b"x"
    pq.write_table(pa.Table.from_pylist(rows), path)
    spoilt, _ = validated(output)["pictures"]
    wrong = [a == b for a, b in zip(spoilt["listed"].to_pylist(), spoilt["measured"].to_pylist(), strict=True)]
    assert wrong.count(False) == 1


@pytest.mark.parametrize("channels", [3, 4])
def test_stored_pictures_are_lossless_even_under_zero_alpha(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, channels)).astype(np.uint8)
    pixels[:5, :, 3:] = 0
    stored = np.asarray(Image.open(io.BytesIO(encode(Image.fromarray(pixels)))))
    np.testing.assert_array_equal(stored, pixels)


def test_rows_are_written_in_the_order_of_their_ids(tmp_path: Path) -> None:
    picture = Picture("photo", "x", "x", png(tmp_path / "x.png", half_clear()).read_bytes(), "CC0-1.0")
    rows = [
        {"source": "s", "package": "", "version": "", **described(f"s/{name}", picture, 64)} for name in ("b", "c", "a")
    ]
    write(tmp_path, rows)
    assert pq.read_table(tmp_path / "s.parquet")["asset_id"].to_pylist() == ["s/a", "s/b", "s/c"]
