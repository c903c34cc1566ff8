"""The data set as it lies on disk: a raw feature file, the graph as two arrays, and a table of the nodes.

`features.bin` has a row of `dim` little-endian 4-byte floats a node; `indptr.npy` and `indices.npy` are the graph's
compressed rows; `nodes.parquet` has label and split of every node; `meta.json` the sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int
from pydantic import Field, ValidationError

from systems.parts.errors import UserError
from systems.parts.graph_sampling import Graph, Nodes
from systems.parts.run import Strict

Split = Literal["train", "validation", "test", "none"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "none")
"""`none`: a node without a label, which only lends its features."""
FEATURES = "features.bin"
RAW = np.dtype("<f4")


class Meta(Strict):
    """Sizes of a data set."""

    nodes: int = Field(gt=0)
    dim: int = Field(gt=0, description="floats a feature row")
    classes: int = Field(gt=0)


@dataclass(frozen=True)
class Dataset:
    """An opened data set; the large arrays stay on disk."""

    folder: Path
    meta: Meta
    graph: Graph
    labels: Int[np.ndarray, " nodes"]
    splits: np.ndarray

    @property
    def raw(self) -> Path:
        """The raw feature file."""
        return self.folder / FEATURES

    @property
    def features(self) -> Float32[np.ndarray, "nodes d"]:
        """The raw features, mapped."""
        return np.memmap(self.raw, RAW, "r", shape=(self.meta.nodes, self.meta.dim))

    def of(self, split: Split) -> Nodes:
        """Nodes of a split."""
        return np.flatnonzero(self.splits == split)


def write_features(path: Path, rows: Iterable[Float32[np.ndarray, "some d"]]) -> int:
    """Write the raw feature file piece by piece; returns its bytes."""
    with path.open("wb") as file:
        for piece in rows:
            np.ascontiguousarray(piece, RAW).tofile(file)
    return path.stat().st_size


def write_dataset(folder: Path, meta: Meta, graph: Graph, labels: Nodes, splits: np.ndarray) -> None:
    """Everything but the feature file."""
    np.save(folder / "indptr.npy", graph.indptr.astype("<i8"))
    np.save(folder / "indices.npy", graph.indices.astype("<i8"))
    columns = {"label": pa.array(labels, pa.int32()), "split": pa.array(splits.tolist(), pa.string())}
    pq.write_table(pa.table({"id": pa.array(np.arange(meta.nodes)), **columns}), folder / "nodes.parquet")
    (folder / "meta.json").write_text(json.dumps(meta.model_dump(), indent=1) + "\n")


def open_dataset(folder: Path) -> Dataset:
    """The data set in a folder; one line where it is none."""
    try:
        meta = Meta.model_validate_json((folder / "meta.json").read_text())
        indptr, indices = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("indptr", "indices"))
        table = pq.read_table(folder / "nodes.parquet")
    except (OSError, ValidationError) as error:
        raise UserError(f"data set {folder}: not a graph on disk ({str(error).splitlines()[0]})") from error
    labels, splits = table["label"].to_numpy().astype(np.int64), table["split"].to_numpy()
    return Dataset(folder, meta, Graph(indptr, indices), labels, splits)


def random_splits(labelled: Nodes, nodes: int, train: float, rng: np.random.Generator) -> np.ndarray:
    """The given share of the labelled nodes to train, the rest halved between validation and test."""
    order = rng.permutation(labelled)
    first = round(train * len(order))
    second = first + (len(order) - first) // 2
    splits = np.full(nodes, "none", object)
    for name, some in zip(SPLITS, np.split(order, [first, second]), strict=False):
        splits[some] = name
    return splits
