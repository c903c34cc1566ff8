"""Batches that depend on seed and step alone."""

from __future__ import annotations

from unittest import mock

import torch
from hypothesis import given
from hypothesis import strategies as st

from systems.parts.step_batches import StepBatches, of_all, own, step_generator


def batches(count: int, batch: int, steps: int, seed: int) -> StepBatches:
    return StepBatches({"row": torch.arange(count)}, batch, steps, seed)


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 12), st.integers(0, 5))
def test_every_sample_comes_once_an_epoch(count: int, batch: int, steps: int, seed: int) -> None:
    rows = [int(row) for piece in batches(count, batch, steps, seed) for row in piece["row"]]
    assert len(rows) == batch * steps
    for start in range(0, len(rows) - count + 1, count):
        assert sorted(rows[start : start + count]) == list(range(count))


@given(st.integers(2, 12), st.integers(0, 11))
def test_a_resumed_loader_goes_on_where_it_was(steps: int, done: int) -> None:
    done = min(done, steps - 1)
    whole = [piece["row"].tolist() for piece in batches(9, 4, steps, 3)]
    begun = batches(9, 4, steps, 3)
    first = [piece["row"].tolist() for piece, _ in zip(begun, range(done), strict=False)]
    state = {"next_step": done}
    resumed = batches(9, 4, steps, 3)
    resumed.load_state_dict(state)
    assert first + [piece["row"].tolist() for piece in resumed] == whole


def test_seeds_and_steps_have_numbers_of_their_own() -> None:
    draws = {
        int(torch.randint(2**62, (1,), generator=step_generator(seed, step)))
        for seed in range(20)
        for step in range(50)
    }
    assert len(draws) == 1000


@given(st.sets(st.integers(0, 19), min_size=1), st.integers(1, 7), st.integers(0, 3))
def test_rows_among_all_are_drawn_as_if_there_were_no_others(rows: set[int], batch: int, seed: int) -> None:
    values, among = torch.arange(100, 120), torch.tensor(sorted(rows))
    ours = StepBatches({"value": values}, batch, 6, seed, among)
    alone = StepBatches({"value": values[among]}, batch, 6, seed)
    for mine, other in zip(ours, alone, strict=True):
        assert torch.equal(mine["value"], other["value"])


def test_a_process_alone_has_everything_itself() -> None:
    drawn = torch.randn(4, 3)
    assert torch.equal(own(drawn), drawn)
    assert of_all(4) == 4


@given(st.integers(1, 20), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3))
def test_the_pieces_of_all_processes_are_the_batch_of_one(count: int, each: int, processes: int, seed: int) -> None:
    whole = [piece["row"].tolist() for piece in batches(count, each * processes, 5, seed)]
    together: list[list[int]] = [[] for _ in whole]
    for rank in range(processes):
        with mock.patch("systems.parts.step_batches.piece", lambda rank=rank: (rank, processes)):
            for rows, piece in zip(together, batches(count, each * processes, 5, seed), strict=True):
                assert len(piece["row"]) == each
                assert of_all(each) == each * processes
                rows += piece["row"].tolist()
    assert together == whole
