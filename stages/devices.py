"""A stage that trains on several devices: Lightning starts its command again for each of them.

The first process does what it would do alone. The others are helpers: they run the same code, so that they come to the
same fits, but leave no trace: no outputs, no tracked run, no checkpoints, no words.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel
from torch import distributed

from stages.execute import Call
from stages.run import StageRun
from systems.parts.errors import UserError
from systems.parts.run import Strict, Training

RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Variables by which Lightning, torchrun and SLURM count processes; the first has zeros alone."""


def trainings(params: object) -> Iterator[Training]:
    """Every `Training` among nested parameters."""
    match params:
        case Training():
            yield params
        case BaseModel():
            yield from trainings(dict(params))
        case Mapping():
            yield from trainings(list(params.values()))
        case Sequence() if not isinstance(params, str):
            for value in params:
                yield from trainings(value)


def processes(params: Strict) -> int:
    """Processes that a stage with these parameters trains in."""
    return max((training.processes for training in trainings(params)), default=1)


def check(params: Strict) -> None:
    """All fits of a stage have to run on the same devices: a helper takes part in each of them."""
    if len(found := sorted({(one.devices, one.num_nodes) for one in trainings(params)})) > 1:
        given = ", ".join(f"{devices} x {nodes}" for devices, nodes in found)
        raise UserError(f"parameters devices x num_nodes = {given}: the same are wanted for all fits of a stage")


def _ranks() -> list[str]:
    return [os.environ.get(name, "0") for name in RANKS]


def is_helper(params: Strict) -> bool:
    """Whether this is one of several processes, and not the first."""
    return processes(params) > 1 and any(rank != "0" for rank in _ranks())


def share(run: StageRun[Any], call: Call) -> Call:
    """The call of the first process; a helper makes its own here and ends."""
    check(run.params)
    if is_helper(run.params):
        help_out(run, call)

    def call_and_wait(run: StageRun[Any]) -> None:
        call(run)
        wait_for_all()

    return call_and_wait


def help_out(run: StageRun[Any], call: Call) -> NoReturn:
    """Take part in the fits of a stage, in a folder that goes with its checkpoints, and end the process."""
    folder = run.work / f"helper-{'-'.join(_ranks())}"
    run.final, run.reports, run.quiet = folder / "output", folder / "reports", True
    run.begin()
    call(run)
    wait_for_all()
    sys.exit()


def wait_for_all() -> None:
    """Wait until every process has done its part, so that none outlives the stage."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
