"""validate@diskgnn: the graph is undirected, every row of the raw file is whole, and nodes have a label and a split.

python -m stages validate diskgnn
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from systems.graph.diskgnn.dataset import SPLITS, Dataset, open_dataset
from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.graph_sampling import Graph
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted

PIECE = 1 << 18
"""Rows of the raw file in memory at once."""


class Params(Strict):
    """Which data set is looked at."""

    data: str = Field(description="data set of a graph, as diskgnn")


def validate(run: Run[Params]) -> None:
    """Check the files against each other, then every node."""
    data = open_dataset(run.inputs["data"])
    run.expect("graph", graph_row(data), GRAPH)
    nodes = node_rows(data)
    run.expect("nodes", nodes, [*NODES, _labels(data.meta.classes)])
    run.table("splits", counted(nodes, ["split"], "nodes"))
    run.metric("homophily", homophily(data))


def graph_row(data: Dataset) -> pa.Table:
    """One row: sizes found and wanted, and edges that no undirected graph has."""
    graph, meta = data.graph, data.meta
    if len(graph.indices) != graph.indptr[-1] or graph.nodes != meta.nodes:
        raise UserError(
            f"data set {data.folder}: indptr.npy and indices.npy are not of one graph of {meta.nodes} nodes"
        )
    rows = np.repeat(np.arange(graph.nodes), graph.degrees)
    keys = rows * meta.nodes + graph.indices
    found = {
        "bytes": data.raw.stat().st_size,
        "wanted bytes": 4 * meta.nodes * meta.dim,
        "loops": int((rows == graph.indices).sum()),
        "unsorted or twice": int((np.diff(keys) <= 0).sum()),
        "one-way": len(np.setdiff1d(graph.indices * meta.nodes + rows, keys)),
        "outside": outside(graph),
    }
    return pa.table({"id": [str(data.folder.name)], **{name: [value] for name, value in found.items()}})


def outside(graph: Graph) -> int:
    """Neighbours that are no node."""
    return int(((graph.indices < 0) | (graph.indices >= graph.nodes)).sum())


def node_rows(data: Dataset) -> pa.Table:
    """A row a node: label, split, and the length of its features, which is not finite where one of them is not."""
    starts = range(0, data.meta.nodes, PIECE)
    lengths = [np.linalg.norm(data.features[start : start + PIECE].astype(np.float64), axis=1) for start in starts]
    length = np.concatenate(lengths)
    return pa.table(
        {
            "id": np.arange(data.meta.nodes),
            "label": data.labels,
            "split": data.splits.tolist(),
            "finite": np.isfinite(length),
            "labelled": (data.labels >= 0) == (data.splits != "none"),
        }
    )


def homophily(data: Dataset) -> float:
    """Share of the edges that join nodes of one label."""
    rows = np.repeat(np.arange(data.graph.nodes), data.graph.degrees)
    return float((data.labels[rows] == data.labels[data.graph.indices]).mean())


def _labels(classes: int) -> Expectation:
    why = "a label is a class, or -1 for none"
    return column("values_to_be_between", "label", why, min_value=-1, max_value=classes - 1)


def _none(name: str, why: str) -> Expectation:
    return column("values_to_be_in_set", name, why, value_set=[0])


GRAPH = [
    equal("bytes", "wanted bytes", "row v of the raw file has to start at 4 x dim x v"),
    _none("loops", "an edge from a node to itself"),
    _none("unsorted or twice", "neighbours are in ascending order, each once"),
    _none("one-way", "every edge has its way back"),
    _none("outside", "an edge to a node that is not there"),
]
NODES = [
    column("values_to_be_unique", "id", "an id names one node"),
    column(
        "values_to_be_in_set",
        "split",
        "a node trains, validates, tests, or only lends features",
        value_set=list(SPLITS),
    ),
    column("values_to_be_in_set", "finite", "a feature is not a number", value_set=[True]),
    column("values_to_be_in_set", "labelled", "nodes of a split have a label, others none", value_set=[True]),
]
