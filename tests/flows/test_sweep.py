"""The command `python -m flows.sweep`: the experiments of `dvc exp run -S`, side by side, and on after any end."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows.checkout import checkout, snapshot
from tests import smoke
from tests.flows import sweeping, toy
from tests.flows.sweeping import begin, experiments, mark, processes, shown, starts, sweep
from tests.flows.toy import gone, until

GRID = ("--grid", "model.width=1,2", "--grid", "model.kind=plain,[a, 1]", "--name", "grid")
METRIC = ("--metric", "eval.json:loss")
WIDTHS = ("--grid", "model.width=1,2,3", "--name", "widths", *METRIC)
slow = pytest.mark.slow  # each run of the command starts several processes
after_one = pytest.mark.xdist_group("swept")


@pytest.fixture
def folder(tmp_path: Path, prefect_url: str) -> Path:
    return sweeping.make(tmp_path / "project")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> tuple[Path, Path, str]:
    """A project after a grid of four, one of the same kind that stays as it was, and what the command printed."""
    place = tmp_path_factory.mktemp("swept")
    folder = sweeping.make(place / "project")
    toy.choose(folder, "rate: 0.1", "rate: 0.7")  # not committed
    plain = shutil.copytree(place, place / "plain", symlinks=True) / "project"
    return folder, plain, sweep(folder, *GRID, *METRIC, "--jobs", "1", MLFLOW_TRACKING_URI=uri(place))


def uri(place: Path) -> str:
    return f"sqlite:///{place / 'mlflow.db'}"


def recorded(place: Path) -> list[Any]:
    """All runs in MLflow."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri(place))
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


@slow
@after_one
def test_a_grid_is_the_experiments_of_dvc_exp_run(swept: tuple[Path, Path, str]) -> None:
    folder, plain, _ = swept
    points = {f"grid-{i + 1}": p for i, p in enumerate([(1, "plain"), (1, "[a, 1]"), (2, "plain"), (2, "[a, 1]")])}
    for name, (width, kind) in points.items():
        values = ("-S", f"model.width={width}", "-S", f"model.kind={kind.replace(' ', '')}")
        sweeping.call(plain, "dvc", "exp", "run", "--temp", "--name", name, *values)
    assert len(experiments(folder)) == 4
    assert experiments(folder) == experiments(plain)
    assert shown(folder) == shown(plain)
    for name, (width, kind) in points.items():
        model, figures = shown(folder)[name]
        assert (model["width"], model["kind"], model["rate"]) == (width, yaml.safe_load(kind), 0.7)
        assert figures["loss"] == (width - 2) ** 2 + 0.7 / 3


@slow
@after_one
def test_trials_share_one_cache_and_leave_nothing_else(swept: tuple[Path, Path, str]) -> None:
    folder, plain, _ = swept
    assert starts(folder)[:2] == ["data-1", "data-1"]  # once a kind; the width is nothing to it
    assert starts(folder)[2:] == ["fit-1", "fit-1", "fit-2", "fit-2"]
    assert sorted(path.name for path in (folder / ".work/sweeps/grid").iterdir()) == ["lock", "study.db"]
    assert len(toy.call(folder, "git", "worktree", "list").splitlines()) == 1
    for where in (folder, plain):
        assert toy.call(where, "git", "status", "--short", "--", ".", ":!.work").split() == ["M", "params.yaml"]
    assert "rate: 0.7" in (folder / "params.yaml").read_text()


@slow
@after_one
def test_the_best_comes_into_the_workspace(swept: tuple[Path, Path, str], tmp_path: Path) -> None:
    folder, _, printed = swept
    line = printed.split("into the workspace with: ")[1].splitlines()[0]
    assert line == "dvc exp apply grid-3"
    mine = shutil.copytree(folder, tmp_path / "mine", symlinks=True)
    toy.call(mine, *line.split())
    assert yaml.safe_load((mine / "params.yaml").read_text())["model"] == {"width": 2, "rate": 0.7, "kind": "plain"}
    assert (mine / "model.txt").read_text() == "plain 2 0.7"
    assert "up to date" in toy.call(mine, "dvc", "status")
    assert "# A comment that stays." in (mine / "params.yaml").read_text()


