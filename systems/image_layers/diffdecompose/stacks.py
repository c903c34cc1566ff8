"""Stored estimates as stacks of layers, blended as the composites were.

python -m stages.export diffdecompose --rows 0:4 --format ora --out found/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from systems.parts.errors import UserError
from systems.parts.layered_files.blended import blended, read_rows
from systems.parts.layered_files.stack import Stack
from systems.parts.pictures import decode

SPLIT = "test"
"""The split that is taken apart."""


def stacks(data: Path, layers: Path | None, split: str, rows: range) -> Iterator[tuple[str, Stack]]:
    """Identifier and layers, by the best variant, of some rows of the test split."""
    if split != SPLIT or layers is None:
        raise UserError(f"--split {split}: layers of split {SPLIT} are stored")
    truth = read_rows(sorted(data.glob(f"{SPLIT}-*.parquet")), ("id", "tau", "params"), rows)
    found = read_rows(best(layers), ("id", "fg", "bg"), rows)
    for wanted, row in zip(truth, found, strict=True):
        if wanted["id"] != row["id"]:
            raise UserError(f"layers {layers}: {row['id']} stands where {data} has {wanted['id']}; decompose it again")
        fg, bg = (decode(row[layer]["bytes"]) for layer in ("fg", "bg"))
        yield row["id"], blended(fg, bg, wanted["tau"], json.loads(wanted["params"]))


def best(layers: Path) -> list[Path]:
    """The first file of the best variant, which alone was sampled several times."""
    return [path for path in sorted(layers.glob("*.parquet")) if "bg_mean" in pq.read_schema(path).names][:1]
