"""Deployments on a real server and a real worker over loopback: deployed, asked for with parameters, seen to end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows import server
from tests.flows import toy

PATIENCE = 600
"""Seconds to wait on a busy machine."""
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployed")]  # a worker starts a process for each run


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Iterator[Path]:
    """A toy project with our prefect.yaml and the worker that deployed it; `tiny` stands where the scales are."""
    folder = toy.make(tmp_path_factory.mktemp("deployed") / "project")
    shutil.copyfile(toy.PROJECT / "prefect.yaml", folder / "prefect.yaml")
    with (folder / "worker.log").open("w") as log:
        command = [sys.executable, "-m", "flows.worker"]
        process = subprocess.Popen(command, cwd=folder, env=toy.environment(), stdout=log, stderr=log)
        yield folder
        server.stop(process)


def deployments(url: str) -> dict[str, Any]:
    """Deployments by name, once all of prefect.yaml are there."""
    wanted = {entry["name"] for entry in yaml.safe_load((toy.PROJECT / "prefect.yaml").read_text())["deployments"]}
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        found = httpx.post(f"{url}/deployments/filter", json={}, timeout=PATIENCE).json()
        if {entry["name"] for entry in found} >= wanted:
            return {entry["name"]: entry for entry in found}
        time.sleep(1)
    raise AssertionError(f"deployed within {PATIENCE} s: not all of {wanted}")


def ran(url: str, deployment: str, **parameters: Any) -> dict[str, Any]:
    """Ask for a run and wait for its end."""
    asked = httpx.post(
        f"{url}/deployments/{deployment}/create_flow_run", json={"parameters": parameters}, timeout=PATIENCE
    )
    run = asked.raise_for_status().json()
    limit = time.monotonic() + PATIENCE
    while run["state_type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} and time.monotonic() < limit:
        time.sleep(1)
        run = httpx.get(f"{url}/flow_runs/{run['id']}", timeout=PATIENCE).json()
    return dict(run)


def test_a_run_with_parameters_completes_and_a_second_is_a_no_op(worker: Path, prefect_url: str) -> None:
    there = deployments(prefect_url)
    first = ran(prefect_url, there["default"]["id"], all_pipelines=True, scale="tiny", jobs=2)
    assert first["state_type"] == "COMPLETED", (worker / "worker.log").read_text()
    assert first["state"]["message"] == "5 ran"
    assert (worker / "report.txt").read_text() == "report hi None\n"
    assert "up to date" in toy.call(worker, "dvc", "status")
    second = ran(prefect_url, there["default"]["id"], all_pipelines=True)
    assert (second["state_type"], second["state"]["message"]) == ("COMPLETED", "5 up to date")
    tasks = httpx.post(
        f"{prefect_url}/task_runs/filter", json={"flow_runs": {"id": {"any_": [second["id"]]}}}, timeout=PATIENCE
    )
    assert tasks.json() == []


def test_the_form_says_what_each_parameter_is(worker: Path, prefect_url: str) -> None:
    for deployment in deployments(prefect_url).values():
        asked = deployment["parameter_openapi_schema"]["properties"]
        assert asked["jobs"]["anyOf"][0]["type"] == "integer"
        assert all(field.get("description") for field in asked.values()), asked


def test_a_sweep_completes_and_a_second_has_nothing_to_do(worker: Path, prefect_url: str) -> None:
    sweep = deployments(prefect_url)["sweep"]["id"]
    asked = {"name": "words", "grid": ["toy.word=yes,no"], "targets": ["source"], "jobs": 2}
    first = ran(prefect_url, sweep, **asked)
    assert first["state_type"] == "COMPLETED", (worker / "worker.log").read_text()
    assert first["state"]["message"].startswith("2 finished")
    tasks = httpx.post(
        f"{prefect_url}/task_runs/filter", json={"flow_runs": {"id": {"any_": [first["id"]]}}}, timeout=PATIENCE
    )
    assert {task["name"] for task in tasks.json()} == {"words-1", "words-2"}
    assert "words-1" in toy.call(worker, "dvc", "exp", "list", "--name-only")
    second = ran(prefect_url, sweep, name="words")
    assert (second["state_type"], second["state"]["message"]) == ("COMPLETED", first["state"]["message"])
