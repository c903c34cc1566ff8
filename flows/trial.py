"""One trial of a sweep, in a checkout of its own: values in, stages run, stored as the DVC experiment it is.

python -m flows.trial TASK.json      # started by flows.search in the checkout
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.env import DVC_EXP_BASELINE_REV, DVC_EXP_NAME, DVC_ROOT
from dvc.logger import set_loggers_level
from dvc.repo import Repo
from dvc.repo.experiments.executor.base import BaseExecutor
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.scm import add_no_submodules
from dvc.stage.utils import _get_stage_files

from flows import records, trial_records
from flows.engine import BAD, Engine, OnError
from flows.graph import Selection
from flows.progress import Terminal
from flows.project import Options, opened
from flows.reproduce import interrupted
from flows.resources import limits
from flows.space import Values, write
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from dvc.stage import Stage

Figures = dict[str, dict[str, Any]]
"""What each metrics file holds, by its path."""


@dataclass(frozen=True)
class Task:
    """What a trial is told. `parent` is the MLflow run of the sweep, `answer` the file for what came out."""

    name: str
    values: Values
    root: str
    baseline: str
    answer: str
    targets: Sequence[str] = ()
    jobs: int = 1
    parent: str = ""


@dataclass(frozen=True)
class Answer:
    """What came out of a trial: the commit of its experiment, and its figures."""

    revision: str
    figures: Figures = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Run the trial in the current folder; 0 when all is well and stored, 1 when a stage failed."""
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, interrupted)
    task = Task(**json.loads(Path(arguments[0]).read_text()))
    os.environ.update({DVC_EXP_BASELINE_REV: task.baseline, DVC_EXP_NAME: task.name, DVC_ROOT: task.root})
    write(Path("params.yaml"), task.values)
    with set_loggers_level(logging.ERROR), Repo() as repo:
        repo.checkout(force=True, allow_missing=True)
    with trial_records.trial(task.name, task.parent, task.values) as record:
        stages = reproduced(task, record.run_id)
        if stages is None:
            return 1
        answer = stored(task, stages)
        trial_records.figures(record.run_id, answer.figures)
        record.failed = False
    hand_over(answer, Path(task.answer))
    return 0


def reproduced(task: Task, run_id: str) -> list[Stage] | None:
    """Bring the checkout up to date; returns its stages, None when one failed."""
    with opened(Selection(task.targets), Options()) as project:
        engine = Engine(project, limits(task.jobs), OnError.FAIL, [Terminal()], records.variables(run_id))
        results = engine.run()
        return None if any(result.outcome in BAD for result in results) else list(project.stages.values())


def stored(task: Task, stages: Sequence[Stage]) -> Answer:
    """Store the checkout as `dvc exp run` stores an experiment.

    DVC's own call for it keeps its place in refs that all work trees of a repository share, so that two at a time
    would take each other's; the same steps are made here without them.
    """
    with Repo() as repo:
        files = {path for stage in stages for path in _get_stage_files(stage)}
        present = [path for path in sorted({*files, *BaseExecutor._get_top_level_paths(repo)}) if Path(path).exists()]
        add_no_submodules(repo.scm, present)
        repo.scm.add([], update=True)
        repo.scm.commit(f"dvc: commit experiment {BaseExecutor.hash_exp(stages)}", no_verify=True)
        revision = str(repo.scm.get_rev())
        repo.scm.set_ref(str(ExpRefInfo(task.baseline, task.name)), revision)
        shown = repo.metrics.show().get("", {}).get("data", {})
    return Answer(revision, {path: one["data"] for path, one in shown.items() if "data" in one})


def hand_over(answer: Answer, path: Path) -> None:
    """Write what came out, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(answer)))
    partial.replace(path)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"delaminate: {' '.join(str(error).split())}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
