"""Loader threads: steps that work one after another on each item, and beside each other on several. For any data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from queue import Queue
from threading import Event
from typing import Any

END = object()


def pipelined(items: Iterable[Any], steps: Sequence[Callable[[Any], Any]], depth: int = 2) -> Iterator[Any]:
    """Items that have passed all steps, in order; a thread a step, joined by queues of length `depth`.

    An error in a step is raised here; threads end when the last item is taken or the caller stops early.
    """
    stopped = Event()
    with ThreadPoolExecutor(len(steps), "loader") as pool:
        source: Iterator[Any] = takewhile(lambda _: not stopped.is_set(), items)
        working = []
        for step in steps:
            queue: Queue[Any] = Queue(depth)
            working.append(pool.submit(_work, source, step, queue, stopped))
            source = _taken(queue)
        try:
            for item in source:  # noqa: UP028 - `yield from` would close the source, which has to be emptied
                yield item
        finally:
            stopped.set()
            _drop(source)
    for worker in working:
        worker.result()


def _taken(queue: Queue[Any]) -> Iterator[Any]:
    """What a queue gives until its end."""
    while (item := queue.get()) is not END:
        yield item


def _work(source: Iterator[Any], step: Callable[[Any], Any], out: Queue[Any], stopped: Event) -> None:
    """One thread. Once stopped it goes on taking and gives nothing, so that no other waits for it."""
    try:
        for item in source:
            if not stopped.is_set():
                out.put(step(item))
    except BaseException:
        stopped.set()
        raise
    finally:
        _drop(source)
        out.put(END)


def _drop(source: Iterator[Any]) -> None:
    """Take what is left."""
    for _ in source:
        continue
