"""A toy project: the frame alone with one system, `toy`, whose code each test may change; and a blank one to track."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import systems
from stages import closure, discover, lineage, mlflow_runs, tracking_store
from tests.stages.tracked_runs import DATA, Server, Silent

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


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of records: making it takes seconds, copying it does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("database"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking_store.connect()
        return Path("mlflow.db").absolute()


@pytest.fixture
def blank(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without code, as the current folder, that tracks runs of one system, `toy` of track `toys`."""
    found = discover.Found("toy", "toys", "systems.toys.toy")
    monkeypatch.setattr(discover, "walk", lambda: {"toy": found})
    monkeypatch.setattr(lineage, "closure_hash", lambda *_: "c0de")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(mlflow_runs.PARENT, raising=False)
    folder = tmp_path / "the one"
    (folder / "reports").mkdir(parents=True)
    (folder / DATA).mkdir(parents=True)
    shutil.copy(database, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def server(blank: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is not started yet, and the address of this process's records."""
    made = Server(blank.parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    yield made
    if hasattr(made, "process"):
        made.kill()


@pytest.fixture
def silent(blank: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    """A server that never answers, which is found out after a second."""
    made = Silent()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    yield made
    made.close()
