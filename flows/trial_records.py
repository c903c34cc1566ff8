"""The MLflow side of a sweep: its run, under it a run a trial with the values tried and the figures that came out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.records import Parent, closing, parent, used

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

URI = "MLFLOW_TRACKING_URI"
LOSS = "the sweep goes on without"


@contextmanager
def sweep(name: str, before: str) -> Iterator[Parent]:
    """The run of a sweep: the one it had `before`, opened again, or a new one."""
    if not (before and used() and _reopened(before)):
        with parent(name) as opened:
            yield opened
        return
    with closing(before) as opened:
        yield opened


def _reopened(run_id: str) -> bool:
    from stages.tracking_store import Line

    def reopen(client: MlflowClient) -> bool:
        found = bool(client.search_runs(_places(client), f"attributes.run_id = '{run_id}'"))
        if found:
            client.update_run(run_id, status="RUNNING")
        return found

    return bool(Line().ask(reopen, LOSS))


def share(root: Path, checkout: Path) -> dict[str, str]:
    """Let stages in a checkout record themselves where those of the project do; returns what their environment needs.

    The experiments are made here, so that their artifacts lie in the project and not in a checkout that goes.
    """
    if not used():
        return {}
    from stages import discover, tracking_store
    from stages.journal import SPOOL

    spool = checkout / SPOOL
    (root / SPOOL).mkdir(parents=True, exist_ok=True)
    if not spool.exists():
        spool.parent.mkdir(parents=True, exist_ok=True)
        spool.symlink_to(root / SPOOL)
    if os.environ.get(URI):
        return {}
    tracks = {found.track for found in discover.walk().values()}
    tracking_store.Line().ask(lambda client: [tracking_store.experiment(client, track) for track in tracks], LOSS)
    return {URI: tracking_store.uri()}


@contextmanager
def trial(name: str, above: str, values: Mapping[str, Any]) -> Iterator[Parent]:
    """The run of a trial, under that of its sweep; what a killed try of the same trial left open is closed."""
    if not above:
        yield Parent("")
        return
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    from stages.tracking_store import Line

    def settle(client: MlflowClient, run_id: str) -> None:
        under = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{above}' and attributes.run_name = '{name}'"
        for left in client.search_runs(_places(client), f"{under} and attributes.status = 'RUNNING'"):
            client.set_terminated(left.info.run_id, "KILLED")
        client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, above)
        for key, value in values.items():
            client.log_param(run_id, key, value)

    with parent(name) as opened:
        if opened.run_id:
            Line().ask(lambda client: settle(client, opened.run_id), LOSS)
        yield opened


def figures(run_id: str, by_file: Mapping[str, Mapping[str, Any]]) -> None:
    """Log every number of the metrics files under its file and key, as `reports/x.json:score`."""
    if not run_id:
        return
    from mlflow.entities import Metric

    from stages.journal import mlflow_name
    from stages.mlflow_runs import now
    from stages.tracking_store import Line

    time = now()
    found = [
        Metric(f"{mlflow_name(path)}:{mlflow_name(key)}", float(value), time, 0)
        for path, held in by_file.items()
        for key, value in flat(held)
        if isinstance(value, int | float)
    ]
    Line().ask(lambda client: client.log_batch(run_id, metrics=found), f"run {run_id} lacks its figures")


def flat(held: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure of a metrics file with its key, inner keys after a dot, as DVC names them."""
    if not isinstance(held, Mapping):
        yield above, held
        return
    for key, value in held.items():
        yield from flat(value, f"{above}.{key}" if above else str(key))


def _places(client: MlflowClient) -> list[str]:
    return [experiment.experiment_id for experiment in client.search_experiments()]
