"""What is packed: byte for byte what the raw file has, for any budget and limit, read once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.settings import check
from systems.graph.diskgnn import packing
from systems.graph.diskgnn.accounting import cache_pages, naive_pages, packed_pages
from systems.graph.diskgnn.dataset import Dataset
from systems.graph.diskgnn.decompose import Params
from systems.graph.diskgnn.loader import StoredBatches
from systems.graph.diskgnn.plan import bounds
from systems.graph.diskgnn.storage import Layers, open_layers
from systems.parts.errors import UserError
from tests.systems.graph.diskgnn.conftest import NODES, PACKED, ROW, lists_of, packed

BUDGETS = {"nothing": (0, 0), "some": (10 * ROW, 21 * ROW), "all": (200 * ROW, NODES * ROW)}


def stored(layers: Layers, data: Dataset) -> StoredBatches:
    return StoredBatches(layers, data.labels, torch.device("cpu"))


@pytest.mark.parametrize("blowup", [-1, 5, 3, 0.5])
@pytest.mark.parametrize("budget", BUDGETS)
def test_holds_39_1_x_from_the_four_levels_is_that_of_the_raw_file(
    data: Dataset, tmp_path: Path, blowup: float, budget: str
) -> None:
    gpu, cpu = BUDGETS[budget]
    layers = packed(tmp_path, data.folder, blowup=blowup, gpu_bytes=gpu, cpu_bytes=cpu)
    batches = stored(layers, data)
    loaded = list(batches.load(range(layers.saved.batches)))
    assert len(loaded) == -(-150 // 16)
    for some, batch in zip(lists_of(layers), loaded, strict=True):
        assert batch.x.numpy().tobytes() == data.features[some].tobytes()
        assert np.array_equal(batch.labels, data.labels[some[: len(batch.labels)]])
    places = [layers.placement(number) for number in range(layers.saved.batches)]
    assert batches.cache_reader.pages == sum(cache_pages(at, 20) for at in places)
    assert batches.packed_reader.pages == sum(packed_pages(at, 20) for at in places)
    if budget == "all":
        assert batches.cache_reader.pages + batches.packed_reader.pages == 0
        assert sum(naive_pages(some, at, 20) for some, at in zip(lists_of(layers), places, strict=True)) == 0


def test_every_level_is_in_use(layers: Layers) -> None:
    places = [layers.placement(number) for number in range(layers.saved.batches)]
    assert layers.saved.segment > 1
    assert sum(layers.saved.cache_rows) > 0
    slots = np.concatenate([at.memory_slot for at in places])
    assert min(slots) < layers.saved.accelerated <= max(slots) < layers.saved.memory == 30
    assert all(len(at.cache_at) and len(at.packed_at) for at in places)


def test_holds_39_7_the_raw_file_is_read_once_from_beginning_to_end(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, np.ndarray]] = []
    real = packing.pieces

    def watched(*given: object) -> object:
        for first, rows in real(*given):  # type: ignore[arg-type]
            read.append((first, rows.copy()))
            yield first, rows

    monkeypatch.setattr(packing, "pieces", watched)
    layers = packed(tmp_path, data.folder, ranges=7, blowup=1)
    assert [first for first, _ in read] == bounds(NODES, 7)[:-1].tolist()
    assert np.concatenate([rows for _, rows in read]).tobytes() == data.raw.read_bytes()
    assert layers.saved.ranges == 7


def rows_of(layers: Layers, data: Dataset) -> Sequence[np.ndarray]:
    """Packed rows, in the order in which nodes stand in the batch."""
    found = []
    for number in range(layers.saved.batches):
        at = layers.placement(number).packed_at
        rows = np.fromfile(layers.packed(number), np.float32).reshape(-1, data.meta.dim)
        found.append(rows[np.argsort(at)])
    return found


def test_holds_39_7_ranges_pack_what_random_reads_would_up_to_the_stored_order(data: Dataset, tmp_path: Path) -> None:
    gathered = packed(tmp_path / "one", data.folder, ranges=1, blowup=1)
    ranged = packed(tmp_path / "many", data.folder, ranges=7, blowup=1)
    moved = 0
    for number, (one, many) in enumerate(zip(rows_of(gathered, data), rows_of(ranged, data), strict=True)):
        assert np.array_equal(one, many)
        nodes = lists_of(ranged)[number]
        assert np.array_equal(one, data.features[nodes[np.sort(gathered.placement(number).packed_at)]])
        moved += gathered.packed(number).read_bytes() != ranged.packed(number).read_bytes()
    assert moved, "with several ranges a file is in another order"


def test_two_runs_pack_the_same_bytes(data: Dataset, tmp_path: Path, layers: Layers) -> None:
    again = packed(tmp_path, data.folder, blowup=1)
    files = sorted(path.relative_to(layers.folder) for path in layers.folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.folder) for path in again.folder.rglob("*") if path.is_file())
    assert all((layers.folder / name).read_bytes() == (again.folder / name).read_bytes() for name in files)
    other = packed(tmp_path / "seed", data.folder, blowup=1, seed=1)
    assert not np.array_equal(lists_of(other)[0], lists_of(layers)[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blowup": 0}, "blowup = 0: a number above 0"),
        ({"blowup": -2}, "blowup = -2: a number above 0"),
        ({"gpu_bytes": -1}, "gpu_bytes = -1: bytes, 0 or more"),
        ({"cpu_bytes": -512}, "cpu_bytes = -512: bytes, 0 or more"),
    ],
)
def test_holds_39_7_bad_limits_and_budgets_are_refused_by_name(changes: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=f"parameter {words}"):
        check(Params, {**PACKED, **changes}, "decompose")


def test_a_folder_without_layers_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"layers .*: not packed by diskgnn"):
        open_layers(tmp_path)
