"""The flow that a worker runs for a machine elsewhere: one stage, in a clone that shares only Git and DVC's remote.

`python -m flows.worker --pool NAME` deploys it. The stage runs in a work tree of its own at the commit that was handed
over, by the same engine as on one machine, so that run cache, retries and time-outs are the same; nothing half-written
outlives it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.engine import BAD, Engine, View
from flows.graph import Selection, Step
from flows.handed import BEAT, BEAT_SECONDS, FLOW
from flows.handover import Entry, agree, pull, push
from flows.patience import patiently
from flows.project import Options, opened
from flows.resources import limits
from flows.snapshot import checked_out
from flows.summary import Result
from systems.parts.errors import UserError

SAYS = "Whether the worker lives, then the entries of dvc.lock for what it made"
CLONE = "DELAMINATE_CLONE"
"""Variable that names the worker's clone; `flows.worker` sets it."""


@flow(name=FLOW, persist_result=False)
def stage(
    address: str,
    commit: str,
    ref: str,
    inputs: str,
    force: bool = False,
    variables: dict[str, str] | None = None,
) -> State[Any]:
    """Run one stage of a commit and bring what it made to DVC's remote.

    Args:
        address: The stage as DVC names it from the project's root, as train@diffdecompose.
        commit: The commit to run it at.
        ref: The ref of the Git remote that holds the commit.
        inputs: Command, hashes of dependencies and parameters as they must be, in the words of dvc.lock.
        force: Run it even if DVC's run cache has what it would make.
        variables: Further environment of the stage.
    """
    clone = Path(os.environ[CLONE])
    try:
        with Beat() as beat, checked_out(clone, commit, ref) as tree:
            os.chdir(tree)
            try:
                result, made = performed(address, inputs, force, (variables or {}) | path(clone, tree))
            finally:
                os.chdir(clone)
            if result.outcome in BAD:
                return Failed(message=result.why)
            beat.hand_back(made)
    except UserError as error:
        return Failed(message=str(error))
    return Completed(message=f"{result.outcome} on {socket.gethostname()}")


def performed(address: str, inputs: str, force: bool, variables: dict[str, str]) -> tuple[Result, list[Entry]]:
    """Run a stage of the project in the current folder; returns how it ended and what is in DVC's remote now."""
    with opened(Selection([address], single_item=True), Options(force=force)) as project:
        pull(project, address)
        engine = Engine(project, limits(), watchers=[Lines()], variables=variables)
        agree(inputs, project.stages[address], "at the worker from those that were handed over")
        project.options = Options(force=force, pull=True)  # from here on what the run cache has may be in the remote
        (result,) = engine.run()
        return result, [] if result.outcome in BAD else push(project, address)


def path(clone: Path, tree: Path) -> dict[str, str]:
    """The stage shall find the modules of its own work tree, not those of the clone."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(str(tree) if folder == str(clone) else folder for folder in folders)}


class Beat:
    """Tells that this worker lives, time and again while a block runs, and then what it made."""

    def __init__(self) -> None:
        """Inside the flow: make the artifact that tells it."""
        self.told: dict[str, Any] = {"worker": socket.gethostname(), "beat": 0}
        first = ArtifactCreate(type=BEAT, key=BEAT, description=SAYS, data=self.told, flow_run_id=flow_run.id)
        with get_client(sync_client=True) as client:
            self.artifact = patiently(lambda: client.create_artifact(first)).id
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Tell no more."""
        self.over.set()

    def hand_back(self, made: list[Entry]) -> None:
        """Tell the outputs, as the last thing."""
        self.over.set()
        self.thread.join()
        patiently(lambda: self._tell(outs=made))

    def _go_on(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            with suppress(PrefectException, httpx.HTTPError):
                self._tell()

    def _tell(self, **more: Any) -> None:
        self.told.update(beat=self.told["beat"] + 1, **more)
        with get_client(sync_client=True) as client:
            client.update_artifact(self.artifact, ArtifactUpdate(data=self.told))


class Lines:
    """Puts the lines of the stage into the log of the flow's run."""

    def __init__(self) -> None:
        """Inside the flow."""
        self.logger = get_run_logger()

    def started(self, step: Step) -> None:
        """Say where it runs."""
        self.logger.info(f"{step.name} runs on {socket.gethostname()}")

    def line(self, _step: Step, text: str) -> None:
        """Hand on a line."""
        self.logger.info(text)

    def ended(self, result: Result) -> None:
        """The flow's state tells it."""

    def moved(self, view: Callable[[], View]) -> None:
        """There is but one stage."""
