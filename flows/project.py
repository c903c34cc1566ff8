"""One DVC project in this process: what `dvc repro` does to a stage, cut in two where the stage's command runs.

DVC's objects are used from one thread only. DVC's lock on the project is held while they work and open while commands
run, as in DVC, so that other DVC processes, those of a stage among them, are never shut out for long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.exceptions import DvcException
from dvc.prompt import confirm
from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError, RunCacheNotSupported
from dvc.stage.run import _enforce_cmd_list, _make_cmd, _pull_missing_deps, get_executable, prepare_kwargs

from flows.graph import Selection, Step, select
from flows.lockfile import Ignores, LockFile
from flows.shortcuts import RESERVE, shortcuts
from flows.stale import OWN, mend, noted
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from dvc.stage import Stage


@dataclass(frozen=True)
class Options:
    """How stages are run, in the words of `dvc repro`."""

    force: bool = False
    force_downstream: bool = False
    interactive: bool = False
    pull: bool = False
    allow_missing: bool = False
    no_commit: bool = False
    no_run_cache: bool = False


@dataclass(frozen=True)
class Command:
    """What a stage wants run: command lines one after another, and how DVC would start them."""

    lines: Sequence[str]
    folder: str
    variables: dict[str, str]

    def arguments(self, line: str) -> list[str]:
        """The words of one line for the system: through the same shell as DVC's."""
        made = _make_cmd(get_executable(), line)
        return made if isinstance(made, list) else [made]


class Project:
    """The stages of a plan and what can be done to each. Use it inside `opened`."""

    def __init__(self, repo: Repo, selection: Selection, options: Options) -> None:
        self.repo, self.options = repo, options
        chosen = select(repo, selection)
        self.steps = [planned.step for planned in chosen]
        self.stages = {planned.step.address: planned.stage for planned in chosen}
        self.upstream = {planned.step.address: list(planned.upstream) for planned in chosen}
        outputs = [out.fs_path for stage in self.stages.values() for out in stage.outs]
        self.context = Ignores(repo, {path: place for place, path in enumerate(outputs)})
        repo.__dict__["scm_context"] = self.context
        self.locks = self._lock_files()
        self.held: dict[str, ExitStack] = {}

    def _lock_files(self) -> dict[str, LockFile]:
        orders: dict[str, dict[str, int]] = {}
        for place, stage in enumerate(self.stages.values()):
            if isinstance(stage, PipelineStage):
                orders.setdefault(stage.path, {})[stage.name] = place
        return {path: LockFile(Path(path).with_suffix(".lock"), self.repo, order) for path, order in orders.items()}

    def changed(self, step: Step, force: bool) -> bool:
        """Whether a stage must be reproduced, as DVC decides it. Missing data is pulled here where that was asked."""
        stage, missing = self.stages[step.address], self.options.allow_missing
        upstream = self.upstream[step.address]
        if force or stage.changed(missing, upstream):
            return not (self.options.pull and not force and self._pulled(stage, upstream))
        return False

    def _pulled(self, stage: Stage, upstream: Sequence[Stage]) -> bool:
        if stage.changed(True, upstream):
            return False
        try:
            self.repo.pull(stage.addressing)
            stage.checkout()
        except DvcException:
            return False
        return True

    def begin(self, step: Step, force: bool) -> Command | None:
        """Make ready to run; None where nothing is left to run, because DVC did it itself or the run cache had it."""
        stage, options = self.stages[step.address], self.options
        if options.interactive and not confirm(f"Going to reproduce {stage}. Are you sure you want to continue?"):
            raise DvcException("reproduction aborted by the user")
        if stage.frozen or not stage.cmd:
            stage.run(force=force, no_commit=options.no_commit, allow_missing=options.allow_missing)
            self._record(stage)
            return None
        self._reserve(step)
        stage.remove_outs(ignore_remove=False, force=False)
        if not force and self._restored(stage):
            self.finish(step)
            return None
        return Command(_enforce_cmd_list(stage.cmd), stage.wdir, _variables(stage))

    def _restored(self, stage: Stage) -> bool:
        if self.options.pull:
            _pull_missing_deps(stage)
        try:
            self.repo.stage_cache.restore(stage, run_cache=not self.options.no_run_cache, pull=self.options.pull)
        except RunCacheNotFoundError:
            stage.save_deps()
            return False
        return True

    def again(self, step: Step) -> None:
        """Make ready for one more try of a command that failed."""
        self.stages[step.address].remove_outs(ignore_remove=False, force=False)

    def finish(self, step: Step) -> None:
        """Put what a stage made into the cache, the run cache and dvc.lock."""
        stage, options = self.stages[step.address], self.options
        unknown = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        stage.save(allow_missing=options.allow_missing, run_cache=not options.no_commit and not unknown)
        if not options.no_commit:
            stage.commit(allow_missing=options.allow_missing)
        self._record(stage)

    def _record(self, stage: Stage) -> None:
        if isinstance(stage, PipelineStage):
            self.locks[stage.path].put(stage)
        else:
            stage.dump(update_pipeline=False)

    def _reserve(self, step: Step) -> None:
        """Tell other DVC processes which files a running command reads and writes."""
        stage, stack = self.stages[step.address], ExitStack()
        reads, writes = (
            [item.fs_path for item in items if item.protocol == "local"] for items in (stage.deps, stage.outs)
        )
        who, hard = f"{OWN} {step.address}", self.repo.config["core"].get("hardlink_lock", False)
        stack.enter_context(RESERVE(self.repo.tmp_dir, self.repo.fs, who, reads, writes, hard))
        self.held[step.address] = stack

    def release(self, step: Step) -> None:
        """Take back what `begin` told other processes."""
        if stack := self.held.pop(step.address, None):
            stack.close()

    def read_by_stages(self, address: str) -> list[str]:
        """Paths of a stage's metrics, relative to the project."""
        return [str(out) for out in self.stages[address].outs if out.metric]

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Let other DVC processes work meanwhile."""
        self.repo.lock.unlock()
        self.repo.scm._reset()
        try:
            yield
        finally:
            self.repo.lock.lock()


def _variables(stage: Stage) -> dict[str, str]:
    return dict(prepare_kwargs(stage)["env"])


@contextmanager
def opened(selection: Selection, options: Options) -> Iterator[Project]:
    """Open the project that the current folder is in, locked. Errors of DVC end in one line."""
    try:
        with Repo(_wait_for_lock=True) as repo, noted(repo) as gone, lock_repo(repo), shortcuts(repo):
            mend(repo, gone)
            if options.pull and not options.no_run_cache:
                pull_run_cache(repo)
            project = Project(repo, selection, options)
            with project.context(quiet=True):
                yield project
    except DvcException as error:
        raise UserError(f"dvc: {error}") from error


def pull_run_cache(repo: Repo) -> None:
    """Bring the entries of the run cache from the remote."""
    try:
        repo.stage_cache.pull(None)
    except RunCacheNotSupported as error:
        print(f"the run cache cannot be pulled: {error}")


def home() -> Path:
    """The folder of the DVC project that the current folder is in."""
    try:
        return Path(os.path.realpath(Repo.find_root()))
    except DvcException as error:
        raise UserError(f"dvc: {error}") from error
