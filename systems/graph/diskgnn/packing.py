"""Step 7 of card 39: one sequential pass over the raw file fills memory, disk caches and packed files alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from systems.graph.diskgnn.dataset import RAW
from systems.graph.diskgnn.plan import Plan, bounds
from systems.graph.diskgnn.storage import MEMORY, cache_path, packed_path
from systems.parts.graph_sampling import Nodes

Rows = Float32[np.ndarray, "rows d"]


def pack(raw: Path, dim: int, nodes: int, lists: Sequence[Nodes], plan: Plan, ranges: int, folder: Path) -> int:
    """Write `memory.bin`, `caches/` and `packed/`; returns how many bytes of the raw file were read."""
    ordered = {folder / MEMORY: plan.memory}
    ordered |= {cache_path(folder, segment): cached for segment, cached in enumerate(plan.caches)}
    streamed = {
        packed_path(folder, batch): some[placement.packed_at]
        for batch, (some, placement) in enumerate(zip(lists, plan.batches, strict=True))
    }
    for path in (*ordered, *streamed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    read = 0
    for first, rows in pieces(raw, dim, nodes, ranges):
        for path, wanted in ordered.items():
            _fill(path, wanted, first, rows)
        for path, wanted in streamed.items():
            _append(path, wanted, first, rows)
        read += rows.nbytes
    return read


def pieces(raw: Path, dim: int, nodes: int, ranges: int) -> Iterator[tuple[int, Rows]]:
    """The raw file from its beginning to its end in equal contiguous ranges, each with its first node."""
    with raw.open("rb") as file:
        for first, end in pairwise(bounds(nodes, ranges).tolist()):
            yield first, np.fromfile(file, RAW, (end - first) * dim).reshape(-1, dim)


def _fill(path: Path, wanted: Nodes, first: int, rows: Rows) -> None:
    """Write the rows of a range to their places in a file of rows in the order `wanted`."""
    at = np.flatnonzero((wanted >= first) & (wanted < first + len(rows)))
    if len(at):
        with path.open("r+b") as file:
            file.truncate(wanted.size * rows.itemsize * rows.shape[1])
        np.memmap(path, RAW, "r+", shape=(len(wanted), rows.shape[1]))[at] = rows[wanted[at] - first]


def _append(path: Path, wanted: Nodes, first: int, rows: Rows) -> None:
    """Write the rows of a range to the end of a packed file, in the order `wanted` has them."""
    inside = wanted[(wanted >= first) & (wanted < first + len(rows))]
    with path.open("ab") as file:
        rows[inside - first].tofile(file)
