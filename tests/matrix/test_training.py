"""Every system that trains: its loss and weights are finite, and what it saved rebuilds what is used later.

That a killed training ends with the same weights is tested over the same systems in tests/guards/test_kill.py.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pyarrow import csv
from safetensors import safe_open

from stages.closure import PROJECT, pairs
from stages.settings import read_params

pytestmark = pytest.mark.slow

PAIRS = sorted(pairs(read_params(PROJECT / "params.yaml")))
TRAINED = [name for stage, name in PAIRS if stage == "train"]


@pytest.mark.parametrize("name", TRAINED)
def test_losses_are_recorded_and_finite(smoke: Path, name: str) -> None:
    curves = sorted((smoke / "reports" / "train" / name / "plots").rglob("*loss*.csv"))
    assert curves
    for curve in curves:
        values = csv.read_csv(curve).column(1).to_pylist()
        assert values
        assert all(math.isfinite(value) for value in values), curve


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_safetensors_and_finite(smoke: Path, name: str) -> None:
    files = sorted(path for path in (smoke / "models" / name).rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    for path in (path for path in files if path.suffix == ".safetensors"):
        with safe_open(path, framework="pt") as weights:
            assert weights.keys()
            assert all(torch.isfinite(weights.get_tensor(key)).all() for key in weights.keys()), path  # noqa: SIM118
