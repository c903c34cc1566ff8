"""A small data set, and models that are barely trained, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.run import StageRun
from stages.training import fit
from systems.language.decomp import train as training
from systems.language.decomp.synthesize import Params, synthesize

TINY = {"steps": 2, "batch": 2, "checkpoint_every": 1, "accelerator": "cpu"}
MODELS: dict[str, dict[str, Any]] = {
    "handlers": {"sources": ["subtask"]},
    "writer": {"sources": ["quote", "program"]},
    "direct": {"sources": ["direct"]},
    "chain": {"sources": ["chain"]},
    "control": {"sources": ["subtask", "quote", "chain"]},
}


def make_data(folder: Path, **changes: Any) -> Path:
    """Synthesise a data set into `folder`; returns where it lies."""
    params = Params(**{"texts": 40, "tests": 4, "contexts": 2, **changes})
    run = StageRun("synthesize", "decomp", params, {}, folder / "data", folder / "reports")
    run.begin()
    synthesize(run)
    run.finish([folder / "data", folder / "reports" / "metrics.json", folder / "reports" / "plots"])
    return folder / "data"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is not to be changed."""
    return make_data(tmp_path_factory.mktemp("decomp"))


@pytest.fixture(scope="session")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of two seeds after two steps."""
    folder = tmp_path_factory.mktemp("models")
    params = training.Params.model_validate(
        {
            "data": "decomp",
            "seeds": [0, 1],
            "network": {"width": 16, "depth": 1, "heads": 2},
            "training": TINY,
            "models": MODELS,
        }
    )
    run = StageRun(
        "train", "decomp", params, {"data": data}, folder / "model", folder / "reports", work=folder / "work"
    )
    run.fitter = fit
    run.begin()
    training.train(run)
    run.finish([folder / "model", folder / "reports" / "metrics.json", folder / "reports" / "plots"])
    return folder / "model"
