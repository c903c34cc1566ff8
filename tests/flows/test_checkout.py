"""Checkouts: the tracked files as they are in the workspace, over its last commit, the workspace itself untouched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flows.checkout import checkout, git, remove, snapshot
from systems.parts.errors import UserError
from tests.flows import toy

PAST = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A toy project with one change of each kind."""
    made = toy.make(tmp_path / "project")
    (made / "track/dvc.yaml").unlink()
    (made / "new.txt").write_text("new\n")
    (made / "other.txt").write_text("not in Git\n")
    (made / "step.py").chmod(0o755)
    toy.call(made, "git", "config", "core.trustctime", "false")
    os.utime(made / "params.yaml", (PAST, PAST))
    toy.call(made, "git", "add", "new.txt", "params.yaml")
    toy.choose(made, "hello", "hallo")  # of the same length, and as if in the moment when Git looked last
    for path in (made / "params.yaml", made / ".git/index"):
        os.utime(path, (PAST, PAST))
    return made


def tracked(project: Path) -> dict[str, bytes]:
    """The files that Git lists, with what they hold."""
    names = git(project, "ls-files").splitlines()
    return {name: (project / name).read_bytes() for name in names if (project / name).exists()}


def test_a_checkout_has_the_tracked_files_as_they_are(folder: Path, tmp_path: Path) -> None:
    index = (folder / ".git/index").read_bytes()
    files = snapshot(folder)
    project = checkout(files, tmp_path / "there")
    assert tracked(project) == tracked(folder)
    assert "word: hallo" in (project / "params.yaml").read_text()
    assert os.access(project / "step.py", os.X_OK)
    assert git(project, "rev-parse", "HEAD") == files.baseline == git(folder, "rev-parse", "HEAD")
    assert files.rest == ("other.txt",)
    assert (folder / ".git/index").read_bytes() == index


def test_a_checkout_shares_the_cache(folder: Path, tmp_path: Path) -> None:
    project = checkout(snapshot(folder), tmp_path / "there")
    toy.call(project, "dvc", "repro", "source")
    assert not (project / ".dvc/cache").exists()
    assert list((folder / ".dvc/cache/files").rglob("*"))
    assert list((folder / ".dvc/cache/runs").rglob("*"))
    assert toy.outcomes(toy.call(folder, "python", "-m", "flows.reproduce", "source")) == {"source": "restored"}


def test_a_whole_checkout_is_taken_again_and_any_other_made_anew(folder: Path, tmp_path: Path) -> None:
    files, place = snapshot(folder), tmp_path / "there"
    (checkout(files, place) / "left.txt").write_text("by a killed trial\n")
    assert (checkout(files, place) / "left.txt").exists()
    (place / ".dvc/config.local").unlink()
    assert not (checkout(files, place) / "left.txt").exists()
    git(place, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "on", "--allow-empty")
    assert git(checkout(files, place), "rev-parse", "HEAD") == files.baseline
    shutil.rmtree(place)
    assert (checkout(files, place) / "step.py").exists()
    remove(folder, place)
    assert not place.exists()
    assert len(git(folder, "worktree", "list").splitlines()) == 1


def test_a_project_below_the_top_of_git(tmp_path: Path) -> None:
    toy.make(tmp_path / "top/inner")
    shutil.move(tmp_path / "top/inner/.git", tmp_path / "top/.git")
    git(tmp_path / "top", "add", "-A")
    project = checkout(snapshot(tmp_path / "top/inner"), tmp_path / "there")
    assert project == tmp_path / "there/inner"
    assert (project / ".dvc/config.local").exists()
    assert (project / "params.yaml").exists()


def test_a_project_without_a_commit_is_refused_in_one_line(tmp_path: Path) -> None:
    toy.call(tmp_path, "git", "init", "-q")
    with pytest.raises(UserError, match=r"^git rev-parse in .*"):
        snapshot(tmp_path)


def test_data_that_dvc_does_not_have_is_refused(tmp_path: Path) -> None:
    folder = toy.make(tmp_path / "project")
    (folder / "pictures.txt").write_text("one\n")
    toy.call(folder, "dvc", "add", "-q", "pictures.txt")
    toy.call(folder, "git", "add", "pictures.txt.dvc", ".gitignore")
    project = checkout(snapshot(folder), tmp_path / "there")
    toy.call(project, "dvc", "checkout", "-q", "pictures.txt")
    assert (project / "pictures.txt").read_text() == "one\n"
    (folder / "pictures.txt").write_text("another\n")
    with pytest.raises(UserError, match=r"^pictures\.txt: changed since"):
        snapshot(folder)
