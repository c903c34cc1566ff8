"""Reproduce complete or partial pipelines, independent stages side by side, as a Prefect flow. Ends like `dvc repro`.

python -m flows.reproduce
python -m flows.reproduce --scale smoke --jobs 4 train@diffdecompose
python -m flows.reproduce --workers POOL
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from flows import metrics
from flows.elsewhere import JOBS, Elsewhere
from flows.engine import BAD, Engine, OnError
from flows.graph import Selection
from flows.progress import Terminal
from flows.project import Options, Project, home, opened
from flows.resources import limits
from flows.summary import table
from systems.parts.errors import UserError

TARGETS = """\
Stages to reproduce. 'dvc.yaml' by default. The targets can be paths to dvc.yaml or .dvc files, or stage names from the
dvc.yaml file in the project's root. For stages of another dvc.yaml, the path followed by a colon and the stage name."""
FLAGS = {
    "force": ("-f", "Reproduce even if dependencies were not changed."),
    "interactive": ("-i", "Ask for confirmation before reproducing each stage."),
    "single-item": ("-s", "Reproduce only single data item without recursive dependencies check."),
    "pipeline": ("-p", "Reproduce the whole pipeline that the specified targets belong to."),
    "all-pipelines": ("-P", "Reproduce all pipelines in the repo."),
    "recursive": ("-R", "Reproduce all stages in the specified directory."),
    "downstream": ("", "Start from the specified stages when reproducing pipelines."),
    "force-downstream": ("", "Reproduce all descendants of a changed stage even if their dependencies didn't change."),
    "pull": ("", "Try automatically pulling missing data."),
    "allow-missing": ("", "Skip stages with missing data but no other changes."),
    "dry": ("", "Only print the commands that would be executed without actually executing."),
    "ignore-errors": ("", "Ignore errors from stages."),
    "glob": ("", "Allows targets containing shell-style wildcards."),
    "no-commit": ("", "Don't put files/directories into cache."),
    "no-run-cache": ("", "Execute stage commands even if they have already been run with the same inputs before."),
    "quiet": ("-q", "Do not print the lines of the stages; they stay in Prefect's log."),
}


def parser() -> argparse.ArgumentParser:
    """The command line, in the words of `dvc repro`."""
    made = argparse.ArgumentParser("python -m flows.reproduce", description=__doc__.splitlines()[0])
    made.add_argument("targets", nargs="*", help=TARGETS)
    for name, (short, text) in FLAGS.items():
        made.add_argument(*filter(None, [short, f"--{name}"]), action="store_true", help=text)
    made.add_argument(
        "-k",
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Continue executing, skipping stages having dependencies on the failed stages (the default here).",
    )
    made.add_argument("-j", "--jobs", type=int, help="Stages that run at a time; by default as many as cores.")
    made.add_argument("--workers", metavar="POOL", help="Hand stages to the workers of this Prefect work pool.")
    made.add_argument("--scale", help="Write the values of scales/NAME.yaml into params.yaml first; 'small' undoes it.")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the flow; 0 when all is well, 1 when a stage failed, 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    if given.jobs is not None and given.jobs < 1:
        raise UserError(f"--jobs {given.jobs}: a whole number of at least 1 is wanted")
    root = home()
    os.chdir(root)  # where stages run and MLflow's records lie
    if given.scale:
        from flows import scale

        print(scale.apply(root, given.scale))
    for request in (signal.SIGINT, signal.SIGTERM):  # a shell in the background hands SIGINT on as ignored
        signal.signal(request, interrupted)
    with opened(picked(Selection, given), picked(Options, given)) as project:
        return dry(project) if given.dry else run(project, given, root)


def picked(kind: Any, given: argparse.Namespace) -> Any:
    """A dataclass out of the command line's values of the same names."""
    return kind(**{field.name: getattr(given, field.name) for field in dataclasses.fields(kind)})


def run(project: Project, given: argparse.Namespace, root: Path) -> int:
    """Ask DVC what is to do, and do that, if anything, as a flow; returns the exit code."""
    on_error = OnError.KEEP_GOING if given.keep_going else OnError.FAIL
    on_error = OnError.IGNORE if given.ignore_errors else on_error
    hands = Elsewhere(project, given.workers) if given.workers else None
    jobs = given.jobs or (JOBS if hands else None)
    engine = Engine(project, limits(jobs), on_error, [Terminal(quiet=given.quiet)], hands=hands)
    try:
        if engine.ready:
            as_flow(engine, given, root, hands.shared() if hands else nullcontext())
    except KeyboardInterrupt:
        print(table(engine.in_order()))
        return 130
    print(table(engine.in_order()))
    if changes := metrics.changes(project.repo) if engine.did else []:
        print(f"\nMetrics against the last commit:\n{metrics.table(changes)}")
    return int(any(result.outcome in BAD for result in engine.in_order()))


def as_flow(engine: Engine, given: argparse.Namespace, root: Path, shared: AbstractContextManager[None]) -> None:
    """Run an engine as a flow against a server of its own or the one that is named."""
    from flows import server

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")  # the terminal has its own lines
    with engine.project.idle():
        own = server.launch(server.settle(root))
        # Only now: prefect reads its settings, the server's address among them, when it is imported.
        from flows import pipeline
    parameters = {key: value for key, value in vars(given).items() if value}
    with shared:
        wrong = pipeline.prepared("reproduce", engine, pipeline.watched, parameters)
    if wrong:
        print(wrong, file=sys.stderr)
    if own:
        print("To look at it in Prefect's dashboard: python -m flows.dashboard")


def dry(project: Project) -> int:
    """Print what would run, as DVC would; what depends on it is judged by what is there now."""
    for step in project.steps:
        stage = project.stages[step.address]
        if project.changed(step, project.options.force):
            print(f"Running stage '{step.address}':")
            print("\n".join(f"> {line}" for line in str(stage.cmd or "").splitlines()))
        else:
            print(f"Stage '{step.address}' didn't change, skipping")
    return 0


def interrupted(_signal: int, _frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that the running stages are ended too."""
    raise KeyboardInterrupt


def command(main: Callable[[Sequence[str]], int]) -> int:
    """The whole command: what a person can cause ends in one line and 2."""
    started = time.monotonic()
    try:
        code = main(sys.argv[1:])
    except UserError as error:
        print(f"delaminate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"done in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(command(main))
