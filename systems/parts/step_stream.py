"""A loader whose batches are made by a function of the steps, so that a resumed training goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from systems.parts.step_batches import step_generator


class StepStream:
    """Batches of steps 0 to `steps`; `load` makes those of a range of steps, in order, as far ahead as it likes."""

    def __init__(self, steps: int, load: Callable[[range], Iterator[Any]]) -> None:
        self.steps, self.load = steps, load
        self.next_step = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        steps = range(self.next_step, self.steps)
        for step, batch in zip(steps, self.load(steps), strict=True):
            self.next_step = step + 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """What Lightning stores in a checkpoint."""
        return {"next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a checkpoint."""
        self.next_step = state["next_step"]


def of_epoch(count: int, seed: int, step: int) -> int:
    """Which of `count` stored batches a step sees: every epoch sees each once, in a fresh random order."""
    epoch, place = divmod(step, count)
    return int(torch.randperm(count, generator=step_generator(seed, -1 - epoch))[place])
