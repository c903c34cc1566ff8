"""Runs one stage of one system: parameters in, function called, outputs renamed, everything tracked."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages import closure, discover, layout, lineage, settings
from stages.run import NO_EXPECT, NO_FIT, Expect, Fit, StageRun
from stages.tracking import tracked
from systems.parts.errors import UserError
from systems.parts.run import SCORE
from systems.parts.whole import remove

Call = Callable[[StageRun[Any]], None]
Share = Callable[[StageRun[Any], Call], Call]
"""What several processes of a stage do instead of the call that one would make."""

FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def prepare(stage: str, name: str, plan: layout.Layout, fit: Fit, expect: Expect) -> tuple[StageRun[Any], Any]:
    """The run and the function of `stage` of system `name`, with parameters and inputs checked."""
    found, call, kind = discover.function(stage, name)
    values = settings.read_params(Path("params.yaml"))
    where = found.track, stage, name
    params = settings.check(kind, settings.block(values, *where), ".".join(settings.keys_of(*where)))
    inputs = plan.input_paths(name, params)
    for key, path in inputs.items():
        if not path.exists():
            raise UserError(f"input {key} of stage '{stage}' of '{name}': {path} does not exist; run its stage first")
    final = Path(plan.output.format(name=name)) if plan.output else Path(".work") / f"{stage}-{name}"
    cluster = settings.cluster(values)
    run = StageRun(stage, name, params, inputs, final, plan.report_folder(name), layout.workers(), cluster=cluster)
    if fit is not NO_FIT:
        run.work = Path(".work") / "runs" / lineage.fingerprint(run)
    run.fitter, run.expecter = fit, expect
    return run, call


def alone(_: StageRun[Any], call: Call) -> Call:
    """How a stage in one process calls its system."""
    return call


def perform(
    plan: layout.Layout, name: str, fit: Fit = NO_FIT, expect: Expect = NO_EXPECT, share: Share = alone
) -> None:
    """Run a stage whole; on any error nothing half-written stays but the checkpoints to go on from."""
    run, call = prepare(plan.stage, name, plan, fit, expect)
    closure.require_fresh(plan.stage, name)
    call = share(run, call)
    outputs = plan.outputs(name)
    try:
        with tracked(run, outputs):
            run.begin()
            call(run)
            run.finish(outputs)
            if fit is not NO_FIT:
                remove(run.work)
            if plan.stage == "train":
                run.tracker.model(run.final)
            elif SCORE in run.metrics and {"model", "data"} <= run.inputs.keys():
                run.tracker.score(run.inputs["model"], run.inputs["data"])
    except OSError as error:
        if error.errno not in FULL_OR_CLOSED:
            raise
        raise UserError(f"file {error.filename or run.final}: cannot be written ({error.strerror})") from error
    finally:
        run.stop()
        run.discard()


def only_name(stage: str, arguments: Sequence[str]) -> str:
    """The system's name, where a stage takes nothing else."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        given = " ".join(arguments) or "nothing"
        raise UserError(f"stage '{stage}' takes one name, given: {given}; usage: python -m stages {stage} NAME")
    return arguments[0]


def command(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Exit code of a command: errors a person can cause end in one line and 2, ours keep their traceback."""
    started = time.monotonic()
    try:
        main(arguments)
    except UserError as error:
        print(f"delaminate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"done in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0
