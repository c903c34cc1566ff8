"""A stream of steps goes on where it was, and an epoch sees every stored batch once."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from systems.parts.step_stream import StepStream, of_epoch


@given(st.integers(1, 9), st.integers(0, 4), st.integers(1, 3))
def test_every_epoch_sees_each_batch_once_in_an_order_of_its_own(count: int, seed: int, epochs: int) -> None:
    seen = [of_epoch(count, seed, step) for step in range(count * epochs)]
    for epoch in range(epochs):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(of_epoch(20, seed, 20 * epoch + i) for i in range(20)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@given(st.integers(1, 12), st.integers(0, 12))
def test_a_resumed_stream_goes_on_where_it_was(steps: int, done: int) -> None:
    def load(given: range) -> Iterator[int]:
        yield from (step * step for step in given)

    begun = StepStream(steps, load)
    first = [batch for batch, _ in zip(begun, range(min(done, steps)), strict=False)]
    resumed = StepStream(steps, load)
    resumed.load_state_dict({"next_step": len(first)})
    assert first + list(resumed) == [step * step for step in range(steps)]
    assert len(begun) == steps
    assert resumed.state_dict() == {"next_step": steps}
