"""The flows that `prefect.yaml` deploys. Their parameters are the form that Prefect's dashboard shows."""

from __future__ import annotations

from argparse import Namespace
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


@flow(name="sweep", persist_result=False)
def sweep(
    name: str = "",
    grid: list[str] | None = None,
    ranges: list[str] | None = None,
    choices: list[str] | None = None,
    trials: int = 0,
    metric: str = "",
    maximise: bool = False,
    targets: list[str] | None = None,
    jobs: int | None = None,
) -> State[Any]:
    """Try values of params.yaml in the worker's project, each trial a DVC experiment in a work tree of its own.

    Args:
        name: The sweep's name; that of one which was begun, and nothing else, goes on with it.
        grid: Keys with all their values, as model.width=48,96; every combination is tried.
        ranges: For a study: keys with the range to draw from, as model.rate=1e-4..1e-1:log.
        choices: For a study: keys with the values to choose from, as model.kind=a,b.
        trials: For a study: how many trials.
        metric: Which figure says what a trial is worth, as reports/eval.json:loss. A grid may do without.
        maximise: The highest metric is best, not the lowest.
        targets: Stages or dvc.yaml files to reproduce in each trial; none means what the root's dvc.yaml leads to.
        jobs: Trials that run at a time; none means as many as the worker's machine has cores.
    """
    from flows import sweep_flow  # only here: Optuna takes its time
    from flows import trials as tables
    from flows.sweep import ready

    words = {"grid": grid or [], "range": ranges or [], "choice": choices or [], "targets": targets or []}
    given = Namespace(name=name, trials=trials, metric=metric, maximise=maximise, jobs=jobs, **words)
    with ready(given) as search:
        return sweep_flow.watched(search) if search.left else Completed(message=tables.summary(search.study))
