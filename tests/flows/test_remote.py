"""Stages on workers elsewhere: two clones that share a bare Git remote, a folder as DVC's remote and a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.flows import toy
from tests.flows.pipelines import contents

POOL = "elsewhere"
PATIENCE = 300
PIPELINE = """
stages:
  top:
    cmd: echo $WHO >> $MARKS/top && cat input.txt new.txt > top.txt
    deps: [input.txt, new.txt]
    outs: [top.txt]
  left:
    wdir: sub
    cmd: sh ../meet.sh left right && mkdir -p left/in && cat ../top.txt > left/in/a && echo b > left/b
    deps: [../top.txt, ../meet.sh]
    params: [../params.yaml: [word]]
    outs: [left]
  right:
    cmd: sh meet.sh right left && echo '{"size":' $(cat top.txt | wc -c)'}' > right.json
    deps: [top.txt, meet.sh]
    params: [word]
    metrics: [right.json: {cache: false}]
  bottom:
    cmd:
      - echo $WHO >> $MARKS/bottom
      - cat sub/left/in/a sub/left/b right.json > bottom.txt
      - mkdir -p plots && cp right.json plots/p.json
    deps: [sub/left/in, sub/left/b, right.json, top.txt]
    outs: [bottom.txt]
    plots: [plots: {cache: false}]
"""
MEET = """
echo $WHO >> $MARKS/$1
touch $MARKS/$1.here
[ -n "$ALONE" ] && exit 0
for i in $(seq 6000); do [ -e $MARKS/$2.here ] && [ ! -e $MARKS/$1.hold ] && exit 0; sleep 0.1; done
exit 1
"""
IMPATIENT = """
import os, pathlib, sys
import flows.handed
from flows.reproduce import command, main

class Run(flows.handed.Run):
    @property
    def lost(self):
        if killed.exists():  # as soon as a beat is missed, once; a busy machine is given time before and after
            self.patience = 2 * flows.handed.POLL_SECONDS
            if super().lost:
                killed.unlink()
                return True
        return super().lost

killed = pathlib.Path(os.environ["MARKS"], "killed")
flows.handed.Run = Run
sys.exit(command(main))
"""


AWAY = """
import json, os, pathlib, sys, uuid
import flows.handed
from flows.reproduce import command, main

class Handed(flows.handed.Handed):
    def _hand(self, client):
        pathlib.Path("new.txt").write_text("changed meanwhile")
        self.made = json.loads(os.environ["MADE"])

flows.handed.Handed, flows.handed.deployment = Handed, lambda pool: uuid.uuid4()
sys.exit(command(main))
"""
"""The command with a worker that brings back what it was asked for, but too late."""
NOBODY = "http://127.0.0.1:9/api"
"""The port of the discard service."""


@dataclass
class Site:
    """Folders of the machines, and the workers by name."""

    here: Path
    marks: Path
    bare: Path
    workers: dict[str, subprocess.Popen[bytes]]

    def marked(self, stage: str) -> list[str]:
        """The machines that ran a stage, in turn."""
        file = self.marks / stage
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The project, at the machine of whoever asks, and its Git remote and DVC remote beside it."""
    folder = tmp_path / "here"
    (folder / "sub").mkdir(parents=True)
    files = {"dvc.yaml": PIPELINE, "meet.sh": MEET, "params.yaml": "word: one\n", "input.txt": "in\n", "sub/kept": ""}
    for name, text in files.items():
        (folder / name).write_text(text)
    (tmp_path / "store").mkdir()
    toy.call(folder, "git", "init", "-q", "-b", "main")
    toy.call(folder, "dvc", "init", "-q")
    toy.call(folder, "dvc", "remote", "add", "-d", "store", "../store")
    toy.call(folder, "git", "add", ".")
    toy.call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    toy.call(tmp_path, "git", "clone", "-q", "--bare", "here", "bare.git")
    toy.call(folder, "git", "remote", "add", "origin", str(tmp_path / "bare.git"))
    (folder / "input.txt").write_text("changed and not committed\n")
    (folder / "new.txt").write_text("new\n")
    return folder


@pytest.fixture
def site(here: Path, prefect_url: str) -> Iterator[Site]:
    """Two workers in clones of their own."""
    folder, marks = here.parent, here.parent / "marks"
    marks.mkdir()
    workers = {}
    for who in ("a", "b"):
        toy.call(folder, "git", "clone", "-q", "bare.git", who)
        variables = toy.environment(WHO=who, MARKS=str(marks), PREFECT_HOME=str(folder / f"{who}-prefect"))
        with (folder / f"{who}.log").open("w") as log:
            command = [sys.executable, "-m", "flows.worker", "--pool", POOL]
            workers[who] = subprocess.Popen(command, cwd=folder / who, env=variables, stdout=log, stderr=log)
    try:
        toy.until(lambda: all("started" in (folder / f"{who}.log").read_text() for who in workers))
        yield Site(here, marks, folder / "bare.git", workers)
    finally:
        for process in workers.values():
            kill(process)
    made = httpx.get(f"{prefect_url}/deployments/name/stage/{POOL}", timeout=PATIENCE).json()["id"]
    httpx.delete(f"{prefect_url}/deployments/{made}", timeout=PATIENCE).raise_for_status()  # others share the server


