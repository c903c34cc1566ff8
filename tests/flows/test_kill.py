"""`kill -9` at any moment, of the engine or of a stage: nothing lost, nothing corrupt, nothing finished is repeated."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows import server
from tests.flows import toy

KILLS = 30
CHAINS, LENGTH = 4, 3
COMMAND = "echo {name} >> ../starts; sleep 0.1; cat {source} > {out}; sleep 0.05; echo {name} >> {out}"


def make(folder: Path, hardlink_lock: bool) -> Path:
    """Chains of stages that say outside the project when they start and write their output in two steps."""
    folder.mkdir()
    stages = {}
    for chain in range(CHAINS):
        source = "input.txt"
        for place in range(LENGTH):
            name, out = f"s{chain}-{place}", f"{chain}-{place}.txt"
            command = COMMAND.format(name=name, source=source, out=out)
            stages[name] = {"cmd": command, "deps": [source], "outs": [out]}
            source = out
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    toy.call(folder, "git", "init", "-q")
    toy.call(folder, "dvc", "init", "-q")
    toy.call(folder, "dvc", "config", "core.hardlink_lock", str(hardlink_lock).lower())
    return folder


def locked(folder: Path) -> dict[str, Any]:
    """What dvc.lock holds now; it must be whole at every moment."""
    path = folder / "dvc.lock"
    return dict(yaml.safe_load(path.read_text())["stages"]) if path.exists() else {}


def started(folder: Path) -> list[str]:
    """The stages whose command started since the last call."""
    path = folder.parent / "starts"
    names = path.read_text().split() if path.exists() else []
    path.write_text("")
    return names


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.flows.bare"], cwd=folder, env=toy.environment())


def kill_somewhere(engine: subprocess.Popen[bytes], folder: Path, chance: random.Random) -> None:
    """Wait for a random moment, mostly one when stages run, and kill the engine or one of its stages."""
    limit = time.monotonic() + 60
    while chance.random() < 0.99 and not (folder.parent / "starts").read_text() and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 0.6))
    stages = [child for child in psutil.Process(engine.pid).children() if "sleep" in words(child)]
    if stages and chance.random() < 0.3:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            chance.choice(stages).kill()
    else:
        engine.kill()
    engine.wait()


def words(process: psutil.Process) -> str:
    """The command line of a process; empty once it has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


