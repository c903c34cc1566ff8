"""A foreground that was blended over a background, as a stack of layers.

Glass bends what lies behind it, which no layered file can say. Its stack shows what is seen through the glass as a
layer of its own; the glass itself is there too, hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import UInt8

from systems.parts.blend import blend
from systems.parts.layered_files.stack import BLENDS, Layer, Stack, with_alpha
from systems.parts.pictures import quantise, unit

BACKGROUND, FOREGROUND, SEEN = "background", "foreground", "seen through the foreground"


def blended(
    fg: UInt8[np.ndarray, "h w 4"], bg: UInt8[np.ndarray, "h w 3"], tau: str, params: Mapping[str, float]
) -> Stack:
    """The stack whose picture is the composite of `fg` over `bg` by blend `tau`, within 1/255."""
    below, upper = Layer(BACKGROUND, with_alpha(bg)), Layer(FOREGROUND, fg)
    size = bg.shape[1], bg.shape[0]
    if tau in BLENDS:
        return Stack(size, (below, replace(upper, blend=tau)))
    seen = quantise(blend(tau, unit(fg), unit(bg), params)) if fg[..., 3].any() else bg
    changed = (seen != bg).any(axis=2) * np.uint8(255)
    return Stack(size, (below, replace(upper, visible=False), Layer(SEEN, np.dstack((seen, changed)))))


def read_rows(shards: Sequence[Path], columns: Sequence[str], rows: range) -> Iterator[Mapping[str, Any]]:
    """Some rows of a table, counted over its shards; only those that hold any are read."""
    first = 0
    for shard in shards:
        count = pq.read_metadata(shard).num_rows
        start, end = max(rows.start - first, 0), min(rows.stop - first, count)
        if start < end:
            yield from pq.read_table(shard, columns=list(columns)).slice(start, end - start).to_pylist()
        first += count
