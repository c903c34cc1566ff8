"""The pipeline as a Prefect flow: a task a stage that runs, named after it, with its live log.

The engine runs the stages; a task follows one of them. Prefect's own cache is off: DVC alone decides what is up to
date, and what is up to date has no task. Without an answer from Prefect's server the stages still run to their end.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from flows import metrics, records
from flows.engine import BAD, Engine, View, Watcher
from flows.graph import Step
from flows.stage import Outcome
from flows.summary import Result, failed, markdown, slug, summary

Feed = queue.SimpleQueue[str | Result]


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def follow(name: str, feed: Feed, parent: str) -> Any:
    """Follow one stage: its lines go to this task's log as they are printed, its MLflow runs become an artifact."""
    logger = get_run_logger()
    while isinstance(said := feed.get(), str):
        logger.info(said)
    if found := records.runs(parent, name):
        publish(found, f"mlflow-{slug(name)}", f"MLflow runs of stage {name}")
    if said.outcome is Outcome.FAILED:
        return Failed(message=said.why)
    return Completed(message=str(said.outcome))


class Tasks:
    """Opens a Prefect task for each stage that is not up to date."""

    def __init__(self, parent: str) -> None:
        """`parent` is the MLflow run above those of the stages."""
        self.parent = parent
        self.feeds: dict[str, Feed] = {}
        self.futures: list[PrefectFuture[Any]] = []

    def started(self, step: Step) -> None:
        """Open its task."""
        feed = self.feeds[step.address] = queue.SimpleQueue()
        self.futures.append(follow.submit(step.name, feed, self.parent))

    def line(self, step: Step, text: str) -> None:
        """Hand a line to its task."""
        self.feeds[step.address].put(text)

    def ended(self, result: Result) -> None:
        """Let its task end."""
        if feed := self.feeds.get(result.step.address):
            feed.put(result)

    def moved(self, view: Callable[[], View]) -> None:
        """Nothing more is shown in Prefect."""

    def wait(self) -> None:
        """Return when all tasks have ended; those of stages that were interrupted are let go."""
        for feed in self.feeds.values():
            feed.put(Result(Step("", "", frozenset()), Outcome.FAILED, why="interrupted"))
        for future in self.futures:
            future.wait()


class Work(Protocol):
    """What a flow runs: an engine, or a sweep."""

    begun: bool
    watchers: Sequence[Watcher]

    def run(self) -> Sequence[object]:
        """Run to the end."""


@contextmanager
def followed(work: Work, parent: str) -> Iterator[None]:
    """Open tasks for what runs in the block, below MLflow run `parent`; they have ended when it does."""
    tasks = Tasks(parent)
    work.watchers = [*work.watchers, tasks]
    try:
        yield
    finally:
        tasks.wait()


def watched(engine: Engine) -> State[Any]:
    """Run an engine inside a flow run: tasks, the parent run in MLflow, the artifacts of the end, the flow's state."""
    with records.parent("reproduce") as parent:
        engine.variables |= records.variables(parent.run_id)
        with followed(engine, parent.run_id):
            results = engine.run()
        parent.failed = any(result.outcome in BAD for result in results)
    report(results, metrics.changes(engine.project.repo))
    names = [result.step.name for result in failed(results)]
    return Failed(message=f"failed: {', '.join(names)}") if names else Completed(message=summary(results))


def report(results: Sequence[Result], changes: Sequence[metrics.Change]) -> None:
    """Put the table of stages and what it did to the metrics into Prefect's dashboard."""
    text = markdown(results)
    if changes:
        text += f"\n\n## Metrics against the last commit\n\n{metrics.markdown(changes)}"
    publish(text, "stages", "How each stage ended, and the metrics against the last commit")


def publish(text: str, key: str, description: str) -> None:
    """Make an artifact; a server that is gone costs no more than that."""
    try:
        create_markdown_artifact(text, key=key, description=description)
    except (PrefectException, httpx.HTTPError, OSError) as error:
        get_run_logger().warning(f"Prefect does not take artifact {key}: {type(error).__name__}")


W = TypeVar("W", bound=Work)


def prepared(name: str, work: W, inside: Callable[[W], State[Any]], parameters: dict[str, Any]) -> str:
    """Run `inside` as a flow on what the command line has made ready; `parameters` are shown in the dashboard.

    Without an answer from the server the work runs to its end all the same; returns what was wrong then.
    """

    @flow(name=name, persist_result=False)
    def command(given: dict[str, Any]) -> State[Any]:  # noqa: ARG001 - it is there to be seen
        return inside(work)

    try:
        command(parameters, return_state=True)
    except (PrefectException, httpx.HTTPError, RuntimeError) as error:
        if work.begun and type(error) is RuntimeError:  # Prefect raises one only before a flow begins
            raise
        if not work.begun:
            work.run()
        return f"Prefect's server does not answer ({type(error).__name__}); it has no whole record of this run"
    return ""
