"""The Git side of stages that run elsewhere: the state of this checkout as a commit, and a work tree of it there.

What is not committed yet goes along, new files too, as far as .gitignore lets it: the dvc.lock of this moment is among
it, and outputs that DVC does not cache. Branches and the index stay as they are. The commit travels under a ref of this
checkout's own, which is taken away at the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from dvc.config import Config, merge

from flows.stale import lives
from systems.parts.errors import UserError

REF = "refs/delaminate/{checkout}"
TREES = ".dvc/tmp/stages"
OWN = ":(exclude,top,glob)**/.work/**"
"""What flows and stages keep for themselves; a project may have forgotten to ignore it."""
AUTHOR = {f"GIT_{who}_{what}": "delaminate" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str, **variables: str) -> str:
    """What a Git command prints; hooks are left out, and what goes wrong is said in one line."""
    line = ["git", "-c", "core.hooksPath=/dev/null", *words]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **variables}
    run = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        raise UserError(f"git {words[0]} in {folder}: {said[0]}")
    return run.stdout.strip()


def remote(folder: Path) -> str:
    """The Git remote that machines share: origin, or the only one there is."""
    names = git(folder, "remote").split()
    if "origin" not in names and len(names) != 1:
        raise UserError(f"git remote in {folder}: {', '.join(names) or 'none'}; one is wanted, or one named origin")
    return "origin" if "origin" in names else names[0]


class Snapshots:
    """States of a checkout, each sent to the Git remote as a commit on top of the last one."""

    def __init__(self, root: Path, index: Path) -> None:
        """`index` is where a second Git index may lie. A remote that does not answer is refused here."""
        self.root, self.index, self.remote = root, index, remote(root)
        self.ref = REF.format(checkout=hashlib.sha256(f"{socket.gethostname()}:{root}".encode()).hexdigest()[:16])
        self.commit = git(root, "rev-parse", "--verify", "HEAD^{commit}")
        self.tree = ""
        git(root, "ls-remote", "--quiet", self.remote, "HEAD")

    def take(self) -> str:
        """Send the checkout as it is now; returns the commit, the last one where nothing has changed."""
        now = self._tree()
        if now != self.tree:
            self.commit = git(self.root, "commit-tree", now, "-p", self.commit, "-m", "handed to a worker", **AUTHOR)
            git(self.root, "push", "--quiet", "--force", self.remote, f"{self.commit}:{self.ref}")
            self.tree = now
        return self.commit

    def _tree(self) -> str:
        if not self.tree:  # Git's own index knows what has not changed; later ones start from the last
            shutil.copyfile(self.root / git(self.root, "rev-parse", "--git-path", "index"), self.index)
        variables = {"GIT_INDEX_FILE": str(self.index)}
        git(self.root, "add", "--all", "--", ":(top)", OWN, **variables)
        return git(self.root, "write-tree", **variables)

    def drop(self) -> None:
        """Take the ref away; a remote that is gone by now keeps it until the next run of this checkout."""
        self.index.unlink(missing_ok=True)
        if self.tree:
            with suppress(UserError):
                git(self.root, "push", "--quiet", "--delete", self.remote, self.ref)


@contextmanager
def checked_out(clone: Path, commit: str, ref: str) -> Iterator[Path]:
    """The project at `commit` in a work tree of its own that shares the cache of `clone`; gone at the end."""
    trees = clone / TREES
    _clear(clone, trees)
    git(clone, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote(clone), ref)
    folder = trees / f"{os.getpid()}-{psutil.Process().create_time()}"
    try:
        git(clone, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        project = folder / git(clone, "rev-parse", "--show-prefix")
        _configure(clone, project)
        yield project
    finally:
        _remove(clone, folder)


def _configure(clone: Path, project: Path) -> None:
    """What DVC knows in the clone only, and paths that would lead elsewhere from the work tree."""
    here, there = Config(str(clone / ".dvc")), Config(str(project / ".dvc"))
    with there.edit("local", validate=False) as local:
        merge(local, here.load_one("local"))
        merge(local, {"remote": {name: {"url": entry["url"]} for name, entry in here["remote"].items()}})
        local["cache"]["dir"] = here["cache"].get("dir") or str(clone / ".dvc" / "cache")
        local["core"]["site_cache_dir"] = str(project / ".dvc" / "tmp" / "site")


def _clear(clone: Path, trees: Path) -> None:
    """Remove what workers left that were killed."""
    for folder in trees.glob("*-*"):
        pid, created = folder.name.split("-")
        if not lives(int(pid), float(created)):
            _remove(clone, folder)


def _remove(clone: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    git(clone, "worktree", "prune")
