"""The MLflow side of tracking: where records go, and how a journal of records is brought there, any number of times.

Every record carries its own time, and MLflow keeps one of equal points, parameters, tags and files, so that sending a
journal twice changes nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 1000
"""Metrics that MLflow takes in one call."""
KEY = "delaminate.key"
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's database that hold absolute paths."""
Record = dict[str, Any]


def root() -> Path:
    """The project: stages run in its root."""
    return Path.cwd().resolve()


def uri() -> str:
    """Absolute address of the records: MLFLOW_TRACKING_URI, else the project's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


@contextmanager
def locked() -> Iterator[None]:
    """One process of the project at a time."""
    (root() / ".work").mkdir(exist_ok=True)
    with FileLock(root() / ".work" / "mlflow.lock"):
        yield


def connect() -> MlflowClient:
    """A client of the records; makes the embedded database once, and mends its paths where the project has moved.

    Raises `OSError` where the database cannot be read or written, as on a full disk.
    """
    for name, value in {"TIMEOUT": "5", "MAX_RETRIES": "0"}.items():
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    if os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient(uri())
    with locked():
        try:
            _move()
            client = MlflowClient(uri())
            client.search_experiments(max_results=1)
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise OSError(f"MLflow's database {root() / 'mlflow.db'}: {error}") from error
        _home().parent.mkdir(exist_ok=True)
        _home().write_text(str(root()))
    return client


def _home() -> Path:
    return root() / "mlruns" / "root.txt"


def _move() -> None:
    """Rewrite the paths in the database if the project stood elsewhere when they were written."""
    if not _home().is_file() or not (root() / "mlflow.db").is_file():
        return
    old, new = _home().read_text(), str(root())
    if old == new:
        return
    with closing(sqlite3.connect(root() / "mlflow.db")) as database, database:
        for table, column in PATHS:
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608 - our own names
                (f"{old}/mlruns", f"{new}/mlruns"),
            )


def experiment(client: MlflowClient, name: str) -> str:
    """Id of an experiment, made if it is missing."""
    with locked():
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        embedded = not os.environ.get("MLFLOW_TRACKING_URI")
        return str(client.create_experiment(name, (root() / "mlruns" / name).as_uri() if embedded else None))


def run_id(client: MlflowClient, start: Record) -> str:
    """Id of the run that a journal's first record describes: found by its key, else made."""
    place = experiment(client, start["experiment"])
    found = client.search_runs([place], f"tags.`{KEY}` = '{start['key']}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(place, start["time"], {KEY: start["key"], **start["tags"]}, start["name"])
    return str(made.info.run_id)


def send(client: MlflowClient, identity: str, records: Sequence[Record]) -> None:
    """Bring records to a run. Sending them again changes nothing."""
    from mlflow.entities import Metric, Param

    points = [Metric(one["key"], one["value"], one["time"], one["step"]) for one in records if one["kind"] == "metric"]
    for first in range(0, len(points), BATCH):
        client.log_batch(identity, metrics=points[first : first + BATCH])
    for one in records:
        if one["kind"] == "params":
            params = [Param(key, value) for key, value in one["values"].items()]
            for first in range(0, len(params), 100):
                client.log_batch(identity, params=params[first : first + 100])
        elif one["kind"] == "artifact":
            client.log_artifact(identity, one["path"], one["folder"])
        elif one["kind"] == "model":
            from stages import model_registry

            model_registry.register(client, identity, one)
        elif one["kind"] == "end":
            client.set_terminated(identity, one["status"], one["time"])


def read(journal: Path) -> list[Record]:
    """Records of a journal; a last line that a killed process left half-written is dropped."""
    text = journal.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
