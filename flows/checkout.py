"""Checkouts beside the workspace: a Git work tree with the workspace's tracked files, sharing its DVC cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configobj import ConfigObj
from dvc.repo import Repo
from dvc.stage import PipelineStage

from systems.parts.errors import UserError

READY = Path(".dvc") / "config.local"
"""Is written last: a checkout that has it is whole."""


@dataclass(frozen=True)
class Snapshot:
    """The files that Git tracks in a workspace, as they are there, over its last commit; `rest` are left out."""

    root: Path
    baseline: str
    tree: str
    rest: tuple[str, ...] = ()


def snapshot(root: Path) -> Snapshot:
    """Take in the workspace of the project at `root` without touching it. Changes count, committed or not."""
    top = Path(git(root, "rev-parse", "--show-toplevel"))
    baseline = git(root, "rev-parse", "HEAD^{commit}")
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        # With its time: by that Git knows which files may have changed in the moment it was written.
        shutil.copy2(root / git(root, "rev-parse", "--git-path", "index"), index)
        git(top, "add", "-u", GIT_INDEX_FILE=str(index))
        tree = git(top, "write-tree", GIT_INDEX_FILE=str(index))
    _require_saved(root)
    rest = git(root, "ls-files", "--others", "--exclude-standard", "--exclude=/.work/").splitlines()
    return Snapshot(root, baseline, tree, tuple(rest))


def _require_saved(root: Path) -> None:
    """Data under a .dvc file comes from the cache, so it must be there as it is in the workspace."""
    with Repo(str(root)) as repo:
        data = [out for stage in repo.index.stages if not isinstance(stage, PipelineStage) for out in stage.outs]
        if changed := [str(out) for out in data if out.exists and out.changed_checksum()]:
            raise UserError(f"{', '.join(changed)}: changed since `dvc add`, so a checkout would not have it; add it")


def checkout(files: Snapshot, folder: Path) -> Path:
    """Make a checkout in `folder`, or take the whole one that is there already; returns the project in it."""
    inside = files.root.relative_to(git(files.root, "rev-parse", "--show-toplevel"))
    if _whole(folder / inside) and git(folder, "rev-parse", "HEAD") == files.baseline:
        return folder / inside
    remove(files.root, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(files.root, "worktree", "add", "-f", "--quiet", "--detach", "--no-checkout", str(folder), files.baseline)
    git(folder, "read-tree", "-u", "--reset", files.tree)
    _share(files.root, folder / inside)
    return folder / inside


def _whole(project: Path) -> bool:
    return (project / READY).exists()


def remove(root: Path, folder: Path) -> None:
    """Remove a checkout, whatever is left of it."""
    with suppress(UserError):  # it is only half there, or not at all
        git(root, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)


def _share(root: Path, project: Path) -> None:
    """The workspace's own settings, its cache, and a place inside for what DVC notes of the files here."""
    with Repo(str(root)) as repo:
        settings = ConfigObj(repo.config.read("local"))
        settings.merge({"cache": {"dir": repo.cache.local_cache_dir}})
        settings.merge({"core": {"site_cache_dir": str(project / ".dvc" / "tmp" / "site")}})
    settings.filename = str(project / READY.with_suffix(".partial"))
    settings.write()
    Path(settings.filename).replace(project / READY)


def git(folder: Path, *words: str, **variables: str) -> str:
    """What a git command says. One that fails ends in one line."""
    settings = ("-c", f"core.hooksPath={os.devnull}")
    environment: Mapping[str, str] = {**os.environ, **variables}
    ran = subprocess.run(
        ("git", *settings, *words), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise UserError(f"git {words[0]} in {folder}: {ran.stderr.strip() or 'failed'}")
    return ran.stdout.strip()
