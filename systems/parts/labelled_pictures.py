"""Small pictures, grey or RGB, with a class each, as Fashion-MNIST: Parquet with PNGs, and a stored split.

A folder holds `train.parquet`, `test.parquet` (columns `image`, `label`), `split.json` (rows of train that are held out
for validation) and `origin.json` (package, version, licence, names of the classes).
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64, UInt8
from PIL import Image

from systems.parts.errors import UserError
from systems.parts.pictures import IMAGE, write_table

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
FILES = ("train", "test")
ROWS = 1000
"""Pictures of a row group: they are small, and mostly read all."""


@dataclass(frozen=True)
class Labelled:
    """Pictures and their classes, 0 .. classes - 1."""

    pictures: UInt8[np.ndarray, "n h w *c"]
    labels: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> Labelled:
        return Labelled(self.pictures[rows], self.labels[rows])

    def first_of_each(self, counts: Sequence[int]) -> Labelled:
        """The first `counts[k]` pictures of class k, class by class; raises `UserError` if there are fewer."""
        rows = [np.flatnonzero(self.labels == number)[:count] for number, count in enumerate(counts)]
        for number, (found, count) in enumerate(zip(rows, counts, strict=True)):
            if len(found) < count:
                raise UserError(f"class {number}: {count} pictures are wanted, there are {len(found)}")
        return self[np.concatenate(rows)]


def write(folder: Path, name: str, labelled: Labelled) -> None:
    """Write `<name>.parquet`."""
    contents = [
        {"bytes": _png(picture), "path": f"{name}-{row:05d}.png"} for row, picture in enumerate(labelled.pictures)
    ]
    write_table(
        pa.table({"image": pa.array(contents, IMAGE), "label": pa.array(labelled.labels)}),
        folder / f"{name}.parquet",
        ROWS,
    )


def write_split(folder: Path, labels: Int64[np.ndarray, " n"], held: int, generator: np.random.Generator) -> None:
    """Write `split.json`: `held` rows of train, drawn from every class, in the order of the rows."""
    rows = [generator.permutation(np.flatnonzero(labels == number))[:held] for number in np.unique(labels)]
    chosen = sorted(int(row) for row in np.concatenate(rows))
    (folder / "split.json").write_text(json.dumps({"validation": chosen}) + "\n")


def read(folder: Path, part: Part) -> Labelled:
    """The pictures of one part; train and validation are the two sides of the stored split of train.parquet."""
    stored = read_file(folder / f"{'test' if part == 'test' else 'train'}.parquet")
    if part == "test":
        return stored
    held = np.zeros(len(stored), bool)
    held[json.loads((folder / "split.json").read_text())["validation"]] = True
    return stored[held if part == "validation" else ~held]


def read_file(path: Path) -> Labelled:
    """Every picture of a file, in its order."""
    table = pq.read_table(path)
    contents = table.column("image").combine_chunks().field("bytes")
    pictures = np.stack([_decoded(content.as_buffer(), path) for content in contents])
    return Labelled(pictures, table["label"].to_numpy().astype(np.int64))


def sheet(labelled: Labelled, classes: int, columns: int) -> UInt8[np.ndarray, "k n h w 3"]:
    """A row of the first pictures of each class, for `systems.parts.grids.grid`."""
    chosen = labelled.first_of_each([columns] * classes).pictures
    return chosen.reshape(classes, columns, *chosen.shape[1:])[..., None].repeat(3, -1)


def _png(picture: UInt8[np.ndarray, "h w *c"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _decoded(content: memoryview, path: Path) -> UInt8[np.ndarray, "h w *c"]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise UserError(f"data set {path}: a picture of {len(content)} bytes is truncated")
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
