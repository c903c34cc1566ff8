"""Triplets of a split: the same bytes whether they are in memory or left in their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from systems.parts.errors import UserError
from systems.parts.pictures import image_column, write_table
from systems.parts.step_batches import StepBatches
from systems.parts.stored_pictures import StoredPictures
from systems.parts.triplets import COLUMNS, MEMORY, read_triplets

SIDE, SHARDS, ROWS = 8, 3, 5
COUNT = SHARDS * ROWS
BYTES = COUNT * SIDE**2 * (3 + 3 + 4)
SUBTASKS = ("flare", "cells", "xray")
CHANNELS = {"comp": 3, "fg": 4, "bg": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training split in three shards of a sub-task each, the last one written first, with row groups of two."""
    folder = tmp_path_factory.mktemp("triplets")
    for shard in reversed(range(SHARDS)):
        rng = np.random.default_rng(shard)
        columns = {
            name: image_column(rng.integers(0, 2, (ROWS, SIDE, SIDE, channels), np.uint8) * 255)
            for name, channels in CHANNELS.items()
        }
        words = {"id": [f"{shard}-{row}" for row in range(ROWS)], "subtask": [SUBTASKS[shard]] * ROWS}
        write_table(pa.table({**words, **columns}), folder / f"train-{shard:05d}.parquet", rows=2)
    return folder


def test_small_splits_are_decoded_at_once_and_large_ones_left_in_their_files(folder: Path) -> None:
    for memory, there in ((MEMORY, Tensor), (BYTES, Tensor), (BYTES - 1, StoredPictures), (0, StoredPictures)):
        data = read_triplets(folder, "train", memory)
        assert set(data.pictures) == set(COLUMNS)
        assert all(isinstance(pictures, there) for pictures in data.pictures.values()), memory


def test_a_split_of_the_small_scale_fits_into_memory_and_one_of_full_scale_does_not() -> None:
    assert 12_000 * 32**2 * 10 <= MEMORY < 30_000 * 512**2 * 10


@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=20))
def test_both_give_the_same_bytes(folder: Path, rows: list[int]) -> None:
    near, far = read_triplets(folder, "train"), read_triplets(folder, "train", memory=0)
    index = torch.tensor(rows)
    assert near.table.equals(far.table)
    assert near.size == far.size == SIDE
    assert near.strings("id") == [f"{shard}-{row}" for shard in range(SHARDS) for row in range(ROWS)]
    for column, channels in CHANNELS.items():
        assert near.pictures[column].shape == far.pictures[column].shape == (COUNT, channels, SIDE, SIDE)
        assert torch.equal(near.pictures[column][index], far.pictures[column][index])
        layer = near.layer(column)[index]
        assert torch.equal(layer, far.layer(column)[index])
        assert torch.equal(layer[:, :channels], near.pictures[column][index])
        if channels == 3:
            assert layer[:, 3].eq(255).all()
        else:
            assert layer[:, :3][layer[:, 3:].expand(-1, 3, -1, -1) == 0].eq(0).all()


@given(batch=st.integers(1, 6), seed=st.integers(0, 3))
def test_both_make_the_same_batches(folder: Path, batch: int, seed: int) -> None:
    near, far = read_triplets(folder, "train"), read_triplets(folder, "train", memory=0)
    rows = torch.from_numpy(near.rows_of(["flare", "xray"]))
    loaders = [
        StepBatches({column: data.layer(column) for column in COLUMNS}, batch, 4, seed, rows) for data in (near, far)
    ]
    for ours, theirs in zip(*loaders, strict=True):
        assert all(torch.equal(ours[column], theirs[column]) for column in COLUMNS)


def test_rows_are_found_by_sub_task(folder: Path) -> None:
    data = read_triplets(folder, "train")
    assert data.rows_of([]).tolist() == list(range(COUNT))
    assert data.rows_of(["xray", "flare"]).tolist() == [*range(ROWS), *range(2 * ROWS, COUNT)]
    with pytest.raises(UserError, match=r"parameter subtasks: \['rain'\] not in the data set, which has \['cells', "):
        data.rows_of(["rain", "xray"])


def test_a_split_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=rf"data set {folder}: no shard test-\*.parquet"):
        read_triplets(folder, "test")
