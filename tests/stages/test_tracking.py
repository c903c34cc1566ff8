"""What a tracked run leaves in MLflow."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from mlflow.entities import DatasetInput
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from stages import lineage, mlflow_runs, tracking
from tests.stages.tracked_runs import a_run, assert_whole, perform, runs, waiting


def lock(project: Path) -> None:
    """A dvc.lock that knows the data of the runs."""
    (project / "dvc.lock").write_text(f"stages:\n  s:\n    outs:\n    - {{path: data/toy, md5: {'abc' * 10}de.dir}}\n")


def test_a_run_is_whole_and_traceable(blank: Path) -> None:
    lock(blank)
    perform(a_run())
    (one,) = runs()
    assert_whole(one)
    assert not waiting()
    assert one.info.run_name == "train@toy"
    assert one.data.tags["input.data.toy"] == "abc" * 10 + "de.dir"
    assert one.data.tags["closure"] == "c0de"
    assert one.data.metrics["system/memory_mib"] > 1
    (above,) = runs(mlflow_runs.PIPELINES)
    assert one.data.tags["mlflow.parentRunId"] == above.info.run_id
    timing = json.loads((blank / "reports/timings/train-toy.json").read_text())
    assert timing["peak_memory_bytes"] > 2**20


@pytest.mark.parametrize("locked", [True, False])
def test_the_data_sets_of_a_run_are_its_inputs(blank: Path, locked: bool) -> None:
    if locked:
        lock(blank)
    perform(a_run())
    (one,) = runs()
    (given,) = one.inputs.dataset_inputs  # the other input is no data set
    assert isinstance(given, DatasetInput)
    assert (given.dataset.name, json.loads(given.dataset.source)) == ("data/toy", {"uri": "data/toy"})
    assert given.dataset.digest == ("abc" * 10 + "de.dir" if locked else lineage.NOT_LOCKED)
    assert {tag.key: tag.value for tag in given.tags} == {MLFLOW_DATASET_CONTEXT: "data"}


def test_a_parent_given_by_the_flow_is_the_parent(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = mlflow_runs.open_parent("flow")
    monkeypatch.setenv(mlflow_runs.PARENT, opened)
    perform(a_run())
    mlflow_runs.close_parent(opened, "FAILED")
    assert runs()[0].data.tags["mlflow.parentRunId"] == opened
    assert [one.info.status for one in runs(mlflow_runs.PIPELINES)] == ["FAILED"]


def test_only_the_parents_of_ended_processes_of_this_machine_are_closed(
    blank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = mlflow_runs.pipeline_process()
    ended = own.replace("-", "-9", 1) if own.startswith("-") else own.rpartition("-")[0] + "-1.00"
    for process in (ended, f"another{ended}", own):
        monkeypatch.setattr(tracking, "pipeline_process", lambda process=process: process)
        with tracking.tracked(a_run(), []):
            pass
    found = {one.data.tags[mlflow_runs.PROCESS]: one.info.status for one in runs(mlflow_runs.PIPELINES)}
    assert found == {ended: "FINISHED", f"another{ended}": "RUNNING", own: "RUNNING"}


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_is_recorded_and_raised_again(blank: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.tracked(a_run(), []):
        raise error
    assert [one.info.status for one in runs()] == [status]


def test_sigterm_is_recorded_as_killed(blank: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        perform(a_run(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert [one.info.status for one in runs()] == ["KILLED"]


def test_results_grow_by_one_row_an_evaluation(blank: Path) -> None:
    for value in (1.0, 2.0):
        run = a_run("evaluate")
        with tracking.tracked(run, []):
            run.metric("rmse", value)
    rows = [json.loads(line) for line in (blank / "reports/results.jsonl").read_text().splitlines()]
    assert [row["metrics"]["rmse"] for row in rows] == [1.0, 2.0]
    assert rows[0]["data"]["data/toy"] == lineage.NOT_LOCKED
