"""Paths of the stages, and that every dvc.yaml names the same."""

from __future__ import annotations

import importlib
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from pydantic import ConfigDict

from stages.layout import Layout, root, workers
from stages.settings import read_params
from systems.parts.errors import UserError
from systems.parts.run import Strict

PROJECT = Path(__file__).resolve().parents[2]
PLAN = Layout(
    "paint", inputs={"data": "data/{data}", "more": "data/{more}"}, output="out/{name}", reports=True, holds=True
)


class Params(Strict):
    data: str = "flowers"
    size: int = 3


def test_inputs_take_fields_of_the_parameters_and_leave_out_what_is_not_given() -> None:
    assert PLAN.input_paths("rose", Params()) == {"data": Path("data/flowers")}
    assert PLAN.input_paths("rose", Params(data="")) == {}


def test_outputs_are_the_result_and_the_small_files() -> None:
    names = ["out/rose", *(f"reports/paint/rose/{name}" for name in ("metrics.json", "plots", "holds.json"))]
    assert [path.as_posix() for path in PLAN.outputs("rose")] == names
    assert Layout("paint").outputs("rose") == []


def test_root_is_found_from_below_and_missed_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert root() == tmp_path
    (tmp_path / "dvc.yaml").unlink()
    with pytest.raises(UserError, match=f"folder {below}: not inside a Delaminate project"):
        root()


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5", ""])
def test_a_wrong_number_of_workers_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELAMINATE_WORKERS", given)
    with pytest.raises(UserError, match=f"DELAMINATE_WORKERS={given}: a whole number"):
        workers()


def test_workers_are_those_given_or_the_cores_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELAMINATE_WORKERS", "7")
    assert workers() == 7
    monkeypatch.delenv("DELAMINATE_WORKERS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert workers() == 3


class Block(Strict):
    """Any parameters: what a layout reads of them are the fields that name a path."""

    model_config = ConfigDict(extra="allow")


def block_of(key: str) -> Block:
    return Block.model_validate(reduce(getitem, key.split("."), read_params(PROJECT / "params.yaml")))


@pytest.fixture(scope="module")
def resolved() -> list[Any]:
    """Every stage that runs a system (`python -m stages STAGE NAME`), as DVC resolves the dvc.yaml files."""
    with Repo(str(PROJECT)) as repo:
        return [stage for stage in repo.index.stages if len(stage.cmd.split()) == 5]


def test_every_dvc_yaml_names_the_paths_of_the_layouts(resolved: list[Any]) -> None:
    assert resolved
    for stage in resolved:
        python, dash_m, package, kind, name = stage.cmd.split()
        assert (python, dash_m, package) == ("python", "-m", "stages"), stage

        plan: Layout = importlib.import_module(f"stages.{kind}").LAYOUT
        assert plan.stage == kind, stage
        (block,) = [key for dep in stage.deps if hasattr(dep, "params") for key in dep.params]
        given = {str(Path(dep.fs_path).relative_to(PROJECT)) for dep in stage.deps if not hasattr(dep, "params")}
        inputs = {str(path) for path in plan.input_paths(name, block_of(block)).values()}
        assert block.split(".")[-2:] == [kind, name], stage
        assert given == inputs | {f"stages/closures/{kind}/{name}"}, stage
        outputs = {str(Path(out.fs_path).relative_to(PROJECT)) for out in stage.outs}
        assert outputs == {str(path) for path in plan.outputs(name)}, stage


def test_results_that_people_read_stay_in_git_and_the_rest_in_the_cache(resolved: list[Any]) -> None:
    for stage in resolved:
        for out in stage.outs:
            path = Path(out.fs_path).relative_to(PROJECT)
            assert out.use_cache == (path.parts[0] != "reports"), out
            assert bool(out.metric) == (path.name == "metrics.json"), out
            assert bool(out.plot) == (path.name == "plots"), out
