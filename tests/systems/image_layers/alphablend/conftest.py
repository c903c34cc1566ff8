"""A small data set made from made-up sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.run import StageRun
from systems.image_layers.alphablend.synthesize import Params, synthesize
from tests.systems.image_layers.alphablend.sources import make_sources

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up sources."""
    return make_sources(tmp_path_factory.mktemp("sources") / "images")


def make_data(sources: Path, folder: Path, workers: int = 1, **changes: Any) -> Path:
    """Synthesise a data set of tiny samples into `folder`; returns where it lies."""
    settings = {"sources": "images", "side": 24, "train": 12, "test": 5, "shard": 5, **changes}
    run = StageRun("synthesize", "alphablend", Params(**settings), {"sources": sources}, folder / "data", folder / "r")
    run.workers = workers
    run.begin()
    synthesize(run)
    run.finish([folder / "data", folder / "r" / "metrics.json"])
    return folder / "data"


@pytest.fixture(scope="session")
def data(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is not to be changed."""
    return make_data(sources, tmp_path_factory.mktemp("alphablend"))
