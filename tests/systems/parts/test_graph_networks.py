"""Networks on graphs against dense matrices, and what they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from systems.parts.graph_networks import (
    GATLayer,
    GCNLayer,
    GraphNetwork,
    Kind,
    Messages,
    NetworkParams,
    SAGELayer,
    messages_of,
)
from systems.parts.graph_sampling import sample_blocks, undirected, whole_graph

NODES = 9
KINDS: tuple[Kind, ...] = ("sage", "gcn", "gat")


@pytest.fixture
def dense() -> Tensor:
    """Adjacency of a random graph in which the last node has no neighbour."""
    torch.manual_seed(0)
    upper = (torch.rand(NODES, NODES) < 0.4).triu(1)
    upper[:, -1] = False
    return (upper | upper.T).float()


@pytest.fixture
def block(dense: Tensor) -> Messages:
    rows, columns = dense.nonzero().T.numpy()
    return messages_of(whole_graph(undirected(NODES, rows, columns), 1).blocks[0])


def test_sage_is_the_mean_of_the_neighbours_beside_the_node(dense: Tensor, block: Messages) -> None:
    layer, x = SAGELayer(5, 3), torch.randn(NODES, 5)
    mean = dense @ x / dense.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(layer(x, block), layer.own(x) + mean @ layer.neighbours.weight.T)


def test_gcn_is_the_mean_over_node_and_neighbours(dense: Tensor, block: Messages) -> None:
    layer, x, looped = GCNLayer(5, 3), torch.randn(NODES, 5), dense + torch.eye(NODES)
    torch.testing.assert_close(layer(x, block), layer.linear(looped @ x / looped.sum(1, keepdim=True)))


@pytest.mark.parametrize("together", [True, False])
def test_gat_is_softmax_over_node_and_neighbours(dense: Tensor, block: Messages, together: bool) -> None:
    layer, x = GATLayer(5, 3, heads=2, together=together), torch.randn(NODES, 5)
    torch.nn.init.normal_(layer.bias)
    values = layer.linear(x).view(NODES, 2, 3)
    source, target = (torch.einsum("nhd,hd->hn", values, part) for part in (layer.to_source, layer.to_target))
    scores = F.leaky_relu(target[:, :, None] + source[:, None, :], 0.2)
    shares = scores.masked_fill((dense + torch.eye(NODES)) == 0, -torch.inf).softmax(-1)
    heads = torch.einsum("hij,jhd->ihd", shares, values)
    wanted = heads.mean(1) if together else heads.flatten(1)
    torch.testing.assert_close(layer(x, block), wanted + layer.bias)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_with_all_neighbours_give_what_the_whole_graph_gives(dense: Tensor, kind: Kind) -> None:
    rows, columns = dense.nonzero().T.numpy()
    graph = undirected(NODES, rows, columns)
    network, x = GraphNetwork(NetworkParams(kind=kind, hidden=4), 5, 3, 2), torch.randn(NODES, 5)
    everywhere = network(x, [messages_of(block) for block in whole_graph(graph, 2).blocks])
    seeds = np.array([8, 2, 5])
    sample = sample_blocks(graph, seeds, (NODES, NODES), np.random.default_rng(0))
    blocks = [messages_of(block) for block in sample.blocks]
    torch.testing.assert_close(network(x[sample.nodes], blocks), everywhere[seeds])


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_needs_a_generator_and_follows_it(block: Messages, kind: Kind) -> None:
    network, x = GraphNetwork(NetworkParams(kind=kind, hidden=16, dropout=0.5), 5, 3, 2), torch.randn(NODES, 5)
    given = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    one, again, other = (network(x, [block, block], generator) for generator in given)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    whole = GraphNetwork(NetworkParams(kind=kind, hidden=16, dropout=0), 5, 3, 2)
    whole.load_state_dict(network.state_dict())
    assert torch.equal(network(x, [block, block]), whole(x, [block, block], given[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(block: Messages, kind: Kind) -> None:
    network = GraphNetwork(NetworkParams(kind=kind, hidden=8), 5, 3, 3)
    network(torch.randn(NODES, 5), [block] * 3).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
