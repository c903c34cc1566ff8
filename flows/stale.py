"""What a flow that was killed leaves behind: locks, and a half-written list of reserved paths.

The system drops DVC's usual lock by itself; a hard-link lock would stay for a year. A flow therefore notes who it is
and which claim it makes. A later one takes the lock away from a process that is gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from dvc.lock import HardlinkLock, make_lock
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

NOTE = "flow-lock-{pid}.json"
HELD_SECONDS = 1.0
"""DVC holds its lock on the list of reserved paths for milliseconds; one this old belongs to nobody."""


@contextmanager
def noted(repo: Repo) -> Iterator[None]:
    """Free what killed flows hold, then note this one for as long as it goes. Locks of other kinds need neither."""
    if not isinstance(repo.lock, HardlinkLock):
        yield
        return
    folder = Path(repo.tmp_dir)
    for note in folder.glob(NOTE.format(pid="*")):
        _free(note)
    mine = folder / NOTE.format(pid=os.getpid())
    created = psutil.Process().create_time()
    mine.write_text(json.dumps({"pid": os.getpid(), "created": created, "claim": repo.lock._claimfile}))
    try:
        yield
    finally:
        mine.unlink(missing_ok=True)


def mend_list(repo: Repo) -> None:
    """Remove a list of reserved paths that a kill left half-written: DVC would refuse it from then on."""
    path = Path(repo.tmp_dir) / RWLOCK_FILE
    if _whole(path):
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(str(path.with_name(RWLOCK_LOCK)), tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
        if not _whole(path):  # nobody is writing it now
            path.unlink()


def _whole(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _free(note: Path) -> None:
    """Take away the locks of a flow that is gone."""
    try:
        said = json.loads(note.read_text())
    except (OSError, ValueError):  # another flow took it, or it was killed while it wrote its note: before any lock
        note.unlink(missing_ok=True)
        return
    if lives(said["pid"], said["created"]):
        return
    lock, claim = note.with_name("lock"), Path(said["claim"])
    with suppress(FileNotFoundError):
        if lock.read_text() == str(claim):
            lock.unlink()
    claim.unlink(missing_ok=True)
    _free_list(note.with_name(RWLOCK_LOCK))
    note.unlink(missing_ok=True)


def lives(pid: int, created: float) -> bool:
    """Whether the process of this number is still the one that was created then."""
    try:
        return psutil.Process(pid).create_time() == created
    except psutil.NoSuchProcess:
        return False


def _free_list(lock: Path) -> None:
    with suppress(FileNotFoundError):
        before = lock.stat().st_ino
        time.sleep(HELD_SECONDS)
        if lock.stat().st_ino == before:
            lock.unlink()
