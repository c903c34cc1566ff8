"""Pictures taken apart, as rows of Parquet shards."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool

from systems.image_layers.mulan.order import Rung
from systems.image_layers.mulan.providers import Box, Picture
from systems.image_layers.mulan.stack import Layer, Pair, Stack
from systems.parts.pictures import IMAGE, decode, encode, write_table

PHOTOGRAPHS = "photographs"
"""How the labels of runs over photographs begin; all others are over scenes."""
NUMBER = 5 * "[0-9]"
ASIDE = "aside"
GROUP = 8
"""Pictures of a row group."""
MASKS = ("original", "visible", "whole", "switched")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("provider", pa.string()),
        ("seed", pa.int64()),
        ("image", IMAGE),
        ("layers", IMAGE),
        *((name, pa.binary()) for name in MASKS),
        ("labels", pa.list_(pa.string())),
        ("captions", pa.list_(pa.string())),
        ("caption", pa.string()),
        ("depth", pa.list_(pa.float64())),
        ("boxes", pa.list_(pa.float64())),
        ("pairs", pa.list_(pa.float64())),
        ("mutual", pa.list_(pa.int64())),
        ("orders", pa.string()),
        ("psnr", pa.float64()),
        ("rejected", pa.bool_()),
    ]
)
"""`layers` is one RGBA picture, the layers below each other, with alpha before it is altered; masks are packed bits;
a box of an instance is x0, y0, x1, y1, score, a pair is two layers and both probabilities, one after the other."""


@dataclass(frozen=True)
class Kept:
    """A picture, its stack, the order of its layers at every rung of the ladder, and how well it flattens."""

    id: str
    provider: str
    seed: int
    image: Picture
    stack: Stack
    orders: Mapping[Rung, Sequence[int]]
    psnr: float
    rejected: bool

    @property
    def file(self) -> str:
        """The id as a file's name."""
        return re.sub(r"[^\w.-]", "-", self.id)


def row_of(kept: Kept) -> dict[str, Any]:
    """A picture as it is stored."""
    layers, width = kept.stack.layers, kept.image.shape[1]
    strip = np.stack([np.dstack((layer.colour, layer.alpha)) for layer in layers])
    boxes = [layer.box for layer in layers if layer.box]
    return {
        "id": kept.id,
        "provider": kept.provider,
        "seed": kept.seed,
        "image": {"bytes": encode(kept.image), "path": f"{kept.id}.webp"},
        "layers": {"bytes": encode(strip.reshape(-1, width, 4)), "path": f"{kept.id}-layers.webp"},
        **{name: np.packbits([getattr(layer, name) for layer in layers]).tobytes() for name in MASKS},
        "labels": [layer.label for layer in layers],
        "captions": [layer.caption for layer in layers],
        "caption": kept.stack.caption,
        "depth": [layer.depth for layer in layers],
        "boxes": [value for box in boxes for value in (box.x0, box.y0, box.x1, box.y1, box.score)],
        "pairs": [value for pair in kept.stack.pairs for value in (pair.first, pair.second, pair.there, pair.back)],
        "mutual": [number for pair in kept.stack.mutual for number in pair],
        "orders": json.dumps(kept.orders),
        "psnr": kept.psnr,
        "rejected": kept.rejected,
    }


def shard_of(rows: Sequence[Mapping[str, Any]], aside: Sequence[Mapping[str, str]]) -> bytes:
    """A shard; what was set aside on the way stands in its metadata."""
    content = io.BytesIO()
    schema = SCHEMA.with_metadata({ASIDE: json.dumps(aside)})
    write_table(pa.Table.from_pylist(rows, schema=schema), content, GROUP)
    return content.getvalue()


def set_aside(shard: Path | BinaryIO) -> list[dict[str, str]]:
    """Run, id and reason of every picture that was set aside while a shard was made."""
    found: list[dict[str, str]] = json.loads(pq.read_schema(shard).metadata[ASIDE.encode()])
    return found


def kept_of(row: Mapping[str, Any]) -> Kept:
    """A picture of a stored row."""
    image = decode(row["image"]["bytes"])
    shape = (len(row["labels"]), *image.shape[:2])
    strip = decode(row["layers"]["bytes"]).reshape(*shape, 4)
    masks = {name: _unpacked(row[name], shape) for name in MASKS}
    boxes = _groups(row["boxes"], 5)
    layers = [
        Layer(
            label=label,
            colour=np.ascontiguousarray(strip[number, ..., :3]),
            alpha=np.ascontiguousarray(strip[number, ..., 3]),
            **{name: masks[name][number] for name in MASKS},
            depth=row["depth"][number],
            box=_box(boxes[number - 1], label) if number else None,
            caption=row["captions"][number],
        )
        for number, label in enumerate(row["labels"])
    ]
    pairs = [Pair(int(first), int(second), there, back) for first, second, there, back in _groups(row["pairs"], 4)]
    mutual = [(lower, upper) for lower, upper in _groups(row["mutual"], 2)]
    stack = Stack(layers, pairs, mutual, row["caption"])
    orders = json.loads(row["orders"])
    return Kept(row["id"], row["provider"], row["seed"], image, stack, orders, row["psnr"], row["rejected"])


def _box(values: Sequence[float], label: str) -> Box:
    x0, y0, x1, y1 = (int(value) for value in values[:4])
    return Box(x0, y0, x1, y1, values[4], label)


def _unpacked(bits: bytes, shape: tuple[int, ...]) -> Bool[np.ndarray, "n h w"]:
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=int(np.prod(shape)))
    return flat.reshape(shape).astype(bool)


def _groups(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def shards_of(folder: Path, label: str) -> list[Path]:
    """The shards of one run of the pipeline over many pictures, as `learned-0`."""
    return sorted(folder.glob(f"{label}-{NUMBER}.parquet"))


def runs_of(folder: Path) -> list[str]:
    """Labels of the runs whose pictures are stored, as learned-0 and photographs-learned."""
    return sorted({path.stem.rsplit("-", 1)[0] for path in folder.glob(f"*-*-{NUMBER}.parquet")})


def read_kept(folder: Path, label: str) -> Iterator[Kept]:
    """Every picture of a run, in order."""
    for path in shards_of(folder, label):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=GROUP):
            yield from map(kept_of, batch.to_pylist())


def column_of(shard: Path, name: str) -> list[Any]:
    """One column of a shard."""
    values: list[Any] = pq.read_table(shard, columns=[name])[name].to_pylist()
    return values
