"""Pictures that stay in their Parquet files: they take the place of a tensor that would not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

from systems.parts.pictures import decode

KEPT = 8
"""Row groups that are kept at hand, encoded, so that neighbours are not read once each."""


@dataclass(frozen=True)
class Group:
    """One row group of an image column."""

    path: Path
    column: str
    number: int
    rows: int

    def encoded(self) -> list[bytes]:
        """Its pictures as they are stored."""
        table = pq.ParquetFile(self.path).read_row_group(self.number, columns=[f"{self.column}.bytes"])
        contents: list[bytes] = table.column(self.column).combine_chunks().field("bytes").to_pylist()
        return contents


def groups(paths: Sequence[Path], column: str) -> Iterator[Group]:
    """Every row group of a column, in the order of the files."""
    for path in paths:
        metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            yield Group(path, column, number, metadata.row_group(number).num_rows)


class StoredPictures:
    """Indexed like a tensor uint8 [n, c, h, w] along its first axis; what is asked for is decoded anew each time.

    Colours under zero alpha come out black. At most `KEPT` row groups are held in memory, and nothing decoded.
    """

    def __init__(self, stored: Sequence[Group], opaque: bool = False) -> None:
        """With `opaque`, RGB pictures come out as RGBA."""
        self.groups, self.opaque = tuple(stored), opaque
        self.ends = np.cumsum([group.rows for group in self.groups])
        self.encoded = lru_cache(KEPT)(Group.encoded)

    def __len__(self) -> int:
        return int(self.ends[-1])

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, c, h, w); all pictures have the first one's size."""
        channels, height, width = self._picture(0).shape
        return len(self), channels, height, width

    def __getitem__(self, rows: Tensor | slice) -> UInt8[Tensor, "k c h w"]:
        numbers = torch.arange(len(self))[rows].tolist()
        out = torch.empty((len(numbers), *self.shape[1:]), dtype=torch.uint8)
        for place, row in enumerate(numbers):
            out[place] = self._picture(row)
        return out

    def _picture(self, row: int) -> UInt8[Tensor, "c h w"]:
        number = int(np.searchsorted(self.ends, row, side="right"))
        group = self.groups[number]
        pixels = decode(self.encoded(group)[row - int(self.ends[number]) + group.rows])
        if pixels.shape[2] == 4:
            pixels[..., :3] *= pixels[..., 3:] > 0
        picture = torch.from_numpy(pixels).movedim(-1, 0)
        return pad(picture, (0, 0, 0, 0, 0, 1), value=255) if self.opaque and len(picture) == 3 else picture


Pictures: TypeAlias = Tensor | StoredPictures
"""uint8 [n, c, h, w], in memory or in files."""


def with_alpha(pictures: Pictures) -> Pictures:
    """RGBA pictures as they are, RGB ones made opaque."""
    if isinstance(pictures, StoredPictures):
        return StoredPictures(pictures.groups, opaque=True)
    if pictures.shape[1] == 4:
        return pictures
    return pad(pictures, (0, 0, 0, 0, 0, 1), value=255)


def joined(pieces: Sequence[Pictures]) -> Pictures:
    """Pictures of equal size behind each other; in files if any of them are, and then all must be."""
    stored = [piece for piece in pieces if isinstance(piece, StoredPictures)]
    if not stored:
        return torch.cat([piece for piece in pieces if isinstance(piece, Tensor)])
    if len(stored) < len(pieces) or len({piece.shape[1:] for piece in stored}) > 1:
        raise ValueError("pictures of one size and number of channels, all in files or all in memory, are wanted")
    return StoredPictures([group for piece in stored for group in piece.groups], stored[0].opaque)
