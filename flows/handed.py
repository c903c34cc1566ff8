"""A stage in the hands of a worker: a run of the flow `flows.remote.stage`, looked at from the machine that asked.

A worker tells with every beat that it lives. The stage of one that fell silent is handed to another; what the silent
one may still bring is not looked at. Times are of this machine's clock only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
from dvc.exceptions import DvcException
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelling

from flows.handover import Entry, Parcel, agree, deliver, inward
from flows.patience import patiently
from flows.project import Command
from flows.stage import Job, Watch
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from dvc.stage import Stage

FLOW = "stage"
BEAT = "beat"
"""Type of the artifact through which a worker tells that it lives and, at the end, what it made."""
HANDS = 3
"""How often a stage is handed over when its workers are lost."""
POLL_SECONDS = 1.0
STOP_SECONDS = 10.0
BEAT_SECONDS = 5.0
LOST_SECONDS = 60.0
"""Time without a beat after which a worker counts as lost."""
BEGIN_SECONDS = 300.0
"""Time until the first beat that a worker has which took the stage."""


@dataclass(frozen=True)
class Errand:
    """A stage ready to be handed over: whose deployment runs it, with what, and what it takes along."""

    deployment: UUID
    parameters: dict[str, Any]
    parcels: Sequence[Parcel]


def deployment(pool: str) -> UUID:
    """The deployment of the flow in a work pool; the workers make it when they start."""
    server = os.environ["PREFECT_API_URL"]
    try:
        with get_client(sync_client=True) as client:
            return patiently(lambda: client.read_deployment_by_name(f"{FLOW}/{pool}")).id
    except ObjectNotFound as error:
        told = f"python -m flows.worker --pool {pool}"
        raise UserError(f"--workers {pool}: {server} has no such pool; start {told} on each worker") from error
    except (PrefectException, httpx.HTTPError, RuntimeError) as error:
        raise UserError(f"PREFECT_API_URL={server}: no answer ({type(error).__name__})") from error


class Handed(Job):
    """The job of a stage that is handed over: its lines come as the worker prints them, then what it made."""

    def __init__(self, stage: Stage, errand: Errand, watch: Watch) -> None:
        """Start at once."""
        self.stage, self.errand = stage, errand
        self.made: list[Entry] = []
        super().__init__(Command((), "", {}), watch, None)

    def deliver(self) -> None:
        """Put what the worker made into the workspace, unless its inputs have changed here since."""
        deliver(self.stage, self.made)
        agree(self.errand.parameters["inputs"], self.stage, "from those it was handed over with")

    def stop(self) -> None:
        """Take the stage back."""
        super().stop()
        self.thread.join(STOP_SECONDS)

    def _run_all(self) -> None:
        try:
            for parcel in self.errand.parcels:
                parcel.carry()
            with get_client(sync_client=True) as client:
                self._hand(client)
            for parcel in [] if self.failure or self.stopped.is_set() else inward(self.stage, self.made):
                parcel.carry()
        except (UserError, DvcException, PrefectException, httpx.HTTPError) as error:
            self._fail(str(error) or type(error).__name__)

    def _hand(self, client: SyncPrefectClient) -> None:
        """Hand it over until a worker comes to an end with it."""
        for _ in range(HANDS):
            run = Run(client, self.errand, self.stage.addressing)
            self._follow(run)
            if run.ended or self.stopped.is_set():
                self.made = run.made
                if run.failure:
                    self._fail(run.failure)
                return
            self.log("its worker is lost; it is handed to another one")
        self._fail(f"its worker was lost {HANDS} times")

    def _follow(self, run: Run) -> None:
        """Hand on lines until there is an end, or nobody who works on it; then nobody shall."""
        try:
            while not (run.ended or run.lost or self.stopped.wait(POLL_SECONDS)):
                for line in run.look():
                    self.log(line)
        finally:
            if not run.ended:
                run.withdraw()


class Run:
    """One run of the flow."""

    def __init__(self, client: SyncPrefectClient, errand: Errand, name: str) -> None:
        """Ask for it."""
        given, once = errand.parameters, str(uuid4())
        self.client = client
        self.id = patiently(
            lambda: client.create_flow_run_from_deployment(
                errand.deployment, parameters=given, name=name, idempotency_key=once
            )
        ).id
        self.heard, self.sign, self.patience = time.monotonic(), "", BEGIN_SECONDS
        self.read = 0
        self.ended = self.crashed = False
        self.failure = ""
        self.made: list[Entry] = []

    @property
    def lost(self) -> bool:
        """Whether nobody works on it any more."""
        return self.crashed or time.monotonic() - self.heard > self.patience

    def look(self) -> list[str]:
        """See how things stand; returns the lines that are new."""
        try:
            state = self.client.read_flow_run(self.id).state
            said = self._beat()
            lines = self._lines()
        except httpx.TransportError:  # no sign of life then, of whomever
            return []
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise
            return []  # the server is there but busy
        self._judge(state, said)
        return lines

    def _judge(self, state: State[Any] | None, said: dict[str, Any]) -> None:
        kind = state.type if state else StateType.SCHEDULED
        sign = f"{kind} {said.get('beat')}"
        if sign != self.sign or kind is StateType.SCHEDULED:
            self.heard, self.sign = time.monotonic(), sign
        if said:
            self.patience = LOST_SECONDS
        self.crashed = kind is StateType.CRASHED
        if kind is StateType.COMPLETED and "outs" in said:
            self.ended, self.made = True, said["outs"]
        elif kind in {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED}:
            self.ended, self.failure = True, (state and state.message) or f"{kind.value.lower()} in Prefect"

    def _beat(self) -> dict[str, Any]:
        """What the worker said last; empty where none did yet."""
        # Not by the client's own method: its nulls are refused by the server of prefect 3.8 with this fastapi.
        own = {"flow_run_id": {"any_": [str(self.id)]}, "type": {"any_": [BEAT]}}
        found = self.client.request("POST", "/artifacts/filter", json={"artifacts": own}).json()
        return dict(found[0]["data"]) if found else {}

    def _lines(self) -> list[str]:
        own = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id]))
        new = self.client.read_logs(own, limit=200, offset=self.read, sort=LogSort.TIMESTAMP_ASC)
        self.read += len(new)
        return [line for entry in new for line in entry.message.splitlines()]

    def withdraw(self) -> None:
        """Let nobody begin it, and end who works on it."""
        with suppress(PrefectException, httpx.HTTPError):
            self.client.set_flow_run_state(self.id, Cancelling(), force=True)
