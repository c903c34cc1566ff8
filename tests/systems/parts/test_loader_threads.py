"""Loader threads keep the order, run ahead only so far, pass errors on, and end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.parts.loader_threads import pipelined


def loaders() -> int:
    return sum(thread.name.startswith("loader") for thread in threading.enumerate())


@given(st.lists(st.integers()), st.integers(1, 5), st.integers(1, 3))
def test_items_pass_all_steps_in_order(items: list[int], steps: int, depth: int) -> None:
    passed = list(pipelined(items, [lambda item: (item, "step")] * steps, depth))

    def nested(item: Any) -> Any:
        for _ in range(steps):
            item = (item, "step")
        return item

    assert passed == [nested(item) for item in items]
    assert loaders() == 0


def test_steps_work_beside_each_other() -> None:
    """The second step holds its first item until the first step has begun another."""
    begun = threading.Event()

    def first(item: int) -> int:
        if item == 1:
            begun.set()
        return item

    def second(item: int) -> int:
        assert begun.wait(60)
        return item

    assert list(pipelined(range(3), [first, second])) == [0, 1, 2]


def test_no_more_is_begun_than_the_queues_hold() -> None:
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield number

    stream = pipelined(numbers(), [lambda item: item] * 2, depth=2)
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert len(begun) <= 1 + 2 * (2 + 1) + 1
    assert loaders() == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_of_any_step_reaches_the_caller_and_all_threads_end(place: int) -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    steps: list[Callable[[int], int]] = [lambda item: item] * 3
    steps[place] = fails
    with pytest.raises(ValueError, match="three"):
        list(pipelined(range(100), steps, depth=1))
    assert loaders() == 0


def test_an_error_of_the_items_reaches_the_caller() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("items")

    with pytest.raises(ValueError, match="items"):
        list(pipelined(numbers(), [lambda item: item] * 2))
