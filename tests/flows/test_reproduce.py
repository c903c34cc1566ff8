"""The command `python -m flows.reproduce` on a toy project: same result as `dvc repro`, failure, no-op, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from flows import server
from flows.reproduce import FLAGS, parser
from tests import browser
from tests.flows import toy

ALL = {"source", "change@a", "change@b", "report", "alone"}


def ask(url: str, path: str, **question: Any) -> Any:
    """An answer of the Prefect server's API."""
    return httpx.post(f"{url}/{path}/filter", json=question, timeout=30).raise_for_status().json()


def kept(folder: Path) -> dict[str, bytes]:
    """Contents of everything the pipeline wrote: lock files, outputs, and the cache by its hashed names."""
    outputs = (path for pattern in ("*.txt", "data/*.txt", "track/*.txt") for path in folder.glob(pattern))
    names = [*folder.rglob("dvc.lock"), *outputs, *(folder / ".dvc/cache").rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names if path.is_file()}


def test_same_result_as_dvc_repro(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, printed = finished
    assert toy.outcomes(printed) == dict.fromkeys(ALL, "ran")
    plain = toy.make(tmp_path / "plain")
    toy.call(plain, "dvc", "repro", "-P")
    assert len(kept(plain)) > 10
    assert kept(folder) == kept(plain)
    assert toy.call(folder, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_stage_lines_are_in_the_prefect_log_under_the_stage(finished: tuple[Path, str], prefect_url: str) -> None:
    tasks = {run["id"]: run["name"] for run in ask(prefect_url, "task_runs")}
    assert set(tasks.values()) >= ALL
    said = {(tasks.get(log["task_run_id"]), log["message"].strip()) for log in ask(prefect_url, "logs", limit=200)}
    assert said >= {(name, f"step {name.removeprefix('change@')} says hello") for name in ALL}


def test_each_run_has_its_table_in_the_dashboard(finished: tuple[Path, str], prefect_url: str) -> None:
    artifacts = ask(prefect_url, "artifacts", artifacts={"key": {"any_": ["stages"]}})
    assert any("| change@a | ran |" in artifact["data"] for artifact in artifacts)


@pytest.mark.slow  # a browser
@browser.wanted
def test_a_browser_shows_the_run_and_its_stages(finished: tuple[Path, str], prefect_url: str, tmp_path: Path) -> None:
    run = ask(prefect_url, "flow_runs", sort="START_TIME_ASC")[0]
    page = f"{prefect_url.removesuffix('/api')}/runs/flow-run/{run['id']}"
    looks = (browser.seen(page, tmp_path, 1600, 1600) for _ in range(5))  # its clock may outrun a busy server's answers
    seen = next((look for look in looks if all(name in look for name in ALL)), "")
    assert run["name"] in seen
    assert "Completed" in seen
    assert all(name in seen for name in ALL)


def test_metrics_against_the_last_commit_are_told(project: Path, prefect_url: str) -> None:
    command = 'echo "{\\"score\\": $(cat input.txt)}" > m.json'
    measure = {"cmd": command, "deps": ["input.txt"], "metrics": [{"m.json": {"cache": False}}]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"measure": measure}}))
    (project / "input.txt").write_text("3")
    (project / "m.json").write_text('{"score": 1}')
    toy.call(project, "git", "add", "-f", ".")
    toy.call(project, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "metrics")
    assert "m.json score: 1 -> 3 +2" in toy.reproduce(project)
    artifacts = ask(prefect_url, "artifacts", artifacts={"key": {"any_": ["stages"]}})
    assert any("| m.json | score | 1 | 3 | +2 |" in artifact["data"] for artifact in artifacts)


def test_failure_stops_what_depends_on_it_and_shows_its_last_lines(project: Path) -> None:
    toy.choose(project, "a: one", "a: fail")
    printed = toy.reproduce(project, "-P", expected=1)
    ends = {"source": "ran", "change@a": "failed", "change@b": "ran", "report": "not reached", "alone": "ran"}
    assert toy.outcomes(printed) == ends
    assert "| step a has had enough" in printed
    assert not (project / "track/a.txt").exists()
    toy.choose(project, "a: fail", "a: one")
    printed = toy.reproduce(project, "--no-keep-going", "-P")
    assert toy.outcomes(printed) == {
        "source": "up to date",
        "change@a": "ran",
        "change@b": "up to date",
        "report": "ran",
        "alone": "up to date",
    }


