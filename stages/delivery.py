"""Brings the records of a journal to MLflow, any number of times.

Every record carries its own time, and MLflow keeps one of equal points, parameters, tags and files, so that sending a
journal twice changes nothing. A record that MLflow refuses does not hold up the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stages import tracking_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Record = dict[str, Any]
Sender = Callable[["MlflowClient", str, Sequence[Record]], None]


def send(client: MlflowClient, run_id: str, records: Sequence[Record]) -> list[Record]:
    """Bring records to a run; returns those that MLflow refuses, each with its reason as `refused`."""
    refused = [{**one, "refused": "unreadable"} for one in records if one["kind"] not in SENDERS]
    for kind, (batch, sender) in SENDERS.items():
        mine = [one for one in records if one["kind"] == kind]
        for first in range(0, len(mine), batch):
            refused += _offer(sender, client, run_id, mine[first : first + batch])
    return refused


def _offer(sender: Sender, client: MlflowClient, run_id: str, records: Sequence[Record]) -> list[Record]:
    """Send a batch; one that is refused is halved until the culprits stand alone. Returns these."""
    from mlflow.exceptions import MlflowException

    try:
        sender(client, run_id, records)
    except (MlflowException, OSError) as error:
        if not tracking_store.refused(error):
            raise
        if len(records) == 1:
            return [{**records[0], "refused": tracking_store.reason(error)}]
        half = len(records) // 2
        return [one for part in (records[:half], records[half:]) for one in _offer(sender, client, run_id, part)]
    return []


def _params(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(one["key"], one["value"]) for one in records])


def _metrics(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    from mlflow.entities import Metric

    client.log_batch(run_id, metrics=[Metric(one["key"], one["value"], one["time"], one["step"]) for one in records])


def _inputs(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    client.log_inputs(
        run_id,
        [
            DatasetInput(
                Dataset(one["path"], one["digest"], "local", json.dumps({"uri": one["path"]})),
                [InputTag(MLFLOW_DATASET_CONTEXT, one["key"])],
            )
            for one in records
        ],
    )


def _artifact(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    for one in records:
        client.log_artifact(run_id, str(tracking_store.root() / one["path"]), one["folder"])


def _model(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    from stages import model_registry

    for one in records:
        model_registry.register(client, run_id, one)


def _score(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    from stages import model_registry

    for one in records:
        model_registry.score(client, run_id, one)


def _end(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    for one in records:
        client.set_terminated(run_id, one["status"], one["time"])


SENDERS: dict[str, tuple[int, Sender]] = {
    "param": (100, _params),
    "metric": (1000, _metrics),
    "input": (100, _inputs),
    "artifact": (1, _artifact),
    "model": (1, _model),
    "score": (1, _score),
    "end": (1, _end),
}
"""How many records of a kind MLflow takes in one call, and how they are sent, in this order."""
