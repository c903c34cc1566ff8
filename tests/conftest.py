"""One run of the pipeline at smoke scale for all slow tests, and a copy of it for each that changes something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.ledger_plugin import pytest_configure
from tests.smoke import copy, run

__all__ = ["pytest_configure"]

settings.register_profile("house", deadline=None)  # no test fails on a clock
settings.load_profile("house")

RECORDER = Path(__file__).parent / "guards" / "recorder"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """While one process of the session makes the smoke run for its first test, others have tests that need none."""
    wanting = [item for item in items if "smoke" in getattr(item, "fixturenames", ())]
    others = [item for item in items if item not in wanting]
    items[:] = [*wanting[:1], *others, *wanting[1:]]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project whose pipeline has run once at smoke scale. Not to be changed; see `project`.

    All processes of the session share it; the first that wants it makes it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "smoke" / "project"
    record = folder.parent / "record"
    with FileLock(folder.parent.with_suffix(".lock")):
        if not record.exists():
            record.mkdir(parents=True)
            copy(folder)
            # By force: a stage may need no run, its inputs at this scale being those of the results in Git.
            command = ("dvc", "repro", "--force")
            ended = run(folder, *command, PYTHONPATH=str(RECORDER), DELAMINATE_RECORD=str(record))
            assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
            (folder.parent / "done").touch()
    assert (folder.parent / "done").exists(), "it failed for another test"
    return folder


@pytest.fixture
def project(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke run, to be changed at will."""
    folder = tmp_path / "project"
    shutil.copytree(smoke, folder, symlinks=True)
    return folder
