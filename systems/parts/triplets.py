"""Composite, foreground and background triplets of a data set, as arrays a network trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int
from torch import Tensor

from systems.parts.errors import UserError
from systems.parts.pictures import decode


@dataclass(frozen=True)
class Triplets:
    """Samples of one split: `table` holds one row a sample, without pixels; `pictures` uint8 [n, c, h, w] a column.

    Columns: comp and bg with 3 channels, fg with 4 (straight alpha).
    """

    table: pa.Table
    pictures: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Height and width of the pictures, px."""
        return int(self.pictures["comp"].shape[-1])

    def layer(self, column: str) -> Tensor:
        """Pictures of a column as RGBA uint8 [n, 4, h, w]; opaque where the column has no alpha."""
        pictures = self.pictures[column]
        if pictures.shape[1] == 4:
            return pictures
        return torch.cat((pictures, torch.full_like(pictures[:, :1], 255)), dim=1)

    def strings(self, column: str) -> list[str]:
        """A text column as a list."""
        values: list[str] = self.table.column(column).to_pylist()
        return values

    def rows_of(self, subtasks: Sequence[str]) -> Int[np.ndarray, " k"]:
        """Row numbers of the samples of some sub-tasks; all rows where none is named."""
        names = np.array(self.strings("subtask"))
        unknown = set(subtasks) - set(names)
        if unknown:
            raise UserError(
                f"parameter subtasks: {sorted(unknown)} not in the data set, which has {sorted(set(names))}"
            )
        return np.flatnonzero(np.isin(names, subtasks)) if subtasks else np.arange(len(names))


def read_triplets(folder: Path, split: str) -> Triplets:
    """Every sample of a split, in the order of its shards. Colours under zero alpha become black."""
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    if not shards:
        raise UserError(f"data set {folder}: no shard {split}-*.parquet")
    table = pa.concat_tables([pq.read_table(shard) for shard in shards])
    pictures = {}
    for column in ("comp", "fg", "bg"):
        blobs = table.column(column).combine_chunks().field("bytes").to_pylist()
        pictures[column] = torch.from_numpy(np.stack([decode(blob) for blob in blobs])).movedim(-1, 1).contiguous()
    fg = pictures["fg"]
    fg[:, :3].mul_((fg[:, 3:] > 0).to(torch.uint8))
    return Triplets(table.drop_columns(["comp", "fg", "bg"]), pictures)
