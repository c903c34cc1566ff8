"""The two loops that are compared do the same work."""

from __future__ import annotations

import torch

from benchmarks.lightning_loop import by_hand, by_lightning

STEPS = 4  # the last one draws other layers than the first


def test_both_loops_end_with_the_same_weights() -> None:
    (_, plain), (_, lightning) = by_hand(STEPS), by_lightning(STEPS)
    for (name, ours), (_, theirs) in zip(plain.named_parameters(), lightning.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
