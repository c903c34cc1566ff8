"""A sweep as a Prefect flow: a task a trial, named after it, with its live log, and the table at the end."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import trial_records, trials
from flows.pipeline import followed, publish
from flows.search import Search


def watched(search: Search) -> State[Any]:
    """Run a sweep inside a flow run: tasks, the parent run in MLflow, the artifact of the end, the flow's state."""
    study = search.study
    with trial_records.sweep(study.name, study.run_id) as parent:
        search.parent = parent.run_id
        study.note_run(parent.run_id)
        with followed(search, parent.run_id):
            rows = search.run()
        parent.failed = any(row.state != "finished" for row in rows)
    publish(trials.markdown(study), "trials", f"The trials of sweep {study.name}")
    said = trials.summary(study)
    return Failed(message=said) if parent.failed else Completed(message=said)
