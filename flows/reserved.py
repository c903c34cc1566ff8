"""Tells other DVC processes which files running commands read and write: entries in DVC's list of reserved paths.

DVC writes the list twice a stage. Here what a stage that ended gives back is written together with what the next one
takes, at the latest before others may work.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dvc.rwlock import _acquire_read, _acquire_write, _check_blockers, _edit_rwlock, _release_read, _release_write

from flows.stale import OWN, hard

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Entry:
    """What one command reserves."""

    who: dict[str, Any]
    reads: Sequence[str]
    writes: Sequence[str]


class Reserved:
    """The entries of one flow."""

    def __init__(self, repo: Repo) -> None:
        self.where = repo.tmp_dir, repo.fs, hard(repo)
        self.held: dict[str, Entry] = {}
        self.over: list[Entry] = []

    def take(self, address: str, reads: Sequence[str], writes: Sequence[str]) -> None:
        """Reserve paths for a stage. Raises DVC's `LockError` where another process holds one of them."""
        who = {"pid": os.getpid(), "cmd": f"{OWN} {address}"}
        with _edit_rwlock(*self.where) as known:
            self._return(known)
            _check_blockers(self.where[0], known, who, mode="write", waiters=[*reads, *writes])
            _check_blockers(self.where[0], known, who, mode="read", waiters=writes)
            self.held[address] = Entry(who, _acquire_read(known, who, reads), _acquire_write(known, who, writes))

    def give(self, address: str) -> None:
        """A stage ended; nothing is written yet."""
        if entry := self.held.pop(address, None):
            self.over.append(entry)

    def tell(self) -> None:
        """Write what was given back."""
        if self.over:
            with _edit_rwlock(*self.where) as known:
                self._return(known)

    def _return(self, known: dict[str, Any]) -> None:
        for entry in self.over:
            _release_write(known, entry.who, entry.writes)
            _release_read(known, entry.who, entry.reads)
            known.setdefault("write", defaultdict(dict))  # DVC removes what is empty
            known.setdefault("read", defaultdict(list))
        self.over.clear()
