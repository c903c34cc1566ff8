"""Reading rows of raw files by whole pages, past the page cache where asked, and counting what is read."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from systems.graph.diskgnn.accounting import PAGE
from systems.parts.errors import UserError
from systems.parts.graph_sampling import Nodes


class PageReader:
    """Reads rows of `dim` floats from raw files; `pages` counts the pages read so far. One thread at a time."""

    def __init__(self, dim: int, direct: bool) -> None:
        """`direct` bypasses the page cache (O_DIRECT)."""
        self.dim, self.direct, self.pages = dim, direct, 0

    def whole(self, path: Path) -> Float32[np.ndarray, "rows d"]:
        """All rows of a file, in one sequential read."""
        size = path.stat().st_size
        pages = np.arange(-(-size // PAGE))
        return self._read(path, pages).view(np.float32)[: size // 4].reshape(-1, self.dim)

    def rows(self, path: Path, rows: Nodes) -> Float32[np.ndarray, "rows d"]:
        """Some rows of a file; a page that holds several of them is read once."""
        starts = rows * 4 * self.dim
        longest = (4 * self.dim + PAGE - 2) // PAGE + 1
        under = starts[:, None] // PAGE + np.arange(longest)
        pages = np.unique(under[under <= (starts[:, None] + 4 * self.dim - 1) // PAGE])
        read = self._read(path, pages).view(np.float32)
        first = np.searchsorted(pages, starts // PAGE) * (PAGE // 4) + starts % PAGE // 4
        found: Float32[np.ndarray, "rows d"] = read[first[:, None] + np.arange(self.dim)]
        return found

    def _read(self, path: Path, pages: Nodes) -> UInt8[np.ndarray, " b"]:
        """Contents of ascending pages, one behind the other; neighbouring pages in one call."""
        if not len(pages):
            return np.empty(0, np.uint8)
        self.pages += len(pages)
        memory = mmap.mmap(-1, len(pages) * PAGE)  # starts on a page, as O_DIRECT wants it
        breaks = np.flatnonzero(np.diff(pages) != 1) + 1
        ends = [*breaks.tolist(), len(pages)]
        file = self._open(path)
        try:
            for start, end in zip([0, *breaks.tolist()], ends, strict=True):
                _fill(file, memoryview(memory)[start * PAGE : end * PAGE], int(pages[start]) * PAGE)
        finally:
            os.close(file)
        contents: UInt8[np.ndarray, " b"] = np.frombuffer(memory, np.uint8)
        return contents

    def _open(self, path: Path) -> int:
        try:
            return os.open(path, os.O_RDONLY | (os.O_DIRECT if self.direct else 0))
        except OSError as error:
            if not self.direct:
                raise
            raise UserError(f"parameter direct = true: {path} cannot be read past the page cache ({error})") from error


def _fill(file: int, memory: memoryview, offset: int) -> None:
    """Read whole pages from `offset` of a file, which may end in the last of them."""
    got = os.preadv(file, [memory], offset)
    if got <= len(memory) - PAGE:
        raise OSError(f"{got} of {len(memory)} bytes read at {offset}")
