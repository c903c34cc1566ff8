"""A Barabasi-Albert graph with Gaussian features around its classes, packed and opened in tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest

from stages.run import StageRun
from stages.settings import check
from systems.graph.diskgnn.dataset import Dataset, Meta, open_dataset, random_splits, write_dataset, write_features
from systems.graph.diskgnn.decompose import Params, decompose
from systems.graph.diskgnn.storage import Layers, open_layers
from systems.parts.graph_sampling import undirected

NODES, CLASSES = 300, 4
ROW = 4 * 20  # bytes of a row of 20 floats, of which no whole number fills a page
PACKED = {"data": "diskgnn", "batch": 16, "fanouts": [3, 4], "gpu_bytes": 10 * ROW, "cpu_bytes": 20 * ROW}


def make_dataset(folder: Path, nodes: int = NODES, dim: int = 20) -> Path:
    """Write a data set; labels are blocks of nodes, which the features show."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = np.arange(nodes) * CLASSES // nodes
    edges = np.array(networkx.barabasi_albert_graph(nodes, 3, seed=0).edges()).T
    near = (labels[edges[0]] == labels[edges[1]]) | (rng.random(edges.shape[1]) < 0.3)
    graph = undirected(nodes, *edges[:, near])
    rows = rng.normal(size=(nodes, dim)) + rng.normal(size=(CLASSES, dim))[labels]
    write_features(folder / "features.bin", [rows.astype(np.float32)])
    splits = random_splits(np.arange(nodes), nodes, 0.5, rng)
    write_dataset(folder, Meta(nodes=nodes, dim=dim, classes=CLASSES), graph, labels, splits)
    return folder


def packed(folder: Path, data: Path, **changes: Any) -> Layers:
    """What decompose leaves of a data set."""
    params = check(Params, {**PACKED, **changes}, "graph.decompose.diskgnn")
    run = StageRun("decompose", "diskgnn", params, {"data": data}, folder / "layers", folder / "reports")
    run.begin()
    decompose(run)
    run.finish([run.final])
    return open_layers(run.final)


def lists_of(layers: Layers) -> Sequence[np.ndarray]:
    return [layers.nodes(batch) for batch in range(layers.saved.batches)]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_dataset(tmp_path_factory.mktemp("graph") / "data"))


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Layers:
    return packed(tmp_path_factory.mktemp("packed"), data.folder, blowup=1)
