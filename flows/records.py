"""The MLflow side of a flow run: the parent run that holds the runs of its stages, and the way back to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT_VARIABLE = "DELAMINATE_PARENT_RUN"
DASHBOARD = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers when it is started as the README says."""


@dataclass
class Parent:
    """The MLflow run above those of the stages. It counts as failed until the flow says otherwise."""

    run_id: str
    failed: bool = True


@contextmanager
def parent(name: str) -> Iterator[Parent]:
    """Open the parent run of a flow run and close it whatever happens; none where the project does not use MLflow."""
    if not used():
        yield Parent("")
        return
    from stages import mlflow_runs

    with closing(mlflow_runs.open_parent(name)) as opened:
        yield opened


@contextmanager
def closing(run_id: str) -> Iterator[Parent]:
    """Close an open parent run whatever happens."""
    from stages import mlflow_runs

    opened = Parent(run_id)
    try:
        yield opened
    finally:
        mlflow_runs.close_parent(opened.run_id, "FAILED" if opened.failed else "FINISHED")


def used() -> bool:
    """Whether the stages of the project in the current folder record themselves in MLflow."""
    return "MLFLOW_TRACKING_URI" in os.environ or Path("stages/tracking.py").exists()


def variables(run_id: str) -> dict[str, str]:
    """What a stage's process needs in its environment to record itself under the parent run."""
    return {PARENT_VARIABLE: run_id} if run_id else {}


def runs(run_id: str, stage: str) -> str:
    """The MLflow runs of a stage under the parent `run_id` as a Markdown list of links; empty where there is none."""
    if not run_id:
        return ""
    from mlflow.exceptions import MlflowException

    from stages import tracking_store

    wanted = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.run_name = '{stage}'"
    try:
        client = tracking_store.connect()
        places = [experiment.experiment_id for experiment in client.search_experiments()]
        return "\n".join(f"- {_link(run)}" for run in client.search_runs(places, wanted))
    except (MlflowException, OSError) as error:
        return f"MLflow does not answer ({type(error).__name__}); `python -m stages.tracking sync` sends what waits."


def _link(run: Run) -> str:
    server = os.environ.get("MLFLOW_TRACKING_URI", DASHBOARD)
    base = server if server.startswith("http") else DASHBOARD
    return f"[{run.info.run_id}]({base}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"
