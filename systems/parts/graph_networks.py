"""GraphSAGE, GCN and GAT over sampled blocks or a whole graph, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from systems.parts.graph_sampling import Block
from systems.parts.run import Strict

Kind = Literal["sage", "gcn", "gat"]


class Messages(NamedTuple):
    """A block as tensors: message i goes from source `sources[i]` to target `targets[i]` of `size`."""

    sources: Int[Tensor, " messages"]
    targets: Int[Tensor, " messages"]
    size: int


def messages_of(block: Block) -> Messages:
    """The tensors of a block; those that hold the same numbers share its memory."""
    offsets = torch.as_tensor(block.offsets)
    targets = torch.repeat_interleave(torch.arange(block.targets), offsets.diff())
    return Messages(torch.as_tensor(block.sources), targets, block.targets)


def summed(values: Float[Tensor, "messages ..."], block: Messages) -> Float[Tensor, "targets ..."]:
    """Sum of what each target hears."""
    return values.new_zeros(block.size, *values.shape[1:]).index_add_(0, block.targets, values)


def heard(x: Float[Tensor, "sources ..."], block: Messages) -> Float[Tensor, "messages ..."]:
    """What each message carries."""
    return x.index_select(0, block.sources)


def mean(x: Float[Tensor, "sources d"], block: Messages) -> Float[Tensor, "targets d"]:
    """Mean of what each target hears; zero where it hears nothing."""
    counts = torch.bincount(block.targets, minlength=block.size).clamp(min=1)
    return summed(heard(x, block), block) / counts[:, None]


def with_themselves(block: Messages) -> Messages:
    """The block with one more message to each target, its own."""
    own = torch.arange(block.size, device=block.targets.device)
    return Messages(torch.cat([block.sources, own]), torch.cat([block.targets, own]), block.size)


class SAGELayer(nn.Module):
    """GraphSAGE with the mean: one map of a node itself, one of its neighbours' mean."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.own, self.neighbours = nn.Linear(width, out), nn.Linear(width, out, bias=False)

    def forward(self, x: Float[Tensor, "sources i"], block: Messages) -> Float[Tensor, "targets o"]:
        """New values of the targets."""
        new: Tensor = self.own(x[: block.size]) + self.neighbours(mean(x, block))
        return new


class GCNLayer(nn.Module):
    """Graph convolution: one map of the mean over a node and its neighbours, which sampling leaves unbiased."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "sources i"], block: Messages) -> Float[Tensor, "targets o"]:
        """New values of the targets."""
        new: Tensor = self.linear(mean(x, with_themselves(block)))
        return new


class GATLayer(nn.Module):
    """Graph attention over a node and its neighbours; heads side by side, or (`together`) their mean."""

    def __init__(self, width: int, out: int, heads: int, together: bool) -> None:
        super().__init__()
        self.heads, self.together = heads, together
        self.linear = nn.Linear(width, heads * out, bias=False)
        self.to_source, self.to_target = (nn.Parameter(nn.init.xavier_normal_(torch.empty(heads, out))) for _ in "st")
        self.bias = nn.Parameter(torch.zeros(out if together else heads * out))

    def forward(self, x: Float[Tensor, "sources i"], block: Messages) -> Float[Tensor, "targets o"]:
        """New values of the targets."""
        block = with_themselves(block)
        values = self.linear(x).unflatten(1, (self.heads, -1))
        source, target = (values * self.to_source).sum(-1), (values[: block.size] * self.to_target).sum(-1)
        scores = F.leaky_relu(heard(source, block) + target.index_select(0, block.targets), 0.2)
        shares = softmax(scores, block)
        out = summed(heard(values, block) * shares[..., None], block)
        return (out.mean(1) if self.together else out.flatten(1)) + self.bias


def softmax(scores: Float[Tensor, "messages h"], block: Messages) -> Float[Tensor, "messages h"]:
    """Shares of the messages to each target, which sum to 1."""
    index = block.targets[:, None].expand_as(scores)
    most = scores.new_full((block.size, scores.shape[1]), -torch.inf).scatter_reduce(0, index, scores.detach(), "amax")
    powers = (scores - most.index_select(0, block.targets)).exp()
    return powers / summed(powers, block).index_select(0, block.targets)


class NetworkParams(Strict):
    """A network on a graph; it has a layer a block."""

    kind: Kind = Field(default="sage", description="GraphSAGE with the mean, GCN, or GAT")
    hidden: int = Field(default=64, gt=0, description="width between layers; of one head with gat")
    heads: int = Field(default=4, gt=0, description="attention heads of gat")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share of hidden values dropped in training")


class GraphNetwork(nn.Module):
    """Layers with ReLU and dropout between them."""

    def __init__(self, params: NetworkParams, dim: int, classes: int, layers: int) -> None:
        super().__init__()
        self.dropout = params.dropout
        side_by_side = params.heads if params.kind == "gat" else 1
        ins = [dim, *[side_by_side * params.hidden] * (layers - 1)]
        outs = [*[params.hidden] * (layers - 1), classes]
        self.layers = nn.ModuleList(
            _layer(params, width, out, last=i == layers - 1)
            for i, (width, out) in enumerate(zip(ins, outs, strict=True))
        )

    def forward(
        self, x: Float[Tensor, "n d"], blocks: Sequence[Messages], generator: torch.Generator | None = None
    ) -> Float[Tensor, "targets classes"]:
        """Scores of the last block's targets; with a generator, which draws what is dropped, as in training."""
        for i, (layer, block) in enumerate(zip(self.layers, blocks, strict=True)):
            x = layer(x, block)
            if i < len(self.layers) - 1:
                x = self._drop(F.relu(x), generator)
        return x

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or not self.dropout:
            return x
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.dropout
        return x * kept / (1 - self.dropout)


def _layer(params: NetworkParams, width: int, out: int, last: bool) -> nn.Module:
    if params.kind == "gat":
        return GATLayer(width, out, params.heads, together=last)
    return SAGELayer(width, out) if params.kind == "sage" else GCNLayer(width, out)
