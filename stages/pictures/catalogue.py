"""The catalogue of assets and its Parquet files, whose image column opens in datasets, pandas and pyarrow alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ("asset_id", "kind", "source", "package", "version", "origin", "licence", "author", "phrase")
SIZES = ("width", "height")
SUMS = ("sha256", "original_sha256")
COLUMNS = (*TEXTS, *SIZES, *SUMS)
ROWS = 50  # a row group; readers that want one picture decode no more than these
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Row = Mapping[str, Any]


def schema(images: bool) -> pa.Schema:
    """Columns of the catalogue, and with `images` of a source's file, described for Hugging Face `datasets`."""
    types = {
        **dict.fromkeys(TEXTS, pa.string()),
        **dict.fromkeys(SIZES, pa.int32()),
        **dict.fromkeys(SUMS, pa.string()),
    }
    fields = [pa.field(name, types[name]) for name in COLUMNS]
    features: dict[str, dict[str, str]] = {name: {"dtype": str(types[name]), "_type": "Value"} for name in COLUMNS}
    if images:
        fields.append(pa.field("image", IMAGE))
        features["image"] = {"_type": "Image"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write `catalogue.parquet` and one `<source>.parquet` a source, rows sorted by `asset_id`."""
    ordered = sorted(rows, key=lambda row: row["asset_id"])
    _write(folder / "catalogue.parquet", ordered, images=False)
    for source in sorted({row["source"] for row in ordered}):
        _write(folder / f"{source}.parquet", [row for row in ordered if row["source"] == source], images=True)


def _write(path: Path, rows: Sequence[Row], images: bool) -> None:
    form = schema(images)
    table = pa.Table.from_pylist([{name: row[name] for name in form.names} for row in rows], schema=form)
    # Pictures are compressed already; text columns gain from zstd.
    pq.write_table(table, path, row_group_size=ROWS, compression=dict.fromkeys(COLUMNS, "zstd"))
