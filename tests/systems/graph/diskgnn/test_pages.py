"""Pages counted by formula, by the reader, and byte by byte."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.graph.diskgnn.accounting import pages_of_rows, pages_of_run
from systems.graph.diskgnn.pages import PageReader
from systems.parts.errors import UserError

dims = st.sampled_from([1, 20, 128, 384, 1000, 1024, 1025, 2500])


def touched(rows: set[int], dim: int) -> set[int]:
    return {byte // 4096 for row in rows for byte in range(4 * dim * row, 4 * dim * (row + 1), 4)}


@given(st.sets(st.integers(0, 60), max_size=12), dims)
def test_pages_are_those_under_the_bytes_of_the_rows(rows: set[int], dim: int) -> None:
    assert pages_of_rows(np.array(list(rows), np.int64), dim) == len(touched(rows, dim))


@given(st.integers(0, 60), dims)
def test_a_file_read_whole_has_all_its_pages(rows: int, dim: int) -> None:
    assert pages_of_run(rows, dim) == len(touched(set(range(rows)), dim))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


@given(st.lists(st.integers(0, 60), max_size=12, unique=True), dims)
def test_rows_are_read_by_pages(folder: Path, rows: list[int], dim: int) -> None:
    raw = np.arange(61 * dim, dtype=np.float32).reshape(61, dim)
    path = folder / f"{dim}.bin"
    raw.tofile(path)
    reader = PageReader(dim, direct=False)
    assert np.array_equal(reader.rows(path, np.array(rows, np.int64)), raw[rows])
    assert reader.pages == len(touched(set(rows), dim))
    assert np.array_equal(reader.whole(path), raw)
    assert reader.pages == len(touched(set(rows), dim)) + pages_of_run(61, dim)


def test_an_empty_file_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    reader = PageReader(5, direct=False)
    assert reader.whole(tmp_path / "empty.bin").shape == (0, 5)
    assert reader.pages == 0


def test_direct_reads_ask_the_system_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.arange(3000, dtype=np.float32).reshape(-1, 3)
    raw.tofile(tmp_path / "raw.bin")
    flags: list[int] = []
    real = os.open

    def watched(path: Path, flag: int) -> int:
        flags.append(flag)
        return real(path, flag & ~os.O_DIRECT)  # not every file system of a test machine knows it

    monkeypatch.setattr(os, "open", watched)
    assert np.array_equal(PageReader(3, direct=True).rows(tmp_path / "raw.bin", np.array([999, 2])), raw[[999, 2]])
    assert flags == [os.O_RDONLY | os.O_DIRECT]


def test_a_file_system_without_direct_reads_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(40))

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"parameter direct = true: .*raw.bin cannot be read past the page cache"):
        PageReader(5, direct=True).whole(tmp_path / "raw.bin")


def test_a_file_that_ends_too_soon_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(5000))
    with pytest.raises(OSError, match="bytes read at 8192"):
        PageReader(1024, direct=False).rows(tmp_path / "raw.bin", np.array([2]))
