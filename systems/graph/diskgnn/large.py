"""Graphs of the published scale, from the files their authors give: papers100M, MAG240M, IGB and Friendster.

Features are streamed, never whole in memory; what a format lacks, as Friendster's features and labels, is drawn.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32

from systems.graph.diskgnn.dataset import Meta, random_splits
from systems.parts.errors import UserError
from systems.parts.graph_sampling import Graph, Nodes, undirected

Name = Literal["papers100m", "mag240m", "igb", "friendster"]
PIECE = 1 << 20
"""Rows that are in memory at once."""
FRIENDSTER_DIM, FRIENDSTER_CLASSES = 128, 20
ARXIV_TRAIN, ARXIV_VALIDATION = 2018, 2019
"""Last years of MAG240M's training and validation papers."""


class Source(NamedTuple):
    """A graph with features still to be streamed; a node without a label has -1."""

    meta: Meta
    graph: Graph
    labels: Nodes
    splits: np.ndarray
    rows: Iterator[Float32[np.ndarray, "some d"]]


def open_source(name: Name, folder: Path, rng: np.random.Generator) -> Source:
    """The graph of a name from its files below `folder`; one line where a file is missing."""
    readers = {"papers100m": papers100m, "mag240m": mag240m, "igb": igb, "friendster": friendster}
    try:
        return readers[name](folder, rng)
    except FileNotFoundError as error:
        raise UserError(f"parameter folder = {folder}: {name} needs {error.filename}") from error


def papers100m(folder: Path, _: np.random.Generator) -> Source:
    """OGB's raw/ and split/time/ of ogbn-papers100M."""
    data = folder / "raw" / "data.npz"
    with np.load(data) as arrays:
        edges = arrays["edge_index"]
    with np.load(folder / "raw" / "node-label.npz") as arrays:
        labels = whole_labels(arrays["node_label"].ravel())
    splits = np.full(len(labels), "none", object)
    for file, split in {"train": "train", "valid": "validation", "test": "test"}.items():
        splits[pd.read_csv(folder / "split" / "time" / f"{file}.csv.gz", header=None)[0].to_numpy()] = split
    dim = member_shape(data, "node_feat")[1]
    rows = member_rows(data, "node_feat")
    return source(len(labels), dim, edges, labels, splits, rows)


def mag240m(folder: Path, _: np.random.Generator) -> Source:
    """OGB-LSC's papers and citations of MAG240M, split by year as OGB does."""
    papers = folder / "processed" / "paper"
    features = np.load(papers / "node_feat.npy", mmap_mode="r")
    labels = whole_labels(np.load(papers / "node_label.npy"))
    years = np.load(papers / "node_year.npy", mmap_mode="r")
    bounds = [years <= ARXIV_TRAIN, years <= ARXIV_VALIDATION]
    splits = np.where(labels < 0, "none", np.select(bounds, ["train", "validation"], "test")).astype(object)
    edges = np.load(folder / "processed" / "paper___cites___paper" / "edge_index.npy", mmap_mode="r")
    return source(len(features), features.shape[1], edges, labels, splits, pieces(features))


def igb(folder: Path, rng: np.random.Generator) -> Source:
    """IGB's homogeneous graph with 19 classes; 60 % of the nodes train."""
    papers = folder / "processed" / "paper"
    features = np.load(papers / "node_feat.npy", mmap_mode="r")
    labels = whole_labels(np.load(papers / "node_label_19.npy").ravel())
    edges = np.load(folder / "processed" / "paper__cites__paper" / "edge_index.npy", mmap_mode="r").T
    splits = random_splits(np.flatnonzero(labels >= 0), len(labels), 0.6, rng)
    return source(len(features), features.shape[1], edges, labels, splits, pieces(features))


def friendster(folder: Path, rng: np.random.Generator) -> Source:
    """SNAP's com-friendster.ungraph.txt with drawn features and labels; 1 % of the nodes train."""
    read = pd.read_csv(folder / "com-friendster.ungraph.txt", sep="\t", comment="#", header=None, dtype=np.int64)
    names, ends = np.unique(read.to_numpy(), return_inverse=True)
    nodes = len(names)
    labels = rng.integers(FRIENDSTER_CLASSES, size=nodes)
    splits = random_splits(np.arange(nodes), nodes, 0.01, rng)
    rows = (
        rng.standard_normal((min(PIECE, nodes - start), FRIENDSTER_DIM), np.float32) for start in range(0, nodes, PIECE)
    )
    return source(nodes, FRIENDSTER_DIM, ends.reshape(-1, 2).T, labels, splits, rows)


def source(
    nodes: int,
    dim: int,
    edges: np.ndarray,
    labels: Nodes,
    splits: np.ndarray,
    rows: Iterator[Float32[np.ndarray, "some d"]],
) -> Source:
    """What all formats come to."""
    graph = undirected(nodes, edges[0].astype(np.int64), edges[1].astype(np.int64))
    return Source(Meta(nodes=nodes, dim=dim, classes=int(labels.max()) + 1), graph, labels, splits, rows)


def whole_labels(labels: np.ndarray) -> Nodes:
    """Whole numbers; what is not a number becomes -1."""
    known = np.isfinite(labels)
    return np.where(known, np.nan_to_num(labels), -1).astype(np.int64)


def pieces(features: np.ndarray) -> Iterator[Float32[np.ndarray, "some d"]]:
    """Rows of a mapped array, of whatever float, some at a time."""
    for start in range(0, len(features), PIECE):
        yield features[start : start + PIECE].astype(np.float32)


def member_shape(path: Path, name: str) -> tuple[int, ...]:
    """Shape of an array in an .npz file, without reading it."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        return _header(file)[0]


def member_rows(path: Path, name: str) -> Iterator[Float32[np.ndarray, "some d"]]:
    """Rows of an array in an .npz file, some at a time."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        (count, dim), dtype = _header(file)
        for start in range(0, count, PIECE):
            content = file.read(min(PIECE, count - start) * dim * dtype.itemsize)
            yield np.frombuffer(content, dtype).reshape(-1, dim).astype(np.float32)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type at the head of an .npy member."""
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype
