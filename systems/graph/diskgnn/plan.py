"""Steps 1 to 6 of card 39: where each mini-batch finds the features it needs, decided from samples alone.

Level 1 is the accelerator's memory, level 2 the host's, level 3 a disk cache that the batches of a segment share,
level 4 the batch's own packed file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from systems.parts.errors import UserError
from systems.parts.graph_sampling import Nodes

UNLIMITED = -1.0
"""The `blowup` with which every batch has a file of its own for all that memory does not hold."""


@dataclass(frozen=True)
class Placement:
    """Where a batch finds its rows: positions in its node list, and the slot or row of each in its level."""

    memory_at: Nodes
    memory_slot: Nodes
    cache_at: Nodes
    cache_row: Nodes
    packed_at: Nodes
    """In the order of the packed file."""


@dataclass(frozen=True)
class Plan:
    """The four levels: nodes in memory (the first `accelerated` are level 1), in each disk cache, and in the files."""

    memory: Nodes
    accelerated: int
    segment: int
    """Consecutive batches that share a disk cache."""
    caches: tuple[Nodes, ...]
    batches: tuple[Placement, ...]

    @property
    def disk_rows(self) -> int:
        """Rows on disk: all packed files and disk caches together."""
        return sum(len(batch.packed_at) for batch in self.batches) + sum(map(len, self.caches))


def check_blowup(blowup: float) -> float:
    """Refuse a limit of disk space that means nothing."""
    if blowup != UNLIMITED and not blowup > 0:
        raise UserError(f"parameter blowup = {blowup:g}: a number above 0, or -1 for no limit, is wanted")
    return blowup


def rows_within(budget: int, dim: int, name: str) -> int:
    """Rows of `dim` 4-byte floats that `budget` bytes hold."""
    if budget < 0:
        raise UserError(f"parameter {name} = {budget}: bytes, 0 or more, are wanted")
    return budget // (4 * dim)


def popularity(lists: Sequence[Nodes], nodes: int) -> Int[np.ndarray, " nodes"]:
    """In how many of the lists, each without repetition, every node occurs."""
    counts = np.zeros(nodes, np.int64)
    for some in lists:
        counts[some] += 1
    return counts


def most_popular(lists: Sequence[Nodes], nodes: int, most: int) -> Nodes:
    """At most `most` nodes, those of most lists first; of equals the smaller one."""
    return np.argsort(-popularity(lists, nodes), kind="stable")[:most]


def places_of(listed: Nodes, nodes: int) -> Int[np.ndarray, " nodes"]:
    """Address table: place of every node in `listed`, -1 where it is not there."""
    table = np.full(nodes, -1, np.int64)
    table[listed] = np.arange(len(listed))
    return table


def segment_length(cold: Sequence[Nodes], nodes: int, blowup: float) -> tuple[int, int]:
    """Step 4: batches a segment and rows of its disk cache, so that the disk holds about `blowup` times all nodes."""
    if blowup == UNLIMITED:
        return max(1, len(cold)), 0
    counts = np.zeros(nodes, np.int64)
    shared, single = 0, 0
    for done, some in enumerate(cold, 1):
        before = counts[some]
        new, again = int((before == 0).sum()), int((before == 1).sum())
        shared, single = shared + again, single + new - again
        counts[some] += 1
        if (shared + single) * len(cold) / done < blowup * nodes:
            return done, shared
    return max(1, len(cold)), shared


def disk_cache(cold: Sequence[Nodes], nodes: int, most: int, rng: np.random.Generator) -> Nodes:
    """Step 5: nodes that several batches of a segment need, at most `most`, in min-hash order."""
    counts = popularity(cold, nodes)
    several = np.flatnonzero(counts > 1)
    chosen = several[np.argsort(-counts[several], kind="stable")[:most]]
    return min_hash_order(chosen, cold, nodes, rng)


def min_hash_order(chosen: Nodes, cold: Sequence[Nodes], nodes: int, rng: np.random.Generator) -> Nodes:
    """The chosen nodes, those that the same batches use beside each other: sorted by two rounds of min-hash."""
    first, second = (_least(cold, nodes, rng.permutation(len(cold))) for _ in range(2))
    return chosen[np.argsort(first[chosen] * len(cold) + second[chosen], kind="stable")]


def _least(cold: Sequence[Nodes], nodes: int, ranks: Nodes) -> Int[np.ndarray, " nodes"]:
    """Smallest rank among the batches of each node."""
    least = np.full(nodes, len(cold), np.int64)
    for some, rank in zip(cold, ranks, strict=True):
        least[some] = np.minimum(least[some], rank)
    return least


def bounds(nodes: int, ranges: int) -> Nodes:
    """Ends of so many equal contiguous ranges of the raw file, from 0 to all nodes."""
    return np.arange(ranges + 1) * nodes // ranges


def place(some: Nodes, slots: Int[np.ndarray, " nodes"], rows: Int[np.ndarray, " nodes"], ends: Nodes) -> Placement:
    """Steps 3 and 6 of one batch; the packed file is in the order of the raw file's ranges, as it is streamed."""
    in_memory = slots[some] >= 0
    in_cache = ~in_memory & (rows[some] >= 0)
    packed = np.flatnonzero(~in_memory & ~in_cache)
    ranges = np.searchsorted(ends, some[packed], side="right")
    memory_at, cache_at = np.flatnonzero(in_memory), np.flatnonzero(in_cache)
    return Placement(
        memory_at,
        slots[some[memory_at]],
        cache_at,
        rows[some[cache_at]],
        packed[np.argsort(ranges, kind="stable")],
    )


def make_plan(
    lists: Sequence[Nodes],
    nodes: int,
    rows: tuple[int, int],
    blowup: float,
    ranges: int,
    rng: np.random.Generator,
) -> Plan:
    """The four levels for the node lists of all batches; `rows` fit into levels 1 and 2."""
    memory = most_popular(lists, nodes, sum(rows))
    slots, ends = places_of(memory, nodes), bounds(nodes, ranges)
    cold = [some[slots[some] < 0] for some in lists]
    segment, most = segment_length(cold, nodes, check_blowup(blowup))
    caches, batches = [], []
    for start in range(0, len(lists), segment):
        caches.append(disk_cache(cold[start : start + segment], nodes, most, rng))
        cached = places_of(caches[-1], nodes)
        batches += [place(some, slots, cached, ends) for some in lists[start : start + segment]]
    return Plan(memory, min(rows[0], len(memory)), segment, tuple(caches), tuple(batches))
