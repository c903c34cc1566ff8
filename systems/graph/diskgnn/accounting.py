"""Step 9 of card 39: pages that are read, counted rather than timed."""

from __future__ import annotations

import numpy as np

from systems.graph.diskgnn.plan import Placement
from systems.parts.graph_sampling import Nodes

PAGE = 4096
"""Bytes of a disk page."""


def pages_of_rows(rows: Nodes, dim: int) -> int:
    """Different pages under the given rows of a file of `dim` 4-byte floats a row; a row may cross pages."""
    ordered = np.sort(rows)
    first, last = ordered * 4 * dim // PAGE, ((ordered + 1) * 4 * dim - 1) // PAGE
    seen = np.concatenate([[-1], last[:-1]])  # of the rows before, whose last pages never go down
    return int((last - np.maximum(first, seen + 1) + 1).sum())


def pages_of_run(rows: int, dim: int) -> int:
    """Pages of a file of so many rows, read whole."""
    return -(-rows * 4 * dim // PAGE)


def naive_pages(nodes: Nodes, placement: Placement, dim: int) -> int:
    """Pages of the raw file under what memory does not hold, each read once a batch."""
    cold = np.concatenate([placement.cache_at, placement.packed_at])
    return pages_of_rows(nodes[cold], dim)


def cache_pages(placement: Placement, dim: int) -> int:
    """Pages of the disk cache a batch reads."""
    return pages_of_rows(placement.cache_row, dim)


def packed_pages(placement: Placement, dim: int) -> int:
    """Pages of the packed file a batch reads."""
    return pages_of_run(len(placement.packed_at), dim)
