"""Costs of DVC that grow with the project and change nothing in the result, gone around for as long as a flow runs.

Each was found with a profiler on 232 small stages. What DVC writes stays the same to the last byte, but for the order
of time; `tests/flows/test_equivalence.py` compares it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from dvc import rwlock
from dvc.repo import Repo

from flows.lockfile import stamp


@contextmanager
def shortcuts(repo: Repo) -> Iterator[None]:
    """Go around them; `repo` must stay locked while DVC works."""
    _keep_database_open(repo)
    _read_git_index_once(repo)
    with _unreserved():
        yield


def _keep_database_open(repo: Repo) -> None:
    """Every output that is linked into the workspace is noted in a database, which is closed after each of them."""
    state = repo.state

    def set_link(path: str, inode: int, mtime: str) -> None:
        state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)

    state.set_link = set_link


def _read_git_index_once(repo: Repo) -> None:
    """For every output Git's index is read to see that Git does not track it; now only when it was written anew."""
    scm = repo.scm
    if not hasattr(scm, "dulwich"):  # no Git
        return
    root = Path(scm.root_dir)
    index = Path(scm.dulwich.repo.index_path())
    seen: list[Any] = [(), set()]

    def is_tracked(path: str) -> bool:
        now = stamp(index)
        if now != seen[0]:
            names = [os.fsdecode(name) for name in scm.dulwich.repo.open_index()]
            folders = {name[:end] for name in names for end, letter in enumerate(name) if letter == "/"}
            seen[:] = now, {*names, *folders}
        return os.path.relpath(path, root).replace(os.sep, "/") in seen[1]

    scm.is_tracked = is_tracked


@contextmanager
def _unreserved() -> Iterator[None]:
    """Every method of a stage enters the files it works on in .dvc/tmp/rwlock and takes them out again.

    While the project is locked nobody else enters any; a flow enters them itself for the time a command runs.
    """

    def free(*_: Any) -> AbstractContextManager[None]:
        return nullcontext()

    before, rwlock.rwlock = rwlock.rwlock, free
    try:
        yield
    finally:
        rwlock.rwlock = before
