"""What ran once gives the same again: nothing to do, or, when forced, the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from tests.smoke import AUTHOR, run

pytestmark = pytest.mark.slow


def locks(project: Path) -> dict[str, str]:
    """The words of every dvc.lock: hashes of all dependencies and outputs."""
    return {path.relative_to(project).as_posix(): path.read_text() for path in project.rglob("dvc.lock")}


def test_after_a_run_there_is_nothing_to_do(project: Path) -> None:
    assert json.loads(run(project, "dvc", "status", "--json").stdout) == {}
    before = locks(project)
    ended = run(project, "dvc", "repro")
    assert ended.returncode == 0
    assert "Running stage" not in ended.stdout
    assert locks(project) == before


def test_in_a_clone_with_the_same_cache_there_is_nothing_to_do(project: Path, tmp_path: Path) -> None:
    """Git keeps no empty folder, so an output that is one would be missing in every clone."""
    clone = tmp_path / "clone"
    for command in (("git", "add", "-A"), ("git", *AUTHOR, "commit", "-qm", "ran"), ("git", "clone", "-q", ".", clone)):
        assert run(project, *map(str, command)).returncode == 0
    assert run(clone, "dvc", "cache", "dir", "--local", str(project / ".dvc" / "cache")).returncode == 0
    assert run(clone, "dvc", "checkout").returncode == 0
    assert json.loads(run(clone, "dvc", "status", "--json").stdout) == {}


def test_the_flow_gives_the_same_lock_with_any_number_of_workers_and_one_tree_of_runs(project: Path) -> None:
    """Everything runs again, from nothing but the sources, by the flow instead of `dvc repro`."""
    before = locks(project)
    assert {"dvc.lock", "systems/image_layers/dvc.lock"} <= set(before)
    assert list((project / ".work" / "runs").rglob("*")) == []
    ended = run(project, "python", "-m", "flows.reproduce", "--force", "--jobs", "2", DELAMINATE_WORKERS="1")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert " ran " in ended.stdout
    assert locks(project) == before

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    places = [place.experiment_id for place in client.search_experiments()]
    runs = client.search_runs(places, order_by=["attributes.start_time DESC"], max_results=10_000)
    (parent,) = [one for one in runs if one.data.tags.get("mlflow.runName", "").startswith("reproduce")]
    children = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    stages = [stage for path in before for stage in yaml.safe_load((project / path).read_text())["stages"]]
    assert len(children) == len([stage for stage in stages if stage != "report"])
    assert {one.info.status for one in (parent, *children)} == {"FINISHED"}