@slow
@after_one
def test_mlflow_has_the_figures_of_dvc_exp_show(swept: tuple[Path, Path, str]) -> None:
    folder = swept[0]
    runs = recorded(folder.parent)
    parent = next(run for run in runs if run.info.run_name == "grid")
    trials = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(trials) == set(shown(folder))
    assert {run.info.status for run in runs} == {"FINISHED"}
    for name, (model, figures) in shown(folder).items():
        wanted = {"eval.json:loss": figures["loss"], "eval.json:deep.size": figures["deep"]["size"]}
        assert trials[name].data.metrics == wanted
        assert trials[name].data.params == {f"model.{key}": str(model[key]) for key in ("width", "kind")}


@slow
@after_one
def test_a_finished_sweep_is_told_again_and_a_grid_may_grow(swept: tuple[Path, Path, str], tmp_path: Path) -> None:
    folder, before = swept[0], starts(swept[0])
    left = folder / ".work/sweeps/grid/grid-1"
    checkout(snapshot(folder), left)  # as a kill in the moment after the trial's end
    printed = sweep(folder, "--name", "grid")
    assert "4 of 4 trials are finished" in printed
    assert starts(folder) == before
    assert not left.exists()
    grown = ("--grid", "model.width=1,2,3", "--grid", "model.kind=plain", "--name", "grid", *METRIC)
    assert "5 finished; grid-3 is best" in sweep(folder, *grown)
    assert [name for name in starts(folder) if name not in before] == ["fit-3"]


@slow
def test_trials_run_side_by_side(folder: Path) -> None:
    mark(folder, "meet").touch()
    assert "2 finished" in sweep(folder, "--grid", "model.width=1,2", "--jobs", "2")


@slow
def test_a_failed_trial_stops_no_other_and_is_tried_again(folder: Path) -> None:
    mark(folder, "fail-1").touch()
    printed = sweep(folder, *WIDTHS, "--jobs", "1", expected=1)
    assert "| fit | fit has had enough" in printed
    assert "2 finished" in printed
    assert sorted(experiments(folder)) == ["widths-2", "widths-3"]
    mark(folder, "fail-1").unlink()
    assert "3 finished; widths-2 is best" in sweep(folder, *WIDTHS)
    assert starts(folder) == ["data-1", "fit-1", "fit-1", "fit-2", "fit-3"]


@slow
def test_killed_in_the_middle_it_goes_on_where_it_was(folder: Path) -> None:
    mark(folder, "wait-2").touch()
    record = {"MLFLOW_TRACKING_URI": uri(folder.parent)}
    flow = begin(folder, *WIDTHS, "--jobs", "1", **record)
    until(mark(folder, "waiting").exists)
    flow.kill()
    flow.wait()
    until(lambda: not processes(folder))
    assert starts(folder) == ["data-1", "fit-1", "fit-2"]
    mark(folder, "wait-2").unlink()
    printed = sweep(folder, "--name", "widths", **record)
    assert "1 of 3 trials are finished" in printed
    assert "3 finished; widths-2 is best" in printed
    assert starts(folder) == ["data-1", "fit-1", "fit-2", "fit-2", "fit-3"]
    assert sorted(experiments(folder)) == ["widths-1", "widths-2", "widths-3"]
    ends = sorted((run.info.run_name, run.info.status) for run in recorded(folder.parent))
    well = [(f"widths{trial}", "FINISHED") for trial in ("", "-1", "-2", "-3")]
    assert ends == sorted([*well, ("widths-2", "KILLED")])
    assert len(toy.call(folder, "git", "worktree", "list").splitlines()) == 1


@slow
def test_interrupt_ends_the_trials_and_removes_their_work_trees(folder: Path) -> None:
    mark(folder, "wait-1").touch()
    flow = begin(folder, *WIDTHS, "--jobs", "2")
    until(mark(folder, "waiting").exists)
    family = psutil.Process(flow.pid).children(recursive=True)
    flow.send_signal(signal.SIGINT)
    assert flow.wait() == 130
    assert gone(family)
    assert len(toy.call(folder, "git", "worktree", "list").splitlines()) == 1
    assert not (folder / ".work/sweeps/widths/widths-1").exists()
    mark(folder, "wait-1").unlink()
    assert "3 finished" in sweep(folder, "--name", "widths")


