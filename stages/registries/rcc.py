"""Reader of Qt binary resource files (.rcc), which carry GCompris's pictures.

Layout, all big-endian: magic `qres`, then uint32 version and the offsets of tree, data and names. A tree entry has
14 bytes in version 1, else 22: uint32 offset of its name, uint16 flags, then for a folder uint32 number of children
and uint32 first child, for a file uint32 (country, language) and uint32 offset of its data.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import zstandard

ZLIB, FOLDER, ZSTD = 1, 2, 4
LARGEST = 1 << 28  # bytes; a member claiming more is not believed


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file; raises `ValueError` if this is no .rcc or a damaged one."""
    try:
        magic, version, tree, contents, names = struct.unpack_from(">4sIIII", data)
        if magic != b"qres":
            raise ValueError("not a Qt resource file: it does not begin with 'qres'")
        yield from _walk(data, (tree, contents, names), 14 if version == 1 else 22, 0, "")
    except (struct.error, zlib.error, zstandard.ZstdError, RecursionError) as error:
        raise ValueError(f"damaged Qt resource file: {error}") from error


def _walk(data: bytes, at: tuple[int, int, int], size: int, index: int, folder: str) -> Iterator[tuple[str, bytes]]:
    tree, contents, names = at
    entry = tree + index * size
    name_at, flags = struct.unpack_from(">IH", data, entry)
    path = f"{folder}/{_name(data, names + name_at)}".lstrip("/") if index else ""
    first, second = struct.unpack_from(">II", data, entry + 6)
    if not flags & FOLDER:
        yield path, _content(data, contents + second, flags)
        return
    for child in range(second, second + first):
        yield from _walk(data, at, size, child, path)


def _name(data: bytes, at: int) -> str:
    """A name: uint16 length, uint32 hash, UTF-16."""
    (length,) = struct.unpack_from(">H", data, at)
    return data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")


def _content(data: bytes, at: int, flags: int) -> bytes:
    """A file's bytes: uint32 length, then the bytes as they are or compressed."""
    (length,) = struct.unpack_from(">I", data, at)
    packed = data[at + 4 : at + 4 + length]
    if flags & ZLIB:
        return zlib.decompress(packed[4:])
    return zstandard.decompress(packed, max_output_size=LARGEST) if flags & ZSTD else packed
