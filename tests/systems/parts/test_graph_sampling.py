"""Graphs and neighbour sampling against their definitions, and against the distribution that they promise."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from systems.parts.graph_sampling import (
    Graph,
    sample_blocks,
    sample_neighbours,
    shuffled_batches,
    undirected,
    whole_graph,
    within,
)

NODES = 12
edges = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=40)
Edges = list[tuple[int, int]]


def graph_of(pairs: Edges) -> Graph:
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    return undirected(NODES, source, target)


def neighbours(graph: Graph, node: int) -> list[int]:
    return graph.indices[graph.indptr[node] : graph.indptr[node + 1]].tolist()


@given(edges)
def test_a_graph_has_every_edge_both_ways_once_and_no_loop(pairs: Edges) -> None:
    graph = graph_of(pairs)
    wanted = {(a, b) for pair in pairs for a, b in (pair, pair[::-1]) if a != b}
    assert [neighbours(graph, node) for node in range(NODES)] == [
        sorted(b for a, b in wanted if a == node) for node in range(NODES)
    ]
    assert graph.nodes == NODES


@given(edges, st.integers(1, 4))
def test_within_parts_only_their_own_edges_stay(pairs: Edges, parts: int) -> None:
    graph, part = graph_of(pairs), np.arange(NODES) % parts
    for node in range(NODES):
        assert neighbours(within(graph, part), node) == [
            n for n in neighbours(graph, node) if n % parts == node % parts
        ]


@given(edges, st.lists(st.integers(0, NODES - 1), unique=True), st.integers(1, 5), st.integers(0, 9))
def test_sampled_neighbours_are_different_and_as_many_as_there_can_be(
    pairs: Edges, nodes: list[int], fanout: int, seed: int
) -> None:
    graph = graph_of(pairs)
    found, offsets = sample_neighbours(graph, np.array(nodes, np.int64), fanout, np.random.default_rng(seed))
    assert len(offsets) == len(nodes) + 1
    for place, node in enumerate(nodes):
        mine = found[offsets[place] : offsets[place + 1]].tolist()
        assert len(set(mine)) == len(mine) == min(fanout, len(neighbours(graph, node)))
        assert set(mine) <= set(neighbours(graph, node))


def test_every_neighbour_is_as_likely() -> None:
    star = graph_of([(0, node) for node in range(1, 6)] + [(7, 8)])
    draws = [
        sample_neighbours(star, np.array([7, 0]), 2, np.random.default_rng(seed))[0].tolist() for seed in range(3000)
    ]
    assert {draw[0] for draw in draws} == {8}
    counts = Counter(tuple(sorted(draw[1:])) for draw in draws)
    assert len(counts) == 10
    assert max(abs(count - 300) for count in counts.values()) < 100  # six standard deviations


@given(edges, st.lists(st.integers(0, NODES - 1), min_size=1, unique=True), st.integers(0, 9))
def test_blocks_say_who_hears_whom(pairs: Edges, seeds: list[int], seed: int) -> None:
    graph, fanouts = graph_of(pairs), (2, 3)
    sample = sample_blocks(graph, np.array(seeds), fanouts, np.random.default_rng(seed))
    assert sample.seeds.tolist() == seeds
    assert len(set(sample.nodes.tolist())) == len(sample.nodes)
    first, last = sample.blocks
    assert last.targets == len(seeds)
    for block, fanout in ((last, 2), (first, 3)):
        for target in range(block.targets):
            places = block.sources[block.offsets[target] : block.offsets[target + 1]]
            node, heard = int(sample.nodes[target]), sample.nodes[places].tolist()
            assert set(heard) <= set(neighbours(graph, node))
            assert len(set(heard)) == len(heard) == min(fanout, len(neighbours(graph, node)))
    assert set(range(len(sample.nodes))) == {*range(first.targets), *first.sources.tolist()}


def test_the_whole_graph_is_a_block_of_all_nodes() -> None:
    graph = graph_of([(0, 1), (1, 2)])
    sample = whole_graph(graph, 2)
    assert sample.seeds.tolist() == list(range(NODES))
    assert [block.targets for block in sample.blocks] == [NODES, NODES]


@given(st.integers(1, 20), st.integers(1, 7))
def test_batches_share_the_nodes_out(count: int, batch: int) -> None:
    batches = shuffled_batches(np.arange(count), batch, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert {len(some) for some in batches[:-1]} <= {batch}
