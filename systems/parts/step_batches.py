"""Batches that are a pure function of (seed, step), so that a resumed training sees exactly what it would have seen.

Where several processes train together, each takes its own piece of the batch: together they see what one would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, distributed


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one training step, independent between steps and seeds."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


def piece() -> tuple[int, int]:
    """Which piece of every batch is this process's, counted from 0, and of how many."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def own(whole: Tensor) -> Tensor:
    """This process's piece of what was made for every sample of a batch."""
    rank, processes = piece()
    return whole.tensor_split(processes)[rank]


def of_all(count: int) -> int:
    """Samples of a batch of which this process has `count`: make random numbers for all of them, then take `own`."""
    return count * piece()[1]


class Samples(Protocol):
    """A tensor, or what is indexed like one along its first axis."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Those of some rows."""


class StepBatches:
    """Loader over samples of equal length: `steps` shuffled batches of the rows `among` them, resumable at any step.

    A batch is that of all processes which train together, of which each gets its own piece.
    """

    def __init__(
        self, samples: Mapping[str, Samples], batch: int, steps: int, seed: int, among: Tensor | None = None
    ) -> None:
        """All rows where `among` is not given."""
        self.samples, self.batch, self.steps, self.seed = dict(samples), batch, steps, seed
        self.among = torch.arange(len(next(iter(samples.values())))) if among is None else among
        self.next_step = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.next_step, self.steps):
            self.next_step = step + 1
            rows = own(self.rows(step))
            yield {name: samples[rows] for name, samples in self.samples.items()}

    def rows(self, step: int) -> Tensor:
        """Indices of the samples of one step, for all processes: consecutive pieces of one shuffled order an epoch."""
        places = torch.arange(step * self.batch, (step + 1) * self.batch)
        count = len(self.among)
        order = {int(epoch): self._order(int(epoch)) for epoch in set((places // count).tolist())}
        return torch.stack([order[int(place) // count][int(place) % count] for place in places])

    def _order(self, epoch: int) -> Tensor:
        return self.among[torch.randperm(len(self.among), generator=step_generator(self.seed, -1 - epoch))]

    def state_dict(self) -> dict[str, Any]:
        """What Lightning stores in a checkpoint."""
        return {"next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a checkpoint."""
        self.next_step = state["next_step"]
