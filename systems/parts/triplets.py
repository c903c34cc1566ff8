"""Composite, foreground and background triplets of a data set, as arrays a network trains on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from systems.parts.errors import UserError
from systems.parts.stored_pictures import Pictures, StoredPictures, groups, with_alpha

COLUMNS = ("comp", "fg", "bg")

MEMORY = 2 << 30
"""Bytes of decoded pictures up to which a split is kept in memory."""


@dataclass(frozen=True)
class Triplets:
    """Samples of one split: `table` holds one row a sample, without pixels; `pictures` uint8 [n, c, h, w] a column.

    Columns: comp and bg with 3 channels, fg with 4 (straight alpha).
    """

    table: pa.Table
    pictures: Mapping[str, Pictures]

    @property
    def size(self) -> int:
        """Height and width of the pictures, px."""
        return int(self.pictures["comp"].shape[-1])

    def layer(self, column: str) -> Pictures:
        """Pictures of a column as RGBA uint8 [n, 4, h, w]; opaque where the column has no alpha."""
        return with_alpha(self.pictures[column])

    def strings(self, column: str) -> list[str]:
        """A text column as a list."""
        values: list[str] = self.table.column(column).to_pylist()
        return values

    def rows_of(self, subtasks: Sequence[str]) -> Int[np.ndarray, " k"]:
        """Row numbers of the samples of some sub-tasks; all rows where none is named."""
        names = self.strings("subtask")
        unknown = set(subtasks) - set(names)
        if unknown:
            raise UserError(
                f"parameter subtasks: {sorted(unknown)} not in the data set, which has {sorted(set(names))}"
            )
        return np.flatnonzero(np.isin(names, subtasks)) if subtasks else np.arange(len(names))


def read_triplets(folder: Path, split: str, memory: int = MEMORY) -> Triplets:
    """Every sample of a split, in the order of its shards. Colours under zero alpha become black.

    The pictures are decoded now where they take at most `memory` bytes, and else whenever some are asked for.
    """
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    if not shards:
        raise UserError(f"data set {folder}: no shard {split}-*.parquet")
    names = [name for name in pq.read_schema(shards[0]).names if name not in COLUMNS]
    table = pa.concat_tables([pq.read_table(shard, columns=names) for shard in shards])
    stored = {column: StoredPictures(tuple(groups(shards, column))) for column in COLUMNS}
    if sum(math.prod(pictures.shape) for pictures in stored.values()) > memory:
        return Triplets(table, stored)
    return Triplets(table, {column: pictures[:] for column, pictures in stored.items()})