@slow
def test_a_study_is_drawn_within_its_space(folder: Path) -> None:
    space = ("--range", "model.rate=1e-6..1e-4:log", "--range", "model.width=1..4", "--choice", "model.kind=a,[b]")
    study = ("--name", "study", *space, *METRIC, "--maximise", "--trials", "3", "--jobs", "3")
    printed = sweep(folder, *study)
    tried = shown(folder)
    assert sorted(tried) == ["study-1", "study-2", "study-3"]
    for model, figures in tried.values():
        assert 1e-6 <= model["rate"] <= 1e-4
        assert model["width"] in {1, 2, 3, 4}
        assert model["kind"] in ("a", ["b"])
        assert figures["loss"] == (model["width"] - 2) ** 2 + model["rate"] / 3
    best = max(tried, key=lambda name: float(tried[name][1]["loss"]))
    assert f"{best} is best" in printed
    assert "4 finished" in sweep(folder, "--name", "study", "--trials", "4")


WRONG = {
    "--grid model.wdith=1": "--grid model.wdith: no value of params.yaml; model.width is one",
    "--grid model=1": "--grid model: no value of params.yaml",
    "--grid model.width": "KEY=VALUES is wanted",
    "--grid model.width=1,1": "a value is there twice",
    "--grid model.width=": "one or more values are wanted",
    "--grid model.width=1 nosuch": "Stage 'nosuch' not found",
    "--grid model.width=1 --metric eval.jsn:loss": "FILE:KEY is wanted, FILE one of eval.json",
    "--grid model.width=1 --trials 3": "--trials 3: is for a study",
    "--grid model.width=1 --jobs 0": "--jobs 0: a whole number of at least 1",
    "--grid model.width=1 --name a/b": "--name a/b: letters, digits",
    "--range model.width=1..2 --trials 2": "--metric: FILE:KEY is wanted for a study",
    "--range model.width=1..2 --metric eval.json:loss": "--trials 0: how many trials",
    "--name new": "either --grid or --range and --choice are wanted",
}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = sweeping.make(tmp_path_factory.mktemp("untouched") / "project")
    yield folder
    assert experiments(folder) == {}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_end_in_one_line(untouched: Path, words: str) -> None:
    printed = sweep(untouched, *words.split(), expected=2)
    assert WRONG[words] in printed
    assert len(printed.strip().splitlines()) == 1


@slow
def test_a_name_is_for_one_sweep_on_one_state_of_the_files(folder: Path) -> None:
    one = ("--grid", "model.width=1", "--name", "one")
    sweep(folder, *one)
    other = sweep(folder, "--grid", "model.rate=1", "--name", "one", expected=2)
    assert "--name one: was asked for with other keys" in other
    toy.choose(folder, "rate: 0.1", "rate: 0.2")
    assert "--name one: began on other files" in sweep(folder, *one, expected=2)
    sweeping.call(folder, "dvc", "exp", "run", "--temp", "--name", "two-1")
    assert "an experiment two-1 already" in sweep(folder, "--grid", "model.width=1", "--name", "two", expected=2)


def test_a_server_that_does_not_answer_is_refused_before_anything_is_made(untouched: Path) -> None:
    nobody = "http://127.0.0.1:9/api"  # the port of the discard service
    printed = sweep(untouched, *GRID, expected=2, PREFECT_API_URL=nobody)
    assert f"PREFECT_API_URL={nobody}: no answer" in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (untouched / ".work/sweeps/grid").exists()


def test_help_is_light() -> None:
    code = (
        "import sys, flows.sweep, flows.sweep_flow, flows.trial\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'lightning', 'great_expectations'}))"
    )
    assert toy.call(Path.cwd(), sys.executable, "-c", code).strip().endswith("[]")


@slow
def test_stages_of_this_project_record_themselves_under_their_trial(tmp_path: Path, prefect_url: str) -> None:
    from mlflow.tracking import MlflowClient

    folder = tmp_path / "project"
    folder.mkdir()
    smoke.copy(folder)
    sweep(folder, "--grid", "fetch.images.max_side=64,128", "--name", "sizes", "fetch@images", "--jobs", "2")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    names = {run.info.run_id: run.info.run_name for run in runs}
    above = sorted((run.info.run_name, names.get(run.data.tags.get("mlflow.parentRunId"))) for run in runs)
    stages = [("fetch@images", "sizes-1"), ("fetch@images", "sizes-2")]
    assert above == [*stages, ("sizes", None), ("sizes-1", "sizes"), ("sizes-2", "sizes")]
    for run in runs:
        if run.info.run_name == "fetch@images":
            assert client.list_artifacts(run.info.run_id)
            assert run.info.artifact_uri.startswith((folder / "mlruns").as_uri())
