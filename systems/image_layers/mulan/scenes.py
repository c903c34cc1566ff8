"""Scenes with known layers, as rows of Parquet shards: what is seen, what is hidden, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int, UInt8

from systems.parts.errors import UserError
from systems.parts.pictures import IMAGE, decode, encode

SPLITS = ("train", "test")
HALF = 128
"""Alpha from which a layer hides what is under it."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("seed", pa.int64()),
        ("background", pa.string()),
        ("cutouts", pa.list_(pa.string())),
        ("labels", pa.list_(pa.string())),
        ("depth", pa.list_(pa.float32())),
        ("mutual", pa.list_(pa.int64())),
        ("image", IMAGE),
        ("layers", IMAGE),
        ("switched", pa.binary()),
    ]
)
"""`layers` is one picture, the layers below each other; `mutual` pairs one after the other; `switched` packed bits."""


@dataclass(frozen=True)
class Scene:
    """One scene of n layers, from the bottom up; layer 0 is the background and covers everything.

    `layers` has straight alpha and the hidden colours too, so alpha from `HALF` on is the amodal mask. `visible` is
    disjoint and covers the picture. `depth` is 0..1, larger is farther. A mutual pair is (lower layer, upper layer):
    the lower one shows in front of the upper one where `switched` says that the upper one's alpha counts as zero.
    """

    id: str
    image: UInt8[np.ndarray, "h w 3"]
    layers: UInt8[np.ndarray, "n h w 4"]
    visible: Bool[np.ndarray, "n h w"]
    switched: Bool[np.ndarray, "n h w"]
    depth: Float32[np.ndarray, " n"]
    labels: Sequence[str]
    mutual: Sequence[tuple[int, int]]

    @property
    def amodal(self) -> Bool[np.ndarray, "n h w"]:
        """The whole of every layer, hidden parts included."""
        return self.layers[..., 3] >= HALF

    @property
    def boxes(self) -> Int[np.ndarray, "n 4"]:
        """Left, top, right and bottom (both past the end) of what is visible of every layer."""
        return np.stack([box_of(mask) for mask in self.visible])


def box_of(mask: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, " 4"]:
    """Left, top, right and bottom (both past the end) of a mask; zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(4, np.int64)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def flatten(
    layers: UInt8[np.ndarray, "n h w 4"], switched: Bool[np.ndarray, "n h w"] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """The layers over each other from the bottom up, without those parts of a layer that are `switched` off."""
    alpha = layers[..., 3:] / np.float32(255)
    if switched is not None:
        alpha = alpha * ~switched[..., None]
    flat = layers[0, ..., :3].astype(np.float32)
    for colour, cover in zip(layers[1:, ..., :3], alpha[1:], strict=True):
        flat = cover * colour + (1 - cover) * flat
    return np.rint(flat).astype(np.uint8)


def seen(layers: UInt8[np.ndarray, "n h w 4"], switched: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """Visible masks: a pixel belongs to the uppermost layer that hides what is under it there."""
    solid = (layers[..., 3] >= HALF) & ~switched
    top = len(layers) - 1 - solid[::-1].argmax(0)
    visible: Bool[np.ndarray, "n h w"] = top == np.arange(len(layers))[:, None, None]
    return visible


def row_of(scene: Scene, seed: int, background: str, cutouts: Sequence[str]) -> Mapping[str, Any]:
    """A scene as it is stored, with the assets it is made of."""
    count, height, width = scene.visible.shape
    strip = scene.layers.reshape(count * height, width, 4)
    return {
        "id": scene.id,
        "seed": seed,
        "background": background,
        "cutouts": list(cutouts),
        "labels": list(scene.labels),
        "depth": scene.depth.tolist(),
        "mutual": [place for pair in scene.mutual for place in pair],
        "image": {"bytes": encode(scene.image), "path": f"{scene.id}.webp"},
        "layers": {"bytes": encode(strip), "path": f"{scene.id}-layers.webp"},
        "switched": np.packbits(scene.switched).tobytes(),
    }


def scene_of(row: Mapping[str, Any]) -> Scene:
    """The scene of a stored row."""
    image, strip = decode(row["image"]["bytes"]), decode(row["layers"]["bytes"])
    shape = (len(row["depth"]), *image.shape[:2])
    layers = strip.reshape(*shape, 4)
    bits = np.unpackbits(np.frombuffer(row["switched"], np.uint8), count=int(np.prod(shape)))
    switched = bits.reshape(shape).astype(bool)
    pairs = iter(row["mutual"])
    return Scene(
        id=row["id"],
        image=image,
        layers=layers,
        visible=seen(layers, switched),
        switched=switched,
        depth=np.array(row["depth"], np.float32),
        labels=tuple(row["labels"]),
        mutual=tuple(zip(pairs, pairs, strict=True)),
    )


def rows(folder: Path, split: str) -> Iterator[Mapping[str, Any]]:
    """Every stored row of a split, in the order of its shards."""
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    if not shards:
        raise UserError(f"data set {folder}: no shard {split}-*.parquet")
    for shard in shards:
        for batch in pq.ParquetFile(shard).iter_batches():
            yield from batch.to_pylist()


def read_scenes(folder: Path, split: str, most: int | None = None) -> list[Scene]:
    """The scenes of a split, the first `most` of them where that is given."""
    return [scene_of(row) for row in islice(rows(folder, split), most)]
