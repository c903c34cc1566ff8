"""Step 8 of card 39: four loader threads bring a stored mini-batch from the four levels; and batches sampled anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from systems.graph.diskgnn.dataset import RAW
from systems.graph.diskgnn.pages import PageReader
from systems.graph.diskgnn.plan import Placement
from systems.graph.diskgnn.storage import MEMORY, Layers
from systems.parts.graph_networks import Messages, messages_of
from systems.parts.graph_sampling import Block, Sample
from systems.parts.loader_threads import pipelined


class MiniBatch(NamedTuple):
    """What the network sees."""

    x: Float[Tensor, "n d"]
    blocks: tuple[Messages, ...]
    labels: Int[Tensor, " seeds"]


class Indexed(NamedTuple):
    """A batch whose rows are known."""

    number: int
    sample: Sample
    placement: Placement


class FromDisk(NamedTuple):
    """A batch with what the disk had of it: rows of the disk cache, and of the packed file."""

    indexed: Indexed
    cached: Float32[np.ndarray, "c d"]
    packed: Float32[np.ndarray, "p d"]


class StoredBatches:
    """Brings stored batches by their numbers; `cache_reader` and `packed_reader` count the pages."""

    def __init__(
        self, layers: Layers, labels: Int[np.ndarray, " nodes"], device: torch.device, direct: bool = False
    ) -> None:
        saved = layers.saved
        self.layers, self.labels, self.device = layers, labels, device
        memory = torch.from_numpy(np.fromfile(layers.folder / MEMORY, RAW).reshape(-1, saved.dim))
        self.accelerated, self.host = memory[: saved.accelerated].to(device), memory[saved.accelerated :]
        self.cache_reader, self.packed_reader = PageReader(saved.dim, direct), PageReader(saved.dim, direct)

    def load(self, numbers: Iterable[int]) -> Iterator[MiniBatch]:
        """The batches of the numbers, in their order, prepared ahead by four threads."""
        steps = (self.load_graph, self.load_index, self.read_disk, self.assemble)
        yield from pipelined(numbers, steps)

    def load_graph(self, number: int) -> tuple[int, Sample]:
        """First thread: nodes and blocks."""
        return number, self.layers.sample(number)

    def load_index(self, loaded: tuple[int, Sample]) -> Indexed:
        """Second thread: where the rows are."""
        return Indexed(*loaded, self.layers.placement(loaded[0]))

    def read_disk(self, indexed: Indexed) -> FromDisk:
        """Third thread: the packed file in one read, and the pages of the disk cache."""
        number, rows = indexed.number, indexed.placement.cache_row
        cached = self.cache_reader.rows(self.layers.cache(number), rows)
        return FromDisk(indexed, cached, self.packed_reader.whole(self.layers.packed(number)))

    def assemble(self, read: FromDisk) -> MiniBatch:
        """Fourth thread: x from its sources, those in level 1 without leaving the device."""
        sample, place = read.indexed.sample, read.indexed.placement
        near = place.memory_slot < self.layers.saved.accelerated
        far = place.memory_slot[~near] - self.layers.saved.accelerated
        x = torch.empty(len(sample.nodes), self.layers.saved.dim, device=self.device)
        x[self.to(place.memory_at[near])] = self.accelerated[self.to(place.memory_slot[near])]
        host = torch.cat(
            [self.host[torch.from_numpy(far)], torch.from_numpy(read.cached), torch.from_numpy(read.packed)]
        )
        at = np.concatenate([place.memory_at[~near], place.cache_at, place.packed_at])
        x[self.to(at)] = self.pinned(host).to(self.device, non_blocking=True)
        return MiniBatch(x, blocks_of(sample.blocks), torch.from_numpy(self.labels[sample.seeds]))

    def to(self, index: Int[np.ndarray, " i"]) -> Tensor:
        """An index on the device."""
        return torch.from_numpy(index).to(self.device)

    def pinned(self, rows: Tensor) -> Tensor:
        """Rows in memory from which a GPU copies while it computes; where there is none, as they are."""
        return rows.pin_memory() if self.device.type == "cuda" else rows


def gathered(sample: Sample, features: Float32[np.ndarray, "nodes d"], labels: Int[np.ndarray, " nodes"]) -> MiniBatch:
    """A batch by random reads of the raw features."""
    x = torch.from_numpy(features[sample.nodes])
    return MiniBatch(x, blocks_of(sample.blocks), torch.from_numpy(labels[sample.seeds]))


def blocks_of(blocks: Sequence[Block]) -> tuple[Messages, ...]:
    """Blocks as tensors."""
    return tuple(messages_of(block) for block in blocks)
