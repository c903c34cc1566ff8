"""Batches that are a pure function of (seed, step), so that a resumed training sees exactly what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one training step, independent between steps and seeds."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


class StepBatches:
    """Loader over tensors of equal length: `steps` shuffled batches, resumable at any step.

    With several processes (`world` > 1) each gets its share of every global batch of size `batch`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], batch: int, steps: int, seed: int) -> None:
        self.tensors, self.batch, self.steps, self.seed = dict(tensors), batch, steps, seed
        self.count = len(next(iter(self.tensors.values())))
        self.next_step = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.next_step, self.steps):
            self.next_step = step + 1
            rows = self.rows(step)
            yield {name: tensor[rows] for name, tensor in self.tensors.items()}

    def rows(self, step: int) -> Tensor:
        """Indices of the samples of one step: consecutive pieces of one shuffled order an epoch."""
        places = torch.arange(step * self.batch, (step + 1) * self.batch)
        order = {int(epoch): self._order(int(epoch)) for epoch in set((places // self.count).tolist())}
        return torch.stack([order[int(place) // self.count][int(place) % self.count] for place in places])

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=step_generator(self.seed, -1 - epoch))

    def state_dict(self) -> dict[str, Any]:
        """What Lightning stores in a checkpoint."""
        return {"next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a checkpoint."""
        self.next_step = state["next_step"]
