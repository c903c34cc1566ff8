"""The cut-outs and photographs that scenes are made of; what cannot serve is set aside, and the reason is told."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow.parquet as pq
from jaxtyping import UInt8

from systems.image_layers.mulan.scenes import HALF, box_of
from systems.parts.errors import UserError
from systems.parts.pictures import alpha_of, decode, quantise, resize, unit

Split = Literal["train", "test"]
KINDS = ("cutout", "photo")
LEAST = 4
"""Assets of a kind that each split needs."""

CLEAR, SOLID = 26, 230
"""Alpha below which nothing is there, and from which nothing shines through."""
SOFT, WHOLE, THIN, LONG = 0.3, 0.8, 0.12, 5.0
"""Largest share of soft pixels, least share in one piece, least share of its own box, longest for its breadth."""


@dataclass(frozen=True)
class Asset:
    """A cut-out (straight-alpha RGBA, cut to its box) or a photograph (RGB)."""

    name: str
    kind: str
    phrase: str
    picture: UInt8[np.ndarray, "h w c"]


@dataclass(frozen=True)
class SetAside:
    """An asset that no scene uses."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Assets:
    """What serves one split, in the order of the names, and what does not."""

    cutouts: Sequence[Asset]
    photos: Sequence[Asset]
    aside: Sequence[SetAside]


def load(folder: Path, split: Split, test_share: float, side: int) -> Assets:
    """The assets of a split, shrunk to what scenes of `side` px need; one line if a kind is too rare."""
    fine: dict[str, list[Asset]] = {kind: [] for kind in KINDS}
    aside = []
    for row in _rows(folder, split, test_share):
        made = examine(row, side)
        if isinstance(made, Asset):
            fine[made.kind].append(made)
        else:
            aside.append(made)
    for kind, assets in fine.items():
        if len(assets) < LEAST:
            raise UserError(
                f"sources {folder}: {len(assets)} assets of kind {kind} serve {split}, at least {LEAST} are wanted"
            )
        assets.sort(key=lambda asset: asset.name)
    return Assets(fine["cutout"], fine["photo"], sorted(aside, key=lambda asset: asset.name))


def _rows(folder: Path, split: Split, test_share: float) -> Iterator[Mapping[str, Any]]:
    catalogue = pq.read_table(folder / "catalogue.parquet", columns=["asset_id", "kind"]).to_pylist()
    wanted = [
        name
        for kind in KINDS
        for name, place in split_of([r["asset_id"] for r in catalogue if r["kind"] == kind], test_share).items()
        if place == split
    ]
    return stored(folder, wanted)


def stored(folder: Path, names: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of the assets named, pictures included, in the order of the sources' files."""
    wanted = set(names)
    for path in sorted(path for path in folder.glob("*.parquet") if path.stem != "catalogue"):
        for batch in pq.ParquetFile(path).iter_batches(columns=["asset_id", "kind", "phrase", "licence", "image"]):
            yield from (row for row in batch.to_pylist() if row["asset_id"] in wanted)


def split_of(names: Sequence[str], test_share: float) -> dict[str, Split]:
    """Where assets belong: in the order of their names' sums the first share is held out."""
    order = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    held_out = set(order[: max(1, round(test_share * len(order)))])
    return {name: "test" if name in held_out else "train" for name in names}


def examine(row: Mapping[str, Any], side: int) -> Asset | SetAside:
    """An asset ready for use, or the reason why it cannot serve."""
    name, kind = row["asset_id"], row["kind"]
    try:
        picture = decode(row["image"]["bytes"])
    except UserError as error:
        return SetAside(name, kind, str(error))
    reason = photo_fault(picture, side) if kind == "photo" else cutout_fault(picture, side)
    if reason:
        return SetAside(name, kind, reason)
    if kind == "cutout":
        left, top, right, bottom = box_of(picture[..., 3] >= CLEAR)
        picture = np.ascontiguousarray(picture[top:bottom, left:right])
    return Asset(name, kind, row["phrase"], shrunk(picture, side if kind == "cutout" else 3 * side))


def photo_fault(picture: UInt8[np.ndarray, "h w c"], side: int) -> str:
    """Why a photograph cannot be a background of `side` px; empty if it can."""
    height, width, channels = picture.shape
    if channels != 3:
        return "has an alpha channel"
    if width <= height:
        return f"not in landscape format ({width} x {height} px)"
    return f"only {height} px high, {side} are wanted" if height < side else ""


def cutout_fault(picture: UInt8[np.ndarray, "h w c"], side: int) -> str:
    """Why a cut-out cannot be an instance in scenes of `side` px; empty if it can."""
    if picture.shape[2] != 4:
        return "has no alpha channel"
    alpha = alpha_of(picture)
    there = alpha >= CLEAR
    solid = (alpha >= HALF).astype(np.uint8)
    if not solid.any():
        return "nothing in it is solid"
    left, top, right, bottom = box_of(there)
    breadth, length = sorted((right - left, bottom - top))
    soft = np.count_nonzero(there & (alpha < SOLID)) / np.count_nonzero(there)
    sizes = cv2.connectedComponentsWithStats(solid)[2][1:, cv2.CC_STAT_AREA]
    faults = {
        f"only {length} px long, {side // 2} are wanted": length < side // 2,
        f"{length} px long and only {breadth} broad": length > LONG * breadth,
        f"{soft:.0%} of it is neither clear nor solid": soft > SOFT,
        f"in {len(sizes)} pieces": sizes.max() < WHOLE * sizes.sum(),
        "covers little of its own box": solid.sum() < THIN * length * breadth,
    }
    return "; ".join(fault for fault, found in faults.items() if found)


def shrunk(picture: UInt8[np.ndarray, "h w c"], side: int) -> UInt8[np.ndarray, "h w c"]:
    """The picture with its longer side at most `side` px."""
    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return quantise(resize(unit(picture), *(max(1, round(length * scale)) for length in picture.shape[:2])))
