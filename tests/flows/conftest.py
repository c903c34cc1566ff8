"""One Prefect server on SQLite for all tests of the flows, and a toy project that ran once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from flows import server
from tests.flows import toy

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running server; every flow that a test starts reports to it."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        process, url = server.start(home)
        patch.setenv("PREFECT_API_URL", url)
        yield url
        server.stop(process)
    assert "PREFECT_API_URL" not in os.environ


@pytest.fixture
def project(tmp_path: Path, prefect_url: str) -> Path:
    """A toy project that ran nothing yet."""
    return toy.make(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> tuple[Path, str]:
    """A toy project after one run of the flow, and what the command printed; only to be looked at."""
    folder = toy.make(tmp_path_factory.mktemp("finished") / "project")
    return folder, toy.reproduce(folder, "-P")
