"""Pictures in files: the bytes of a tensor for whatever rows are asked, and little held in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from systems.parts import stored_pictures
from systems.parts.pictures import decode, image_column, write_table
from systems.parts.stored_pictures import KEPT, Group, StoredPictures, groups, joined, with_alpha

SIDE = 6
FILES = ((5, 2), (4, 4), (7, 3))
"""Rows, and rows a row group, of each file."""
COUNT = sum(rows for rows, _ in FILES)
GROUPS = sum(-(-rows // size) for rows, size in FILES)

ROWS = st.lists(st.integers(-COUNT, COUNT - 1), max_size=2 * COUNT)
EDGE = st.none() | st.integers(-COUNT - 2, COUNT + 2)
SLICES = st.builds(slice, EDGE, EDGE, st.none() | st.integers(1, 4))


def noise(count: int, channels: int, side: int = SIDE) -> np.ndarray:
    """Pictures of noise; every third pixel of an alpha is zero."""
    pictures = np.random.default_rng(channels).integers(0, 256, (count, side, side, channels), np.uint8)
    if channels == 4:
        pictures[..., 3].reshape(-1)[::3] = 0
    return pictures


def write(folder: Path, pictures: dict[str, np.ndarray], files: tuple[tuple[int, int], ...] = FILES) -> list[Path]:
    """Files of so many rows and row groups; the codecs take turns."""
    paths, start = [], 0
    for number, (rows, size) in enumerate(files):
        part = slice(start, start + rows)
        codec = ("webp", "tiff")[number % 2]
        columns = {name: image_column(values[part], codec=codec) for name, values in pictures.items()}
        paths.append(folder / f"{number}.parquet")
        write_table(pa.table({"id": list(range(rows)), **columns}), paths[-1], size)
        start += rows
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("stored"), {"rgb": noise(COUNT, 3), "rgba": noise(COUNT, 4)})


def as_tensor(channels: int) -> Tensor:
    """What the files hold, hidden colours black."""
    pictures = noise(COUNT, channels)
    if channels == 4:
        pictures[..., :3][pictures[..., 3] == 0] = 0
    return torch.from_numpy(pictures).movedim(-1, 1)


def stored(paths: list[Path], column: str) -> StoredPictures:
    return StoredPictures(tuple(groups(paths, column)))


@pytest.mark.parametrize(("column", "channels"), [("rgb", 3), ("rgba", 4)])
@given(rows=ROWS.map(lambda rows: torch.tensor(rows, dtype=torch.long)) | SLICES)
def test_any_rows_in_any_order_are_those_of_the_tensor(
    paths: list[Path], column: str, channels: int, rows: Tensor | slice
) -> None:
    there, wanted = stored(paths, column), as_tensor(channels)
    assert len(there) == COUNT
    assert there.shape == wanted.shape
    assert there[rows].dtype == torch.uint8
    assert torch.equal(there[rows], wanted[rows])


def test_a_row_beyond_the_last_is_an_error(paths: list[Path]) -> None:
    with pytest.raises(IndexError):
        stored(paths, "rgb")[torch.tensor([COUNT])]


@given(rows=ROWS)
def test_alpha_and_joining_are_those_of_tensors(paths: list[Path], rows: list[int]) -> None:
    pieces, tensors = [stored(paths, name) for name in ("rgba", "rgb")], [as_tensor(4), as_tensor(3)]
    opaque = torch.cat((as_tensor(3), torch.full((COUNT, 1, SIDE, SIDE), 255, dtype=torch.uint8)), dim=1)
    wanted = torch.cat((as_tensor(4), opaque))
    index = torch.tensor([row + COUNT for row in rows], dtype=torch.long)
    for kind in (pieces, tensors):
        together = joined([with_alpha(piece) for piece in kind])
        assert len(together) == 2 * COUNT
        assert tuple(together.shape) == (2 * COUNT, 4, SIDE, SIDE)
        assert torch.equal(together[index], wanted[index])
        assert torch.equal(together[:], wanted)


def test_what_does_not_belong_together_is_not_joined(paths: list[Path]) -> None:
    rgb, rgba = stored(paths, "rgb"), stored(paths, "rgba")
    for pieces in ([rgb, rgba], [rgb, as_tensor(3)]):
        with pytest.raises(ValueError, match="all in files or all in memory"):
            joined(pieces)


def test_only_what_is_asked_for_is_decoded_and_neighbours_are_read_once(paths: list[Path]) -> None:
    there = stored(paths, "rgb")
    assert there.shape
    with (
        mock.patch.object(stored_pictures, "decode", wraps=decode) as decoded,
        mock.patch.object(Group, "encoded", autospec=True, side_effect=Group.encoded) as read,
    ):
        there = stored(paths, "rgb")
        there[torch.tensor([6, 8, 6, 5])]
        assert (decoded.call_count, read.call_count) == (4 + 1, 1 + 1)  # and the first picture, for the shape
        there[:]
        assert decoded.call_count == 5 + COUNT
        assert read.call_count == GROUPS


def test_no_more_than_a_few_row_groups_are_held(tmp_path: Path) -> None:
    count, size, side = 8 * KEPT, 2, 40
    there = stored(write(tmp_path, {"rgb": noise(count, 3, side)}, ((count, size),)), "rgb")
    group = sum(len(content) for content in there.groups[0].encoded())
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).split(1)
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    for row in order:
        there[row]
        assert there.encoded.cache_info().currsize <= KEPT
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert there.encoded.cache_info().currsize == KEPT
    assert 0.9 * KEPT * group < held < (KEPT + 1) * group
    assert peak < (KEPT + 4) * group < 0.5 * len(there.groups) * group
    assert pa.total_allocated_bytes() - arrow < group
