"""What a flow that was killed leaves behind: locks, entries in DVC's list of reserved paths, and half of what it wrote.

The system drops DVC's usual lock by itself; a hard-link lock would stay for a year. DVC drops the entries of a process
whose number nobody has; but the system gives numbers again, after a restart the low ones first. And DVC stumbles over
an entry of its run cache that is half-written. A flow therefore notes who it is; a later one takes away what belongs to
a process that is gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from dvc.lock import HardlinkLock, make_lock
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, _edit_rwlock

NOTE = "flow-{pid}-{created}.json"
OWN = "python -m flows.reproduce"
"""How a flow names itself in the list of reserved paths."""
HELD_SECONDS = 1.0
"""DVC writes a list or an entry in milliseconds; what is half-written or locked for this long belongs to nobody."""


@dataclass(frozen=True)
class Note:
    """The note of a flow that is gone: where it is, the number that the flow had, its claim on DVC's lock if any."""

    path: Path
    pid: int
    claim: str


@contextmanager
def noted(repo: Repo) -> Iterator[list[Note]]:
    """Free the locks of flows that are gone, whose notes it yields, and note this one for as long as it goes."""
    folder = Path(repo.tmp_dir)
    gone = [note for path in folder.glob(NOTE.format(pid="*", created="*")) if (note := _gone(path))]
    for note in gone:
        _free_locks(note)
    pid, created = os.getpid(), psutil.Process().create_time()
    claim = repo.lock._claimfile if isinstance(repo.lock, HardlinkLock) else ""
    mine = folder / NOTE.format(pid=pid, created=created)
    mine.write_text(json.dumps({"pid": pid, "created": created, "claim": claim}))
    try:
        yield gone
    finally:
        mine.unlink(missing_ok=True)


def mend(repo: Repo, gone: Sequence[Note]) -> None:
    """Take away what these flows left half-written or reserved; `repo` must be locked."""
    _mend_list(repo)
    if gone:
        _mend_run_cache(Path(repo.stage_cache.cache_dir))
    for note in gone:
        _free_paths(repo, note.pid)
        note.path.unlink(missing_ok=True)


def _gone(path: Path) -> Note | None:
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):  # another flow took it, or it was killed while it wrote its note: before any lock
        path.unlink(missing_ok=True)
        return None
    return None if lives(said["pid"], said["created"]) else Note(path, said["pid"], said["claim"])


def _free_locks(note: Note) -> None:
    """Take away the hard-link locks of a flow."""
    if not note.claim:
        return
    lock = note.path.with_name("lock")
    with suppress(FileNotFoundError):  # another flow took it
        if lock.read_text() == note.claim:
            lock.unlink()
    Path(note.claim).unlink(missing_ok=True)
    _free_list(note.path.with_name(RWLOCK_LOCK))


def _free_list(lock: Path) -> None:
    with suppress(FileNotFoundError):
        before = lock.stat().st_ino
        time.sleep(HELD_SECONDS)
        if lock.stat().st_ino == before:
            lock.unlink()


def _mend_list(repo: Repo) -> None:
    """Remove a list of reserved paths that a kill left half-written: DVC would refuse it from then on."""
    path = Path(repo.tmp_dir) / RWLOCK_FILE
    if _whole(path):
        return
    with make_lock(str(path.with_name(RWLOCK_LOCK)), tmp_dir=repo.tmp_dir, hardlink_lock=hard(repo)):
        if not _whole(path):  # nobody is writing it now
            path.unlink()


def hard(repo: Repo) -> bool:
    """Whether DVC's locks are hard links in this project."""
    return bool(repo.config["core"].get("hardlink_lock", False))


def _whole(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _free_paths(repo: Repo, pid: int) -> None:
    """Take a flow's entries out of the list of reserved paths."""

    def stays(who: Mapping[str, Any]) -> bool:
        return who["pid"] != pid or not who["cmd"].startswith(OWN)

    with _edit_rwlock(repo.tmp_dir, repo.fs, hard(repo)) as reserved:
        reserved["write"] = {path: who for path, who in reserved["write"].items() if stays(who)}
        readers = {path: [who for who in found if stays(who)] for path, found in reserved["read"].items()}
        reserved["read"] = {path: found for path, found in readers.items() if found}


def _mend_run_cache(runs: Path) -> None:
    """Remove half-written entries; other projects may share the cache and write theirs now."""
    if found := _half_written(runs):
        time.sleep(HELD_SECONDS)
        for path in sorted(found & _half_written(runs), reverse=True):  # a folder after its files
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()


def _half_written(runs: Path) -> set[Path]:
    """Partial files, and folders that hold no whole one: DVC takes the newest file, whatever it is, even none."""
    partial = set(runs.glob("*/*/.*.tmp"))
    return partial | {folder for folder in runs.glob("*/*") if partial.issuperset(folder.iterdir())}


def lives(pid: int, created: float) -> bool:
    """Whether the process of this number is still the one that was created then."""
    try:
        return psutil.Process(pid).create_time() == created
    except psutil.NoSuchProcess:
        return False
