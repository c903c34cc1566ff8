"""The plan is DVC's own: same stages, same order, for every way to select them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from flows.graph import Selection, plan
from systems.parts.errors import UserError
from tests.flows import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project that ran once: `dvc repro --dry` wants the files of a stage before it names the next."""
    made = toy.make(tmp_path_factory.mktemp("graph") / "project")
    toy.call(made, "dvc", "repro", "-P")
    return made


@pytest.mark.parametrize(
    ("arguments", "selection"),
    [
        ([], Selection()),
        (["-P"], Selection(all_pipelines=True)),
        (["-p", "track/dvc.yaml:alone"], Selection(["track/dvc.yaml:alone"], pipeline=True)),
        (["-p", "source"], Selection(["source"], pipeline=True)),
        (["-R", "track"], Selection(["track"], recursive=True)),
        (["-s", "report"], Selection(["report"], single_item=True)),
        (["--downstream", "source"], Selection(["source"], downstream=True)),
        (["--glob", "track/dvc.yaml:change@*"], Selection(["track/dvc.yaml:change@*"], glob=True)),
        (["track/dvc.yaml:change"], Selection(["track/dvc.yaml:change"])),
    ],
)
def test_same_order_as_dvc(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], selection: Selection
) -> None:
    said = toy.call(folder, "dvc", "repro", "--dry", "--force", *arguments)
    theirs = re.findall(r"Running stage '(.+)':", said)
    assert theirs
    monkeypatch.chdir(folder)
    assert [step.address for step in plan(selection)] == theirs


def test_needs_are_the_direct_dependencies_inside_the_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    needs = {step.name: step.needs for step in plan(Selection(all_pipelines=True))}
    a, b = "track/dvc.yaml:change@a", "track/dvc.yaml:change@b"
    assert needs == {
        "source": set(),
        "change@a": {"source"},
        "change@b": {"source"},
        "report": {a, b},
        "alone": set(),
    }
    alone = replace(Selection(["report"]), single_item=True)
    assert [step.needs for step in plan(alone)] == [frozenset()]


def test_addresses_are_those_dvc_takes_from_a_folder_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "track")
    assert [step.address for step in plan(Selection())] == ["../dvc.yaml:source", "change@a", "change@b", "alone"]


def test_an_unknown_target_is_refused_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="nosuch") as caught:
        plan(Selection(["nosuch"]))
    assert "\n" not in str(caught.value)
