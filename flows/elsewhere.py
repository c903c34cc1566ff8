"""Has stages run by workers elsewhere that share only Git and DVC's remote.

The engine here still decides what is to run and writes dvc.lock. A worker gets the checkout of this moment as a commit,
the stage's address and the hashes of its inputs; what it made comes back through DVC's remote (`flows.handed`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.handover import inputs, outward, sources, travels
from flows.project import Command, Project
from flows.records import PARENT_VARIABLE
from flows.snapshot import Snapshots
from flows.stage import Job, Watch
from systems.parts.errors import UserError

JOBS = 16
"""Stages handed over at a time unless `--jobs` says otherwise."""


class Elsewhere:
    """The workers of one Prefect work pool as hands of an engine."""

    def __init__(self, project: Project, pool: str) -> None:
        """Refuses what cannot be together; the rest is looked for by `shared`, when there is something to do."""
        if not os.environ.get("PREFECT_API_URL"):
            raise UserError(f"--workers {pool}: PREFECT_API_URL is not set; it names the server that workers share")
        if project.options.no_commit:
            raise UserError(f"--workers {pool}: not together with --no-commit; outputs come through DVC's remote")
        self.project, self.pool = project, pool
        self.snapshots: Snapshots
        self.deployment: Any

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Find what all machines share, or say in one line what is missing."""
        from flows.handed import deployment  # only now: prefect reads its settings when it is imported

        repo = self.project.repo
        repo.cloud.get_remote_odb(command="push")
        self.deployment = deployment(self.pool)
        self.snapshots = Snapshots(Path(repo.root_dir), Path(repo.tmp_dir) / f"flow-index.{os.getpid()}")
        try:
            yield
        finally:
            self.snapshots.drop()

    def takes(self, address: str) -> bool:
        """Whether all that a stage reads and writes can travel."""
        return travels(self.project.stages[address])

    def job(self, address: str, command: Command, watch: Watch, force: bool) -> Job:
        """Hand over a stage that is ready to run, with the checkout as it is now."""
        from flows.handed import Errand, Handed

        stage = self.project.stages[address]
        stage.save_deps()
        parameters = {
            "address": address,
            "commit": self.snapshots.take(),
            "ref": self.snapshots.ref,
            "inputs": inputs(stage),
            "force": force or self.project.options.no_run_cache,
            "variables": records_elsewhere(command.variables),
        }
        return Handed(stage, Errand(self.deployment, parameters, outward(out for out, _ in sources(stage))), watch)


def records_elsewhere(variables: Mapping[str, str]) -> dict[str, str]:
    """What a stage needs to record itself in MLflow with the others: nothing, unless a server is named."""
    if not variables.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        return {}
    return {name: variables[name] for name in ("MLFLOW_TRACKING_URI", PARENT_VARIABLE) if name in variables}
