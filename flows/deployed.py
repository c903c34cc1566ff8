"""The flows that `prefect.yaml` deploys. Their parameters are the form that Prefect's dashboard shows."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import scale as scales
from flows.elsewhere import JOBS, Elsewhere
from flows.engine import Engine, OnError
from flows.graph import Selection
from flows.pipeline import watched
from flows.project import Options, opened
from flows.resources import limits
from flows.summary import summary


@flow(name="reproduce", persist_result=False)
def reproduce(
    targets: list[str] | None = None,
    all_pipelines: bool = False,
    scale: str = "",
    jobs: int | None = None,
    force: bool = False,
    pull: bool = False,
    keep_going: bool = True,
    workers: str = "",
) -> State[Any]:
    """Reproduce the pipeline in the worker's project, independent stages side by side, as `dvc repro` would.

    Args:
        targets: Stages or dvc.yaml files, as train@diffdecompose; none means what the root's dvc.yaml leads to.
        all_pipelines: Reproduce all pipelines of the project.
        scale: Write the values of scales/NAME.yaml into params.yaml first, as smoke; empty leaves them as they are.
        jobs: Stages that run at a time; none means as many as the worker's machine has cores.
        force: Reproduce even if dependencies were not changed.
        pull: Try automatically pulling missing data.
        keep_going: After a failure go on with stages that do not depend on it.
        workers: Hand stages to the workers of this work pool; empty runs them on this machine.
    """
    if scale:
        print(scales.apply(Path.cwd(), scale))
    on_error = OnError.KEEP_GOING if keep_going else OnError.FAIL
    with ExitStack() as stack:
        selection = Selection(targets or (), all_pipelines=all_pipelines)
        project = stack.enter_context(opened(selection, Options(force=force, pull=pull)))
        hands = Elsewhere(project, workers) if workers else None
        engine = Engine(project, limits(jobs or (JOBS if hands else None)), on_error, hands=hands)
        if engine.ready:
            stack.enter_context(hands.shared() if hands else nullcontext())
            return watched(engine)
        return Completed(message=summary(engine.in_order()))