@pytest.mark.slow  # thirty runs that are killed
@pytest.mark.parametrize("hardlink_lock", [False, True])
def test_killed_at_random_moments(tmp_path: Path, hardlink_lock: bool) -> None:
    chance = random.Random(int(hardlink_lock))  # noqa: S311 - the same moments each time
    folder = make(tmp_path / "project", hardlink_lock)
    snapshots: list[dict[str, Any]] = []
    runs: list[list[str]] = []
    for kill in range(KILLS // 2):
        if kill % 3 == 0:
            (folder / "input.txt").write_text(f"generation {kill}\n")
            snapshots, runs = [], []
        started(folder)
        engine = start(folder)
        kill_somewhere(engine, folder, chance)
        runs.append(started(folder))
        snapshots.append(locked(folder))
        if kill % 3 == 2:
            complete(folder, snapshots, runs)


@pytest.mark.parametrize("written", ["", '{"write": {"'])
def test_a_half_written_list_of_reserved_paths_holds_up_nobody(tmp_path: Path, written: str) -> None:
    folder = make(tmp_path / "project", hardlink_lock=False)
    (folder / "input.txt").write_text("once\n")
    (folder / ".dvc" / "tmp" / "rwlock").write_text(written)
    assert start(folder).wait() == 0
    assert "up to date" in toy.call(folder, "dvc", "status")


def note(folder: Path, created: float) -> Path:
    """Reserve a stage's paths as a flow that began at `created` and has the number of this process."""
    own = folder / ".dvc" / "tmp"
    who = {"pid": os.getpid(), "cmd": "python -m flows.reproduce s0-1"}
    reserved = {"write": {str(folder / "0-1.txt"): who}, "read": {str(folder / "0-0.txt"): [who]}}
    (own / "rwlock").write_text(json.dumps(reserved))
    path = own / f"flow-{os.getpid()}-{created}.json"
    path.write_text(json.dumps({"pid": os.getpid(), "created": created, "claim": ""}))
    return path


@pytest.mark.parametrize("hardlink_lock", [False, True])
def test_a_number_that_a_killed_flow_had_may_come_again(tmp_path: Path, hardlink_lock: bool) -> None:
    """After a restart of the machine, say."""
    folder = make(tmp_path / "project", hardlink_lock)
    (folder / "input.txt").write_text("once\n")
    left = note(folder, created=1.0)
    assert start(folder).wait() == 0
    assert not left.exists()
    assert "s0-1" not in (folder / ".dvc" / "tmp" / "rwlock").read_text()


def test_what_a_living_flow_reserves_is_left_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", hardlink_lock=False)
    (folder / "input.txt").write_text("once\n")
    left = note(folder, psutil.Process().create_time())
    assert start(folder).wait() == 1
    assert left.exists()
    names = {f"s{chain}-{place}" for chain in range(1, CHAINS) for place in range(LENGTH)}
    assert locked(folder).keys() == names


@pytest.mark.parametrize("partial", ["", "cmd: echo s0-0\n"])
def test_a_half_written_entry_of_the_run_cache_holds_up_nobody(tmp_path: Path, partial: str) -> None:
    """DVC looks for the newest file in the folder of a stage and stumbles when that is empty."""
    folder = make(tmp_path / "project", hardlink_lock=False)
    (folder / "input.txt").write_text("once\n")
    assert start(folder).wait() == 0
    for whole in [path for path in (folder / ".dvc" / "cache" / "runs").rglob("*") if path.is_file()]:
        whole.unlink()
        if partial:
            (whole.parent / ".written.tmp").write_text(partial)
    (folder / "dvc.lock").unlink()
    note(folder, created=1.0)
    assert start(folder).wait() == 0
    assert not list((folder / ".dvc" / "cache" / "runs").rglob(".*.tmp"))


@pytest.mark.slow  # waits until Prefect's client gives up
@pytest.mark.parametrize("moment", ["before the run", "in mid-run"])
def test_without_an_answer_of_the_server_the_stages_still_run(tmp_path: Path, moment: str) -> None:
    folder = toy.make(tmp_path / "project")
    (tmp_path / "prefect").mkdir()
    process, url = server.start(tmp_path / "prefect")
    variables = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url}
    if moment == "before the run":
        process.kill()
        process.wait()
    command = [sys.executable, "-m", "flows.reproduce", "-P"]
    flow = subprocess.Popen(command, cwd=folder, env=toy.environment(**variables), stdout=subprocess.PIPE, text=True)
    assert flow.stdout is not None
    for line in flow.stdout:
        if "source | begins" in line:
            process.kill()
    assert flow.wait() == 0
    server.stop(process)
    assert "up to date" in toy.call(folder, "dvc", "status")


def test_a_killed_flow_leaves_no_process(tmp_path: Path) -> None:
    """Its stages end with it, and the server that it had started."""
    folder = toy.make(tmp_path / "project")
    toy.choose(folder, "a: one", "a: wait")
    variables = {key: value for key, value in toy.environment().items() if not key.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows.reproduce", "-P"]
    flow = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    toy.until((folder / "waiting").exists)
    family = psutil.Process(flow.pid).children(recursive=True)
    assert {"step.py", "server"} <= {word for child in family for word in child.cmdline()}
    flow.kill()
    flow.wait()
    assert toy.gone(family)


def complete(folder: Path, snapshots: list[dict[str, Any]], runs: list[list[str]]) -> None:
    """Let a run end well and look at all of them: the end is DVC's, and what was locked was not run again."""
    assert start(folder).wait() == 0
    runs.append(started(folder))
    final = locked(folder)
    assert len(final) == CHAINS * LENGTH
    for place, snapshot in enumerate(snapshots):
        finished = {name for name, entry in snapshot.items() if entry == final[name]}
        assert not finished & {name for run in runs[place + 1 :] for name in run}
    assert "up to date" in toy.call(folder, "dvc", "status")
    for name in final:
        chain, place = name[1:].split("-")
        lines = (folder / f"{chain}-{place}.txt").read_text().splitlines()
        assert lines[1:] == [f"s{chain}-{step}" for step in range(int(place) + 1)]
    assert not list((folder / ".dvc" / "tmp").glob("dvc.lock.*"))
