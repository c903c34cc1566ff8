"""Deploys the flows of prefect.yaml to the server that PREFECT_API_URL names and runs what is asked for, until Ctrl-C.

python -m flows.worker
python -m flows.worker --pool NAME    # single stages for machines elsewhere: python -m flows.reproduce --workers NAME

Deploys through Prefect's client: with the fastapi that prefect 3.8 needs, `prefect deploy` asks the server for the
workers of a pool in words that the server refuses, and ends after the first deployment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows import server
from flows.project import home
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from prefect import Flow

FILE = "prefect.yaml"
POOL = "delaminate"


def main(arguments: Sequence[str]) -> None:
    """Make the work pool, deploy, become the worker."""
    if arguments and (arguments[0] != "--pool" or len(arguments) != 2):
        raise UserError(f"flows.worker takes nothing or --pool NAME, given: {' '.join(arguments)}")
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError("PREFECT_API_URL: not set; start python -m flows.dashboard and name its address")
    root = home()
    os.chdir(root)
    server.settle(root)
    pool, limit = (arguments[1], ["--limit", "1"]) if arguments else (POOL, [])
    for name in deploy_stage(root, pool) if arguments else deploy(root):
        print(f"deployed {name}", flush=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    line = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, *limit]
    os.execv(line[0], line)  # noqa: S606 - no shell is wanted


def deploy_stage(root: Path, pool: str) -> list[str]:
    """Bring the flow that runs a single stage to the server; this clone's path stays with this worker."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.utilities.callables import parameter_schema

    from flows.handed import FLOW
    from flows.remote import CLONE, stage

    os.environ[CLONE] = str(root)
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        client.create_deployment(
            flow_id=client.create_flow(stage),
            name=pool,
            description="One stage for a machine elsewhere: python -m flows.reproduce --workers.",
            entrypoint="flows.remote.stage",
            work_pool_name=pool,
            parameter_openapi_schema=parameter_schema(stage).model_dump(),
        )
    return [f"{FLOW}/{pool}"]


def deploy(root: Path) -> list[str]:
    """Bring the deployments of prefect.yaml to the server, the old ones of the same names anew; returns the names."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    entries = yaml.safe_load((root / FILE).read_text())["deployments"]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
        return [_deployed(client, root, entry) for entry in entries]


def _deployed(client: Any, root: Path, entry: dict[str, Any]) -> str:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow: Flow[..., Any] = load_flow_from_entrypoint(entry["entrypoint"])
    client.create_deployment(
        flow_id=client.create_flow(flow),
        name=entry["name"],
        description=entry["description"],
        entrypoint=entry["entrypoint"],
        parameters=entry.get("parameters", {}),
        schedules=[DeploymentScheduleCreate(schedule=CronSchedule(**when)) for when in entry.get("schedules", [])],
        work_pool_name=entry["work_pool"]["name"],
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}],
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
    )
    return str(entry["name"])


if __name__ == "__main__":
    from stages.execute import command

    sys.exit(command(main, sys.argv[1:]))
