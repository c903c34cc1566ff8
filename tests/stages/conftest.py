"""A toy project: the frame alone with one system, `toy`, whose code each test may change."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import systems
from stages import closure

PROJECT = Path(__file__).resolve().parents[2]

TOY = '''"""A system that writes its size to one file."""

import pyarrow as pa
from pydantic import Field

from systems.parts.run import Run, Strict


class Params(Strict):
    """Parameters of the toy."""

    size: int = Field(gt=0, le=9, description="number written")


def synthesize(run: Run[Params]) -> None:
    """Write the size."""
    (run.output / "size.txt").write_text(str(run.params.size))
    run.metric("size", run.params.size)
    run.table("sizes", pa.table({"size": [run.params.size]}))
'''
PARAMS = "toys:\n  synthesize:\n    toy:\n      size: 3\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy project, as the current folder; nothing is tracked. Its system stands in systems/toys/toy.py."""
    skip = shutil.ignore_patterns("closures", "__pycache__")
    shutil.copytree(PROJECT / "stages", tmp_path / "stages", ignore=skip)
    shutil.copytree(PROJECT / "systems" / "parts", tmp_path / "systems" / "parts", ignore=skip)
    track = tmp_path / "systems" / "toys"
    track.mkdir()
    for package in (tmp_path / "systems", track):
        (package / "__init__.py").touch()
    (track / "toy.py").write_text(TOY)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").touch()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(systems, "__path__", [str(tmp_path / "systems")])
    monkeypatch.setattr(closure, "PROJECT", tmp_path)
    monkeypatch.setattr("stages.execute.tracked", lambda *_: contextlib.nullcontext())
    closure.imported.cache_clear()
    closure.main()
    yield tmp_path
    closure.imported.cache_clear()
    for name in [name for name in sys.modules if name.startswith("systems.toys")]:
        del sys.modules[name]
