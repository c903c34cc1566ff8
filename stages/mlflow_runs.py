"""The runs that records belong to: one a stage, found by its key or made, under a parent run a pipeline.

Stages started with DELAMINATE_PARENT_RUN=RUN_ID are its children; those of a plain `dvc repro` share a parent that
the first of them opens and the next command after it closes.
"""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

import psutil

from stages.tracking_store import Line, experiment, locked

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PARENT = "DELAMINATE_PARENT_RUN"
PIPELINES = "pipelines"
KEY = "delaminate.key"
PROCESS = "delaminate.process"


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def stage_run(client: MlflowClient, start: dict[str, Any]) -> str:
    """Id of the run that a journal's first record describes: found by its key, else made under its parent."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    place = experiment(client, start["experiment"])
    found = client.search_runs([place], f"tags.`{KEY}` = '{start['key']}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {MLFLOW_PARENT_RUN_ID: start["parent"] or _parent_of(client, start), KEY: start["key"], **start["tags"]}
    return str(client.create_run(place, start["time"], tags, start["name"]).info.run_id)


def pipeline_process() -> str:
    """The dvc process above this stage, else this process, as `machine/pid-start`."""
    above = [one for one in psutil.Process().parents() if "dvc" in " ".join(one.cmdline()[:4])]
    chosen = above[0] if above else psutil.Process()
    return f"{platform.node()}/{chosen.pid}-{chosen.create_time():.2f}"


def _lives(process: str) -> bool:
    """Whether a process lives, as far as it can be told from this machine."""
    machine, _, own = process.rpartition("/")
    pid, started = own.split("-")
    try:
        return machine != platform.node() or f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False


def _parent_of(client: MlflowClient, start: dict[str, Any]) -> str:
    """The parent run of a stage's pipeline process, made by its first stage; those of ended processes are closed."""
    place, process = experiment(client, PIPELINES), start["tags"][PROCESS]
    with locked():
        found = client.search_runs([place], f"tags.`{PROCESS}` = '{process}'", max_results=1)
        one = found[0] if found else client.create_run(place, start["time"], {PROCESS: process}, "dvc repro")
        for other in client.search_runs([place], f"attributes.status = 'RUNNING' and tags.`{PROCESS}` LIKE '%'"):
            if not _lives(other.data.tags[PROCESS]):
                client.set_terminated(other.info.run_id, "FINISHED")
    return str(one.info.run_id)


def open_parent(name: str) -> str:
    """Open a parent run; returns its id, empty where MLflow does not answer: its stages are recorded without it."""

    def create(client: MlflowClient) -> str:
        return str(client.create_run(experiment(client, PIPELINES), now(), {}, name).info.run_id)

    return Line().ask(create, "the stages do not get this parent run") or ""


def close_parent(run_id: str, status: str) -> None:
    """Close a parent run as FINISHED, FAILED or KILLED."""
    if run_id:
        Line().ask(lambda client: client.set_terminated(run_id, status), f"parent run {run_id} stays open")
