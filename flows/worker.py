"""Deploys the flows of prefect.yaml to the server that PREFECT_API_URL names and runs what is asked for, until Ctrl-C.

python -m flows.worker
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from flows import server
from flows.project import home
from systems.parts.errors import UserError

POOL = "delaminate"


def main(arguments: Sequence[str]) -> None:
    """Make the work pool, deploy, become the worker."""
    if arguments:
        raise UserError(f"flows.worker takes no words, given: {' '.join(arguments)}")
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError("PREFECT_API_URL: not set; start python -m flows.dashboard and name its address")
    root = home()
    os.chdir(root)
    server.settle(root)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    prefect("--no-prompt", "deploy", "--all")
    os.execv(sys.executable, line("worker", "start", "--pool", POOL))  # noqa: S606 - no shell is wanted


def line(*words: str) -> list[str]:
    """A command line of Prefect's."""
    return [sys.executable, "-m", "prefect", *words]


def prefect(*words: str) -> None:
    """Run one of Prefect's commands; what it says is shown when it fails."""
    done = subprocess.run(line(*words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"prefect {' '.join(words)}: {done.stdout.strip()} {done.stderr.strip()}")


if __name__ == "__main__":
    from stages.execute import command

    sys.exit(command(main, sys.argv[1:]))
