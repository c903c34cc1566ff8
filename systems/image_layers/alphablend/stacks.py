"""Stored triplets as stacks of layers.

python -m stages.export alphablend --rows 0:4 --format psd --out samples/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from systems.parts.layered_files.blended import blended, read_rows
from systems.parts.layered_files.stack import Stack
from systems.parts.pictures import decode


def stacks(data: Path, _: Path | None, split: str, rows: range) -> Iterator[tuple[str, Stack]]:
    """Identifier and layers of some rows of a split, counted over its shards."""
    for row in read_rows(sorted(data.glob(f"{split}-*.parquet")), ("id", "tau", "params", "fg", "bg"), rows):
        fg, bg = (decode(row[layer]["bytes"]) for layer in ("fg", "bg"))
        yield row["id"], blended(fg, bg, row["tau"], json.loads(row["params"]))
