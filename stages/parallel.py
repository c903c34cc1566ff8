"""Data-parallel work behind `Run.map`: on local processes, or on the Dask cluster that `dask.address` names.

Where an item is worked on never changes its result: a function sees its item, its bound arguments and the inputs asked
for, and gives its result back as a value, which the stage's own process writes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stages.run import StageRun

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F")
Function = Callable[[Mapping[str, Path], T], R]

AHEAD = 2
"""For every one that works, so many items are under way or done and not yet taken: memory stays bounded."""


def results(
    run: StageRun[Any], function: Function[T, R], items: Iterable[T], reads: Iterable[str], alone: bool
) -> Generator[R, None, None]:
    """Results of `function(inputs, item)` in the order of the items; see `Run.map`."""
    inputs = {name: run.inputs[name] for name in reads}
    if run.cluster is not None:
        from stages.cluster import on_cluster

        return on_cluster(run.cluster, (run.stage, run.name), function, items, inputs)
    return on_processes(1 if alone else run.workers, partial(function, inputs), items)


def on_processes(count: int, call: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Results in order from `count` processes, or from this one alone; an error ends all of them at once."""
    if count == 1:
        yield from map(call, items)
        return
    with _processes(count) as pool:
        yield from in_order(items, lambda item: pool.submit(call, item), Future.result, lambda: AHEAD * count)


def in_order(
    items: Iterable[T], submit: Callable[[T], F], result: Callable[[F], R], room: Callable[[], int]
) -> Generator[R, None, None]:
    """Results in the order of the items, of which at most `room()` are submitted and not yet taken.

    The first error, in this order, is raised where its result would stand: which one does not depend on the clock.
    """
    waiting: deque[F] = deque()
    for item in items:
        waiting.append(submit(item))
        while len(waiting) >= max(1, room()):
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end with an error, an interrupt, or whoever stops to take results."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Make a process of the pool one that works on one core, leaves Ctrl-C to its parent, and ends when that does."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
