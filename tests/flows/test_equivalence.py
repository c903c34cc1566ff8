"""Random pipelines end the same after the engine, side by side, as after `dvc repro`: every file, every byte."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flows.engine import Engine, OnError
from flows.graph import Selection
from flows.project import Options, opened
from flows.resources import Limits
from tests.flows.pipelines import Pipelines, contents, pipelines, set_params, template, write

COUNTER = itertools.count()
UNHURRIED = settings(
    deadline=None,
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example costs seconds; shrinking would cost minutes
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("empty") / "project")


def ours(folder: Path, **options: Any) -> dict[str, str]:
    """Run the engine in `folder` with four jobs; returns the outcome of each stage."""
    os.chdir(folder)
    with opened(Selection(all_pipelines=True), Options(**options)) as project:
        results = Engine(project, Limits(4, 4, 2**30), OnError.KEEP_GOING).run()
    return {result.step.address: str(result.outcome) for result in results}


def theirs(folder: Path, **options: Any) -> set[str] | None:
    """Run `dvc repro` in `folder`; returns the stages that it reproduced, None where one failed."""
    os.chdir(folder)
    cached = not options.pop("no_run_cache", False)
    with Repo() as repo:
        try:
            done = repo.reproduce(all_pipelines=True, on_error="keep-going", run_cache=cached, **options)
        except ReproductionError:
            return None
        return {stage.addressing for stage in done}


def same(flow: dict[str, bytes], dvc: dict[str, bytes], failed: bool) -> None:
    """After a failure DVC takes its lines out of .gitignore, those of finished stages too; the flow keeps them."""
    for name in [name for name in {*flow, *dvc} if failed and name.endswith(".gitignore")]:
        assert set(flow.pop(name).splitlines()) >= set(dvc.pop(name, b"").splitlines())
    assert set(flow) == set(dvc)
    assert {name for name in flow if flow[name] != dvc[name]} == set()


@UNHURRIED
@given(data=st.data(), project=pipelines())
def test_same_bytes_as_dvc_repro(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, project: Pipelines
) -> None:
    """First run, one after a change, one after the change was taken back (run cache), and a forced one or a no-op."""
    logging.getLogger("dvc").setLevel(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    here = tmp_path / str(next(COUNTER))
    here.mkdir()
    for name in ("dvc", "flow"):
        write(project, here / name, empty)
    for params, options in (
        (project.params, {}),
        (project.params | {"a": "changed", "deep": {"c": 9}}, {}),
        (project.params, data.draw(st.sampled_from([{}, {"no_run_cache": True}, {"force_downstream": True}]))),
        (project.params, data.draw(st.sampled_from([{}, {"force": True}, {"no_commit": True, "force": True}]))),
    ):
        for name in ("dvc", "flow"):
            set_params(here / name, params)
        did = theirs(here / "dvc", **options)
        ends = ours(here / "flow", **options)
        failed = "failed" in ends.values()
        assert failed == (did is None)
        assert did in (None, {address for address, end in ends.items() if end in {"ran", "restored"}})
        same(contents(here / "flow"), contents(here / "dvc"), failed)
