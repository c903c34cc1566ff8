"""One run of the pipeline at smoke scale for all slow tests, and a copy of it for each that changes something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.ledger_plugin import pytest_configure
from tests.smoke import copy, run

__all__ = ["pytest_configure"]

settings.register_profile("house", deadline=None)  # no test fails on a clock
settings.load_profile("house")

RECORDER = Path(__file__).parent / "guards" / "recorder"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run once at smoke scale. Not to be changed; see `project`."""
    folder = tmp_path_factory.mktemp("smoke") / "project"
    record = folder.parent / "record"
    record.mkdir()
    copy(folder)
    ended = run(folder, "dvc", "repro", PYTHONPATH=str(RECORDER), DELAMINATE_RECORD=str(record))
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return folder


@pytest.fixture
def project(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke run, to be changed at will."""
    folder = tmp_path / "project"
    shutil.copytree(smoke, folder, symlinks=True)
    return folder
