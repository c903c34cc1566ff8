"""Data-parallel work on a Dask cluster whose workers share nothing with this machine but the code.

A worker (and the scheduler) runs in a checkout of the same commit with the same environment; each worker checks that
before its first item and says what differs. Inputs travel with the work: they are sent once, through the scheduler, and
a worker lays them out as files in its own temporary folder. Results come back as values. When a worker dies, Dask gives
its items to another; an item that ends one worker after the other ends the stage.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from stages import closure, lineage
from stages.parallel import AHEAD, Function, in_order
from systems.parts.errors import UserError
from systems.parts.whole import whole

T = TypeVar("T")
R = TypeVar("R")

WAIT = 10
"""Seconds to wait for a scheduler that does not answer, and for a first worker."""

PACKAGES = (*lineage.PACKAGES, "opencv-python-headless")
START = "python -m dask worker"
LAYING_OUT = threading.Lock()


def on_cluster(
    address: str, who: tuple[str, str], function: Function[T, R], items: Iterable[T], inputs: Mapping[str, Path]
) -> Generator[R, None, None]:
    """Results of `function(inputs, item)` in the order of the items, for (stage, system) `who`."""
    with _connected(address) as client:
        sent = {
            name: (path.name, lineage.dvc_hash(path), client.submit(_kept, _packed(path), key=f"{client.id} {name}"))
            for name, path in inputs.items()
        }
        code, numbers = wanted(*who), count()

        def submit(item: T) -> Any:
            work, key = _pickle().dumps((function, item)), f"item {next(numbers)} of {'@'.join(who)} {client.id}"
            return client.submit(perform, work, code, sent, key=key)

        def room() -> int:
            threads: Mapping[str, int] = client.nthreads()
            return AHEAD * sum(threads.values())

        yield from in_order(items, submit, partial(_result, client, address), room)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of the cluster, which has a worker; what was not taken is cancelled at the end."""
    distributed = _distributed()
    with distributed.client.dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        try:
            client = distributed.Client(address, timeout=WAIT)
        except (OSError, ValueError) as error:
            why = f"no scheduler answers ({_line(error)}); one as tcp://HOST:8786 is wanted"
            raise _refused(address, why) from error
        with client:
            try:
                _require_workers(client, address)
                yield client
            except (OSError, CancelledError, distributed.client.ClosedClientError) as error:
                if client.status == "running" and not isinstance(error, CancelledError):
                    raise  # the error of a function
                raise _refused(address, f"the scheduler went away ({_line(error)})") from error


def _distributed() -> Any:
    """The library, whose calls have no types. It would write its settings, all commented out, into the home folder."""
    os.environ.setdefault("DASK_CONFIG", str(Path(".work/dask").absolute()))
    import distributed

    return distributed


def _pickle() -> Any:
    """The library's own way to send what it is given; what it sends never reaches a file."""
    from distributed.protocol import pickle

    return pickle


def _require_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except TimeoutError as error:
        raise _refused(address, f"the cluster has no worker; start one: {START} {address}") from error


def _result(client: Any, address: str, future: Any) -> Any:
    """The result of an item, or the error of its function, or in one line what went wrong with the cluster."""
    distributed = _distributed()
    try:
        for doubled in count():  # a result may be large and the way slow
            try:
                return future.result(timeout=WAIT << doubled)
            except TimeoutError:
                if future.status == "error":
                    raise
                _require_workers(client, address)
    except distributed.KilledWorker as error:
        words = f"{error.task.rpartition(' ')[0]} ended {error.allowed_failures + 1} workers one after the other"
        raise _refused(address, f"{words}; their logs tell why, and more memory is wanted most often") from error


def _refused(address: str, why: str) -> UserError:
    return UserError(f"parameter dask.address = {address}: {why}")


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


def wanted(stage: str, name: str) -> dict[str, str]:
    """What decides a result beside parameters and inputs: hash of every module of the stage, versions of packages."""
    modules = {path.as_posix() for path in closure.modules(stage, name)}
    return {what: value for what, value in found().items() if what in modules or not what.endswith(".py")}


@cache
def found() -> Mapping[str, str]:
    """Hashes of all modules and versions of all packages, as this process found them first: a worker runs for long."""
    paths = [path for room in closure.ROOMS for path in (closure.PROJECT / room).rglob("*.py") if not path.is_symlink()]
    hashes = {path.relative_to(closure.PROJECT).as_posix(): lineage.dvc_hash(path) for path in paths}
    return {**hashes, **{package: _version(package) for package in PACKAGES}, "python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _kept(content: bytes) -> bytes:
    """An input as a task: what a dead worker took with it, Dask makes again."""
    return content


def _packed(path: Path) -> bytes:
    """A file or folder in one piece."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    packed: bytes = _pickle().dumps({file.relative_to(path.parent).as_posix(): file.read_bytes() for file in files})
    return packed


def perform(work: bytes, code: Mapping[str, str], sent: Mapping[str, tuple[str, str, bytes]]) -> Any:
    """At a worker: one item, once code and inputs are known to be there."""
    for what, value in code.items():
        if (mine := found().get(what, "missing")) != value:
            raise UserError(
                f"Dask worker {_worker().address}: {what} is {mine}, {value} is wanted; start it again in a checkout "
                "of the same commit with the same environment"
            )
    inputs = {name: _laid_out(*packed) for name, packed in sent.items()}
    function, item = _pickle().loads(work)
    return function(inputs, item)


def _laid_out(name: str, digest: str, packed: bytes) -> Path:
    """The input as it lies at the stage, in the folder that goes with the worker; named by its content, made once."""
    folder = Path(_worker().local_directory) / "inputs" / digest
    with LAYING_OUT:
        if not folder.is_dir():
            with whole(folder) as (growing,):
                for file, content in _pickle().loads(packed).items():
                    (growing / file).parent.mkdir(parents=True, exist_ok=True)
                    (growing / file).write_bytes(content)
    return folder / name


def _worker() -> Any:
    return _distributed().get_worker()
