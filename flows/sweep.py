"""Try values of params.yaml: a grid or an Optuna study, each trial a DVC experiment, several side by side.

python -m flows.sweep --grid model.width=48,96 --grid model.rate=0.1,0.01
python -m flows.sweep --name rates --range model.rate=1e-4..1e-1:log --trials 20 --metric reports/eval.json:loss
python -m flows.sweep --name rates                # goes on where it was
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.metrics.show import _collect_top_level_metrics

from flows import scale, server
from flows.checkout import Snapshot, git, snapshot
from flows.graph import Selection, plan
from flows.progress import Terminal
from flows.project import home
from flows.reproduce import TARGETS, command, interrupted
from flows.resources import limits
from flows.search import Search, alone, folder_of
from flows.space import Space, parsed
from flows.study import Plan, Study, planned, stored
from flows.trials import table
from stages.settings import read_params
from systems.parts.errors import UserError

LISTS = {
    "grid": ("KEY=A,B", "Try every combination of these values. May be given for several keys."),
    "range": ("KEY=LOW..HIGH[:log]", "A study: numbers in between, by their logarithm with :log."),
    "choice": ("KEY=A,B", "A study: one of these values."),
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m flows.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("targets", nargs="*", default=[], help=TARGETS)
    for name, (form, text) in LISTS.items():
        made.add_argument(f"--{name}", action="append", default=[], metavar=form, help=text)
    made.add_argument("-n", "--trials", type=int, default=0, help="A study: how many trials.")
    made.add_argument("-m", "--metric", default="", metavar="FILE:KEY", help="Which figure says what a trial is worth.")
    made.add_argument("--maximise", action="store_true", help="The highest metric is best, not the lowest.")
    made.add_argument("--name", default="", help="The sweep's name; that of one which was begun goes on with it.")
    made.add_argument("-j", "--jobs", type=int, help="Trials that run at a time; by default as many as cores.")
    made.add_argument("-q", "--quiet", action="store_true", help="Do not print the lines of the stages.")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the sweep; 0 when all trials are well, 1 when one failed, 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, interrupted)
    with ready(given) as search:
        study, rest = search.study, search.files.rest
        if rest:
            print(f"not in Git, so not in the trials: {', '.join(rest[:5])}{' ...' if len(rest) > 5 else ''}")
        print(f"sweep {study.name}: {search.done} of {study.total} trials are finished")
        search.watchers = [Terminal(quiet=given.quiet)]
        try:
            if search.left:
                as_flow(search, {key: value for key, value in vars(given).items() if value})
        except KeyboardInterrupt:
            print(table(study))
            return 130
        print(table(study))
        return int(any(row.state != "finished" for row in study.rows()))


@contextmanager
def ready(given: argparse.Namespace) -> Iterator[Search]:
    """Check what was asked for and make it ready to run; nobody else is at it meanwhile."""
    if given.jobs is not None and given.jobs < 1:
        raise UserError(f"--jobs {given.jobs}: a whole number of at least 1 is wanted")
    root = home()
    os.chdir(root)
    files = snapshot(root)
    name, asked = settled(given, files)
    server.require()  # without it the trials would have no run above them
    folder = folder_of(root, name)
    with alone(folder):
        yield Search(files, Study(folder, name, asked), given.jobs or limits().jobs)


def settled(given: argparse.Namespace, files: Snapshot) -> tuple[str, Plan]:
    """The name of the sweep and what it is asked for: what the words say, or what it was asked for before."""
    name, before = given.name, None
    if name:
        _check_name(files, name)
        before = stored(folder_of(files.root, name), name)
    if before and not (given.grid or given.range or given.choice):
        asked = replace(planned(before), baseline=files.baseline, tree=files.tree)
        return name, replace(asked, trials=given.trials or asked.trials)
    known = {".".join(key) for key, _ in scale.leaves(read_params(files.root / "params.yaml"))}
    space = parsed(given.grid, given.range, given.choice, known)
    _check(given, space)
    asked = Plan(space, given.targets, given.trials, given.metric, given.maximise, files.baseline, files.tree)
    name = name or f"sweep-{_digest(asked)}"
    return name, asked


def _check_name(files: Snapshot, name: str) -> None:
    """A name is part of those of the experiments; ones that are there already must be the sweep's own."""
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or name.startswith("-"):
        raise UserError(f"--name {name}: letters, digits, - and _ are wanted")
    if not (folder_of(files.root, name) / "study.db").exists():
        ref = str(ExpRefInfo(files.baseline, f"{name}-1"))
        if git(files.root, "for-each-ref", ref):
            raise UserError(f"--name {name}: there is an experiment {name}-1 already; take another name")


def _check(given: argparse.Namespace, space: Space) -> None:
    """What goes together, and that the targets and the metric are there."""
    if space.grid and given.trials:
        raise UserError(f"--trials {given.trials}: is for a study; a grid tries all its combinations")
    if not space.grid and given.trials < 1:
        raise UserError(f"--trials {given.trials}: how many trials, at least 1, is wanted for a study")
    if not space.grid and not given.metric:
        raise UserError("--metric: FILE:KEY is wanted for a study, as reports/eval.json:loss")
    plan(Selection(given.targets))
    if given.metric:
        with Repo() as repo:
            listed = sorted({*_collect_top_level_metrics(repo), *(str(out) for out in repo.index.metrics)})
        file, _, key = given.metric.rpartition(":")
        if not key or file not in listed:
            raise UserError(f"--metric {given.metric}: FILE:KEY is wanted, FILE one of {', '.join(listed) or 'none'}")


def _digest(asked: Plan) -> str:
    plain: dict[str, Any] = {**asked.plain(), "trials": 0}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def as_flow(search: Search, parameters: dict[str, Any]) -> None:
    """Run a sweep as a flow against a server of its own or the one that is named."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")  # the terminal has its own lines
    own = server.launch(server.settle(Path.cwd()))
    # Only now: prefect reads its settings when it is imported.
    from flows import pipeline, sweep_flow

    if wrong := pipeline.prepared("sweep", search, sweep_flow.watched, parameters):
        print(wrong, file=sys.stderr)
    if own:
        print("To look at it in Prefect's dashboard: python -m flows.dashboard")


if __name__ == "__main__":
    sys.exit(command(main))
