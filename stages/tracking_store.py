"""Where the records are: the address of MLflow, the line to it, and the project's own database."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's database that hold absolute paths."""
REFUSALS = {400, 404, 413, 422}
"""HTTP codes that mean: not this record, neither now nor later."""


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
            _mend()
            client = MlflowClient(uri())
            client.search_experiments(max_results=1)
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise OSError(f"MLflow's database {root() / 'mlflow.db'}: {error}") from error
    return client


def _mend() -> None:
    """Rewrite the paths in the database if they were written elsewhere: the project was moved or copied."""
    if not (root() / "mlflow.db").is_file():
        return
    new = root() / "mlruns"
    with closing(sqlite3.connect(root() / "mlflow.db")) as database, database:
        for old in _artifact_folders(database) - {new}:
            for before, after in ((f"{old}/", f"{new}/"), (f"{old.as_uri()}/", f"{new.as_uri()}/")):
                for table, column in PATHS:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608 - our own names
                        (after, len(before) + 1, len(before), before),
                    )


def _artifact_folders(database: sqlite3.Connection) -> set[Path]:
    """Folders above those of the experiments that `experiment` made."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return set()
    rows = database.execute("SELECT name, artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")
    places = ((name, Path(unquote(urlsplit(location).path))) for name, location in rows)
    return {place.parent for name, place in places if (place.parent.name, place.name) == ("mlruns", name)}


def experiment(client: MlflowClient, name: str) -> str:
    """Id of an experiment, made if it is missing."""
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    embedded = not os.environ.get("MLFLOW_TRACKING_URI")
    with locked():
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        return str(client.create_experiment(name, (root() / "mlruns" / name).as_uri() if embedded else None))


class Line:
    """The line to MLflow of one command. The first call without an answer cuts it: a dead server costs one time-out."""

    def __init__(self) -> None:
        self.client: MlflowClient | None = None
        self.cut = False

    def ask(self, call: Callable[[MlflowClient], T], loss: str) -> T | None:
        """Answer of `call`; None where there is none, which is said once, with the loss it means."""
        from mlflow.exceptions import MlflowException

        if self.cut:
            return None
        self.cut = True  # until the answer is there: an interrupt in mid-call must not pass for one
        try:
            self.client = self.client or connect()
            answer = call(self.client)
        except (MlflowException, OSError) as error:
            say(f"MLflow at {uri()} does not take records ({reason(error)}); {loss}")
            return None
        self.cut = False
        return answer


def refused(error: Exception) -> bool:
    """Whether MLflow answered that it will never take what it was given, or what was to be given is gone."""
    from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException

    if isinstance(error, MlflowException):
        return ERROR_CODE_TO_HTTP_STATUS.get(error.error_code) in REFUSALS
    answer = getattr(error, "response", None)
    return isinstance(error, FileNotFoundError) or getattr(answer, "status_code", None) in REFUSALS


def reason(error: Exception) -> str:
    """What went wrong, short enough for one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:160]}"


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(f"delaminate: {line}", file=sys.stderr)