def kill(process: subprocess.Popen[bytes]) -> None:
    """A machine that goes off: the worker and all that it started."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for each in family:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            each.kill()
    process.wait()


def left_behind(folder: Path) -> dict[str, bytes]:
    """What a run leaves but for files of Prefect's."""
    return {name: text for name, text in contents(folder).items() if not name.startswith(".work")}


@pytest.mark.slow  # two workers that start a process for each stage
def test_two_workers_leave_what_dvc_repro_leaves(site: Site, tmp_path: Path) -> None:
    here = site.here
    shutil.copytree(here, tmp_path / "plain")
    printed = toy.reproduce(here, "--workers", POOL)
    assert toy.outcomes(printed) == dict.fromkeys(["top", "left", "right", "bottom"], "ran")
    assert set(site.marked("left") + site.marked("right")) == {"a", "b"}
    assert len(site.marked("top") + site.marked("bottom")) == 2
    toy.call(tmp_path / "plain", "dvc", "repro", WHO="plain", MARKS=str(tmp_path), ALONE="1")
    assert left_behind(here) == left_behind(tmp_path / "plain")
    assert "up to date" in toy.call(here, "dvc", "status")
    assert set(toy.outcomes(toy.reproduce(here, "--workers", POOL)).values()) == {"up to date"}
    assert toy.call(site.bare, "git", "for-each-ref", "refs/delaminate") == ""
    assert [*here.parent.glob("*/.dvc/tmp/stages/*")] == []


@pytest.mark.slow  # waits until a silent worker counts as lost
def test_the_stage_of_a_killed_worker_goes_to_another(site: Site) -> None:
    """It is killed while it holds `left` alone; `right` is back by then."""
    (site.marks / "left.hold").touch()
    command = [sys.executable, "-c", IMPATIENT, "--workers", POOL]
    variables = toy.environment(MARKS=str(site.marks))
    flow = subprocess.Popen(
        command, cwd=site.here, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    toy.until(lambda: flow.poll() is not None or (site.marked("left") and (site.here / "right.json").exists()))
    (first,) = site.marked("left")
    kill(site.workers[first])
    (site.marks / "killed").touch()
    (site.marks / "left.hold").unlink()
    printed, _ = flow.communicate()
    assert flow.returncode == 0, printed
    assert "its worker is lost" in printed
    assert site.marked("left") == [first, "b" if first == "a" else "a"]
    assert toy.outcomes(printed) == dict.fromkeys(["top", "left", "right", "bottom"], "ran")
    assert "up to date" in toy.call(site.here, "dvc", "status")


LACKING: dict[str, tuple[str, dict[str, str]]] = {
    "a DVC remote": ("no remote specified in", {}),
    "a pool": ("has no such pool; start python -m flows.worker --pool nosuch", {}),
    "an answer": (f"PREFECT_API_URL={NOBODY}: no answer", {"PREFECT_API_URL": NOBODY}),
    "a server": ("--workers nosuch: PREFECT_API_URL is not set", {"PREFECT_API_URL": ""}),
}


@pytest.mark.parametrize("what", LACKING)
def test_what_machines_must_share_and_do_not_is_told_in_one_line(here: Path, prefect_url: str, what: str) -> None:
    line, variables = LACKING[what]
    if what == "a DVC remote":
        toy.call(here, "dvc", "remote", "remove", "store")
    words = ("-m", "flows.reproduce", "--workers", "nosuch")
    printed = toy.call(here, sys.executable, *words, expected=2, **variables)
    assert line in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (here / "dvc.lock").exists()


def test_inputs_that_change_while_a_stage_is_away_fail_it_by_name(here: Path, prefect_url: str) -> None:
    variables = {"MARKS": str(here.parent), "WHO": "here"}
    toy.call(here, "dvc", "repro", "top", **variables)
    toy.call(here, "dvc", "push", "-q")
    made = json.dumps(yaml.safe_load((here / "dvc.lock").read_text())["stages"]["top"]["outs"])
    (here / "dvc.lock").unlink()
    shutil.rmtree(here / ".dvc" / "cache")
    printed = toy.call(here, sys.executable, "-c", AWAY, "--workers", POOL, "top", expected=1, MADE=made, **variables)
    assert toy.outcomes(printed) == {"top": "failed"}
    assert "inputs differ from those it was handed over with, first at path: new.txt" in printed
    assert not (here / "dvc.lock").exists()
