"""Graphs as compressed rows, and the mini-batches that neighbour sampling takes from them. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

Nodes = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Graph:
    """Neighbours of node v: `indices[indptr[v] : indptr[v + 1]]`."""

    indptr: Int[np.ndarray, " nodes+1"]
    indices: Int[np.ndarray, " edges"]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.indptr) - 1

    @property
    def degrees(self) -> Int[np.ndarray, " nodes"]:
        """Neighbours of each node."""
        return np.diff(self.indptr)


class Block(NamedTuple):
    """Messages of one layer: target i hears the sources `sources[offsets[i] : offsets[i + 1]]`.

    Sources are places in the list of nodes that the layer reads; its first nodes are the targets themselves.
    """

    sources: Int[np.ndarray, " messages"]
    offsets: Int[np.ndarray, " targets+1"]

    @property
    def targets(self) -> int:
        """Nodes that the layer computes."""
        return len(self.offsets) - 1


class Sample(NamedTuple):
    """One mini-batch: nodes whose features are read, seeds first, and a block a layer, in the order of computing."""

    nodes: Nodes
    blocks: tuple[Block, ...]

    @property
    def seeds(self) -> Nodes:
        """Nodes the batch is about."""
        return self.nodes[: self.blocks[-1].targets]


def undirected(nodes: int, source: Nodes, target: Nodes) -> Graph:
    """The graph with every edge in both directions, once, and none from a node to itself."""
    apart = source != target
    keys = np.unique(np.concatenate([source[apart] * nodes + target[apart], target[apart] * nodes + source[apart]]))
    rows, indices = np.divmod(keys, max(nodes, 1))
    return from_rows(nodes, rows, indices)


def from_rows(nodes: int, rows: Nodes, indices: Nodes) -> Graph:
    """The graph of edges that are sorted by row."""
    return Graph(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=nodes))]), indices)


def within(graph: Graph, part: Int[np.ndarray, " nodes"]) -> Graph:
    """The graph without the edges between nodes of different parts."""
    rows = np.repeat(np.arange(graph.nodes), graph.degrees)
    kept = part[rows] == part[graph.indices]
    return from_rows(graph.nodes, rows[kept], graph.indices[kept])


def sample_neighbours(graph: Graph, nodes: Nodes, fanout: int, rng: np.random.Generator) -> tuple[Nodes, Nodes]:
    """At most `fanout` different neighbours of each node, uniformly, one node after another; and their offsets."""
    starts, degrees = graph.indptr[nodes], graph.indptr[nodes + 1] - graph.indptr[nodes]
    owners = np.repeat(np.arange(len(nodes)), degrees)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    shuffled = np.argsort(owners + rng.random(len(owners)))  # the random part is below 1: owners stay together
    chosen = shuffled[places < fanout]
    neighbours = graph.indices[starts[owners[chosen]] + places[chosen]]
    return neighbours, np.concatenate([[0], np.cumsum(np.minimum(degrees, fanout))])


def block_of(targets: Nodes, neighbours: Nodes, offsets: Nodes) -> tuple[Nodes, Block]:
    """The nodes a layer reads, targets first, and its block."""
    others = np.setdiff1d(neighbours, targets)
    nodes = np.concatenate([targets, others])
    order = np.argsort(nodes)
    return nodes, Block(order[np.searchsorted(nodes, neighbours, sorter=order)], offsets)


def sample_blocks(graph: Graph, seeds: Nodes, fanouts: Sequence[int], rng: np.random.Generator) -> Sample:
    """A mini-batch about different `seeds`; the first fan-out is that of the seeds, the last the first layer's."""
    nodes, blocks = seeds, []
    for fanout in fanouts:
        nodes, block = block_of(nodes, *sample_neighbours(graph, nodes, fanout, rng))
        blocks.append(block)
    return Sample(nodes, tuple(reversed(blocks)))


def whole_graph(graph: Graph, layers: int) -> Sample:
    """All nodes with all their neighbours, in every layer."""
    return Sample(np.arange(graph.nodes), (Block(graph.indices, graph.indptr),) * layers)


def shuffled_batches(nodes: Nodes, batch: int, rng: np.random.Generator) -> list[Nodes]:
    """The nodes in random order, cut into batches; the last may be smaller."""
    order = rng.permutation(nodes)
    return [order[start : start + batch] for start in range(0, len(order), batch)]
