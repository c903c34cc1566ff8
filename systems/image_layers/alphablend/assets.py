"""The pictures that foregrounds and backgrounds are made of, split so that no asset serves both train and test."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import UInt8

from systems.parts.errors import UserError
from systems.parts.pictures import decode, quantise, resize, unit

Split = Literal["train", "test"]
NEEDED = {"cutout": 4, "photo": 4, "mark": 1, "light": 1}
"""Least assets of a kind in each split; the other kinds have a stand-in."""


@dataclass(frozen=True)
class Asset:
    """One picture: RGB or straight-alpha RGBA."""

    name: str
    kind: str
    phrase: str
    picture: UInt8[np.ndarray, "h w c"]


def split_of(names: Sequence[str], test_share: float) -> dict[str, Split]:
    """Where the assets of one kind belong: in the order of their names' hashes the first share is held out."""
    order = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    held_out = set(order[: max(1, round(test_share * len(order)))])
    return {name: "test" if name in held_out else "train" for name in names}


class Assets:
    """Assets of one split by kind, in the order of their names."""

    def __init__(self, assets: Sequence[Asset]) -> None:
        self.by_kind: dict[str, list[Asset]] = {}
        for asset in sorted(assets, key=lambda asset: asset.name):
            self.by_kind.setdefault(asset.kind, []).append(asset)

    def pick(self, rng: np.random.Generator, *kinds: str) -> Asset:
        """One asset of the first of `kinds` that there is any of."""
        for kind in kinds:
            if kind in self.by_kind:
                return self.by_kind[kind][rng.integers(len(self.by_kind[kind]))]
        raise UserError(f"sources: no asset of kind {' or '.join(kinds)}")


def load(folder: Path, split: Split, test_share: float, side: int) -> Assets:
    """Every asset of a split, decoded once and shrunk to at most `side` px; one line if a kind is too rare."""
    assets = Assets(list(_read(folder, split, test_share, side)))
    for kind, least in NEEDED.items():
        count = len(assets.by_kind.get(kind, []))
        if count < least:
            raise UserError(f"sources {folder}: {count} assets of kind {kind} for {split}, at least {least} are wanted")
    return assets


def _read(folder: Path, split: Split, test_share: float, side: int) -> Iterator[Asset]:
    catalogue = pq.read_table(folder / "catalogue.parquet", columns=["asset_id", "kind"]).to_pylist()
    splits: dict[str, Split] = {}
    for kind in {row["kind"] for row in catalogue}:
        splits |= split_of([row["asset_id"] for row in catalogue if row["kind"] == kind], test_share)
    for path in sorted(folder.glob("*.parquet")):
        if path.stem == "catalogue":
            continue
        for row in pq.read_table(path, columns=["asset_id", "kind", "phrase", "image"]).to_pylist():
            if splits[row["asset_id"]] == split:
                picture = _shrink(decode(row["image"]["bytes"]), side)
                yield Asset(row["asset_id"], row["kind"], row["phrase"], picture)


def _shrink(picture: UInt8[np.ndarray, "h w c"], side: int) -> UInt8[np.ndarray, "h w c"]:
    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return quantise(resize(unit(picture), *(max(1, round(length * scale)) for length in picture.shape[:2])))


def used(folder: Path, names: set[str]) -> pa.Table:
    """Catalogue rows of the assets named."""
    catalogue = pq.read_table(folder / "catalogue.parquet")
    return catalogue.filter(pc.is_in(catalogue["asset_id"], pa.array(sorted(names))))
