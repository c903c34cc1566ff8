"""Reproduce the pipeline as a Prefect flow, one task a stage. Reads and ends like `dvc repro`.

python -m flows.reproduce
python -m flows.reproduce --scale smoke train@diffdecompose
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from flows import scale, server
from flows.graph import Selection, plan
from stages.execute import command
from stages.layout import root

FLAGS = {
    "force": ("-f", "reproduce even if dependencies were not changed"),
    "single-item": ("-s", "reproduce only the targets, without what they depend on"),
    "pipeline": ("-p", "reproduce the whole pipeline that the targets belong to"),
    "all-pipelines": ("-P", "reproduce all pipelines of the project"),
    "recursive": ("-R", "reproduce all stages in the target folders"),
    "downstream": ("", "start from the targets and reproduce what depends on them"),
    "glob": ("", "targets may hold shell-style wildcards"),
    "no-commit": ("", "do not put outputs into the cache"),
    "no-run-cache": ("", "run stages even if the same run is in the cache"),
}
PASSED_ON = ("force", "no-commit", "no-run-cache")


def parser() -> argparse.ArgumentParser:
    """The command line, in the words of `dvc repro`."""
    made = argparse.ArgumentParser("python -m flows.reproduce", description=__doc__.splitlines()[0])
    made.add_argument(
        "targets",
        nargs="*",
        help="stages or dvc.yaml files, from the project's root (default: dvc.yaml)",
    )
    for name, (short, text) in FLAGS.items():
        made.add_argument(*filter(None, [short, f"--{name}"]), action="store_true", help=text)
    made.add_argument(
        "-k",
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a failure go on with stages that do not depend on it (the default, unlike dvc repro)",
    )
    made.add_argument("--scale", help="first write the values of scales/NAME.yaml into params.yaml; 'small' undoes it")
    return made


def main(arguments: Sequence[str]) -> None:
    """Run the flow; ends the process with 1 when a stage failed."""
    given = parser().parse_args(arguments)
    home = root()
    os.chdir(home)  # where stages run and MLflow's records lie
    if given.scale:
        print(scale.apply(home, given.scale))
    signal.signal(signal.SIGTERM, interrupted)
    sys.exit(run(given, home))


def run(given: argparse.Namespace, home: Path) -> int:
    """Run the flow against a server; returns the exit code."""
    chosen = {field.name: getattr(given, field.name) for field in dataclasses.fields(Selection)}
    plan(Selection(**chosen))  # refuses a wrong target before a server is started
    own = server.launch(server.settle(home))
    # Only now: prefect reads its settings, the server's address among them, when it is imported.
    from flows.pipeline import reproduce

    options = [f"--{name}" for name in PASSED_ON if getattr(given, name.replace("-", "_"))]
    state = reproduce(chosen, options, given.keep_going, return_state=True)
    if own:
        print("To look at it in Prefect's dashboard: python -m flows.dashboard")
    return 0 if state.is_completed() else 1


def interrupted(_signal: int, _frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, so that the running stage is ended too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