def test_without_keep_going_nothing_runs_after_a_failure(project: Path) -> None:
    toy.choose(project, "a: one", "a: fail")
    ends = toy.outcomes(toy.reproduce(project, "-P", "--no-keep-going", "--jobs", "1", expected=1))
    assert ends["change@a"] == "failed"
    assert ends["report"] == ends["alone"] == "not reached"


@pytest.mark.slow  # four runs of the command
def test_targets_force_and_restored_runs(project: Path) -> None:
    first = toy.reproduce(project, "track/dvc.yaml:change@a")
    assert toy.outcomes(first) == {"source": "ran", "change@a": "ran"}
    toy.choose(project, "a: one", "a: three")
    toy.reproduce(project, "track/dvc.yaml:change@a")
    toy.choose(project, "a: three", "a: one")
    again = toy.reproduce(project, "track/dvc.yaml:change@a")
    assert toy.outcomes(again) == {"source": "up to date", "change@a": "restored"}
    assert toy.outcomes(toy.reproduce(project, "-s", "-f", "track/dvc.yaml:change@a")) == {"change@a": "ran"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nosuch"], "nosuch"),
        (["--scale", "huge"], "scale 'huge' is unknown; there are small, tiny"),
    ],
)
def test_wrong_words_end_in_one_line(project: Path, arguments: list[str], line: str) -> None:
    printed = toy.reproduce(project, *arguments, expected=2)
    assert line in printed
    assert len(printed.strip().splitlines()) == 1


def test_interrupt_ends_the_stage_too(project: Path) -> None:
    toy.choose(project, "a: one", "a: wait")
    command = [sys.executable, "-m", "flows.reproduce", "-P"]
    flow = subprocess.Popen(
        command, cwd=project, env=toy.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    toy.until((project / "waiting").exists)
    children = psutil.Process(flow.pid).children(recursive=True)
    assert any("step.py" in child.cmdline() for child in children)
    flow.send_signal(signal.SIGINT)
    assert flow.wait() != 0
    assert toy.gone(children)
    assert toy.call(project, "dvc", "repro", "-s", "source").count("didn't change") == 1


def test_help_names_every_flag_as_dvc_does() -> None:
    theirs = toy.call(Path.cwd(), "dvc", "repro", "--help")
    for name, (short, _) in FLAGS.items():
        assert f"--{name}" in parser().format_help()
        assert (f"{short}, " if short else "") + f"--{name}" in theirs


def test_importing_the_flows_is_light() -> None:
    code = (
        "import sys, flows.reproduce, flows.pipeline, flows.dashboard\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'lightning', 'great_expectations'}))"
    )
    assert toy.call(Path.cwd(), sys.executable, "-c", code).strip().endswith("[]")


def test_works_alone_with_no_server_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server starts (with fastapi 0.155 it does not), keeps its files here and ends; the next shows the run."""
    folder = toy.make(tmp_path / "project")
    variables = {key: value for key, value in toy.environment().items() if not key.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows.reproduce", "source"]
    run = subprocess.run(
        command, cwd=folder, env={**variables, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert toy.outcomes(run.stdout) == {"source": "ran"}
    assert "Traceback" not in run.stderr
    assert (folder / ".work/prefect/prefect.db").stat().st_size > 0
    assert not (tmp_path / ".prefect").exists()
    assert not any(is_of(process, folder) for process in psutil.process_iter(["environ"]))
    monkeypatch.setenv("PREFECT_HOME", str(folder / ".work/prefect"))
    process, url = server.start(folder / ".work/prefect")
    try:
        assert [run["name"] for run in ask(url, "task_runs")] == ["source"]
    finally:
        server.stop(process)


def is_of(process: psutil.Process, folder: Path) -> bool:
    """Whether a process keeps its Prefect files in the project."""
    variables = process.info["environ"] or {}
    return bool(variables.get("PREFECT_HOME") == str(folder / ".work/prefect"))
