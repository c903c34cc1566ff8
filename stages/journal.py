"""The journal of a run: every record goes to a file first, then to MLflow, so that nothing is lost while that is away.

Journals lie in the spool until MLflow has everything. What it refuses stays there as `<key>.refused`, a journal again:
renamed to `<key>.jsonl` it is tried anew.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from stages import lineage, model_registry, tracking_store
from stages.delivery import Record, send
from stages.mlflow_runs import now, stage_run
from stages.tracking_store import Line, reason, say, uri

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SPOOL = Path(".work/mlflow-spool")
WAIT = f"records wait in {SPOOL}"
MISSING = "delaminate.missing"
"""Tag that names what MLflow refused of a run."""
FLUSH_SECONDS = 10.0
FLUSH_RECORDS = 1000


class Journal:
    """A tracker that writes every record to a file first, then to MLflow as long as that answers."""

    def __init__(self, system: str, start: Record, line: Line) -> None:
        """Begin the journal of one run with its first record and hold it until `close`."""
        self.system, self.start, self.line = system, start, line
        self.path = tracking_store.root() / SPOOL / f"{start['key']}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.owner = FileLock(self.path.with_suffix(".lock"))
        self.owner.acquire()
        self.pending: list[Record] = []
        self.run_id, self.flushed = "", time.monotonic()
        self._write([start])

    def metric(self, name: str, value: float, step: int) -> None:
        """Record one point of a curve; buffered."""
        self.add(kind="metric", key=mlflow_name(name), value=value, step=step)

    def artifact(self, path: Path, folder: str) -> None:
        """Record a small file, copied first: stages rename and remove what they write."""
        copy = SPOOL / self.start["key"] / folder / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        self.add(kind="artifact", path=str(copy), folder=folder)

    def model(self, folder: Path) -> None:
        """Record the finished model in `folder`: what it holds and takes now, whenever this is sent."""
        shapes = model_registry.shapes(folder)
        self._judged("model", folder=str(folder), content=lineage.dvc_hash(folder), shapes=shapes)

    def score(self, model: Path, data: Path) -> None:
        """Record that the metric `score` of this run is what the model in a folder is worth on a data set."""
        self._judged("score", content=lineage.dvc_hash(model), data=lineage.dvc_hash(data))

    def _judged(self, kind: str, **record: Any) -> None:
        self.add(kind=kind, system=self.system, track=self.start["experiment"], **record)

    def add(self, **record: Any) -> None:
        """Put a record into the buffer; a full or old buffer is written and sent."""
        with self.lock:
            self.pending.append({"time": now(), **record})
            if len(self.pending) >= FLUSH_RECORDS or time.monotonic() - self.flushed > FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write the buffer to the journal and, unless a call failed before, send it."""
        with self.lock:
            records, self.pending, self.flushed = self.pending, [], time.monotonic()
            self._write(records)
            self.line.ask(partial(self._send, records), WAIT)

    def _send(self, records: Sequence[Record], client: MlflowClient) -> None:
        self.run_id = self.run_id or stage_run(client, self.start)
        set_aside(self.path, self.start, send(client, self.run_id, records), client, self.run_id)

    def _write(self, records: Sequence[Record]) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def close(self, status: str) -> None:
        """Record the end; the journal goes only once MLflow has everything."""
        with self.lock:
            self.add(kind="end", status=status)
            self.flush()
            if not self.line.cut:
                remove(self.path)
            self.owner.release()


def mlflow_name(name: str) -> str:
    """A metric's name as MLflow takes it: other characters as underscores, no empty part between slashes."""
    plain = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "/".join(part for part in map(str.strip, plain.split("/")) if part)


def read(journal: Path) -> list[Record]:
    """Records of a journal; a last line that a killed process left half-written is dropped."""
    text = journal.read_text()
    return [_record(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _record(line: str) -> Record:
    try:
        return dict(json.loads(line))
    except ValueError:  # a full disk cut it, and the next one was written behind it
        return {"kind": "unreadable", "line": line}


def set_aside(journal: Path, start: Record, refused: Sequence[Record], client: MlflowClient, run_id: str) -> None:
    """Keep and name what MLflow refuses of a run, there as here; what is kept already is passed over."""
    path = journal.with_suffix(".refused")
    kept = read(path)[1:] if path.is_file() else []
    new = [one for one in refused if one not in kept]
    if not new:
        return
    path.write_text("".join(json.dumps(one) + "\n" for one in ({**start, "ended": True}, *kept, *new)))
    for what, why in {_words(one): one["refused"] for one in new}.items():
        say(f"MLflow at {uri()} refuses {what} of {start['name']} ({why}); kept in {SPOOL / path.name}")
    client.set_tag(run_id, MISSING, ", ".join(sorted({_words(one) for one in (*kept, *new)}))[:5000])


def _words(record: Record) -> str:
    """What a record is, in words."""
    named = (record.get(field) for field in ("key", "path", "folder", "line"))
    return f"{record['kind']} {next(filter(None, named), '')}".strip()


def remove(journal: Path) -> None:
    """Remove a journal and the copies of its files, unless some of them are set aside."""
    journal.unlink()
    if not journal.with_suffix(".refused").is_file():
        shutil.rmtree(journal.with_suffix(""), ignore_errors=True)
    journal.with_suffix(".lock").unlink(missing_ok=True)


def sync(line: Line) -> int:
    """Send every journal that no running stage holds; returns how many are left. Ends at the first without an answer.

    That one goes to the back of the queue: should MLflow fail over it alone, it does not hold up the others again.
    """
    journals = sorted((tracking_store.root() / SPOOL).glob("*.jsonl"), key=_modified)
    for done, journal in enumerate(journals):
        with suppress(Timeout), FileLock(journal.with_suffix(".lock"), timeout=0):
            if journal.is_file() and not line.ask(partial(replay, journal), WAIT):
                journal.touch()
                return len(journals) - done
    return 0


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def replay(journal: Path, client: MlflowClient) -> bool:
    """Send a whole journal and remove it."""
    records = read(journal)
    if records:
        start, *others = _closed(records)
        run_id, why = _run(client, start)
        if not run_id:
            aside = journal.replace(journal.with_suffix(".refused"))
            say(f"MLflow at {uri()} gives {start.get('name')} no run ({why}); kept in {SPOOL / aside.name}")
            return True
        if start.get("ended"):  # it was set aside before: what is still missing is found out now
            client.set_tag(run_id, MISSING, "")
        set_aside(journal, start, send(client, run_id, others), client, run_id)
    remove(journal)
    return True


def _closed(records: list[Record]) -> list[Record]:
    """Records with an end: without one the process was killed, unless they were set aside after it."""
    if records[0].get("ended") or records[-1]["kind"] == "end":
        return records
    last = max(one.get("time", 0) for one in records)
    return [*records, {"kind": "end", "status": "KILLED", "time": last}]


def _run(client: MlflowClient, start: Record) -> tuple[str, str]:
    """Id of the run of a journal, or why there can be none."""
    from mlflow.exceptions import MlflowException

    if start["kind"] != "start":
        return "", "its first record is unreadable"
    try:
        return stage_run(client, start), ""
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":  # all else may be a wrong address
            raise
        return "", reason(error)
