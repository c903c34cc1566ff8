"""The pipeline as a Prefect flow: a task a DVC stage, in DVC's order. Stages run one after another.

Prefect's own cache is off: DVC alone decides what is up to date.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import records, stage
from flows.graph import Selection, Step, plan
from flows.stage import Outcome
from flows.summary import Result, markdown, slug, summary, table

BAD = {Outcome.FAILED, Outcome.NOT_REACHED}


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(name: str, address: str, options: Sequence[str], parent: str) -> Any:
    """Run one DVC stage; its lines go to this task's log as they are printed, its MLflow runs become an artifact."""
    logger = get_run_logger()
    try:
        return stage.run(address, options, logger.info, records.variables(parent))
    except stage.StageError as error:
        return Failed(message=str(error))
    finally:
        if found := records.runs(parent, name):
            create_markdown_artifact(found, key=f"mlflow-{slug(name)}", description=f"MLflow runs of stage {name}")


@flow(name="reproduce", persist_result=False)
def reproduce(selection: dict[str, Any], options: Sequence[str] = (), keep_going: bool = True) -> State[Any]:
    """Run the stages that `selection` means (see `flows.graph.Selection`); ends failed if any stage did."""
    steps = plan(Selection(**selection))
    with records.parent("reproduce") as parent:
        results = run_all(steps, options, keep_going, parent.run_id)
        parent.failed = any(result.outcome in BAD for result in results)
    create_markdown_artifact(markdown(results), key="stages", description="How each stage ended")
    failed = [result.step.name for result in results if result.outcome is Outcome.FAILED]
    print(table(results))
    return Failed(message=f"failed: {', '.join(failed)}") if failed else Completed(message=summary(results))


def run_all(steps: Sequence[Step], options: Sequence[str], keep_going: bool, parent: str) -> list[Result]:
    """Run steps in order; what depends on a failed one, or without `keep_going` all after it, is not reached."""
    results: dict[str, Result] = {}
    for step in steps:
        bad = {address for address, result in results.items() if result.outcome in BAD}
        blocked = bad & step.needs if keep_going else bad
        results[step.address] = Result(step, Outcome.NOT_REACHED) if blocked else _run(step, options, parent)
    return list(results.values())


def _run(step: Step, options: Sequence[str], parent: str) -> Result:
    started = time.monotonic()
    state = run_stage(step.name, step.address, list(options), parent, return_state=True)
    seconds = time.monotonic() - started
    if state.is_completed():
        return Result(step, state.result(), seconds)
    return Result(step, Outcome.FAILED, seconds, state.message or str(state.name))
