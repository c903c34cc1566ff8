"""Stages on workers elsewhere: two clones that share a bare Git remote, a folder as DVC's remote and a real server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

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
for i in $(seq 400); do [ -e $MARKS/$2.here ] && [ ! -e $MARKS/$1.hold ] && exit 0; sleep 0.1; done
exit 1
"""
IMPATIENT = (
    "import sys, flows.handed as h; h.LOST_SECONDS = 12; "
    "from flows.reproduce import command, main; sys.exit(command(main))"
)


@dataclass
class Site:
    """Folders of the machines, and the workers by name."""

    here: Path
    marks: Path
    store: Path
    bare: Path
    workers: dict[str, subprocess.Popen[bytes]]

    def marked(self, stage: str) -> list[str]:
        """The machines that ran a stage, in turn."""
        file = self.marks / stage
        return file.read_text().split() if file.exists() else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("remote")
    here, bare, store, marks = (folder / name for name in ("here", "bare.git", "store", "marks"))
    for made in (here, store, marks):
        made.mkdir()
    for name, text in {
        "dvc.yaml": PIPELINE,
        "meet.sh": MEET,
        "params.yaml": "word: one\n",
        "input.txt": "in\n",
    }.items():
        (here / name).write_text(text)
    (here / "sub").mkdir()
    (here / "sub" / "kept").write_text("")
    toy.call(here, "git", "init", "-q", "-b", "main")
    toy.call(here, "dvc", "init", "-q")
    toy.call(here, "dvc", "remote", "add", "-d", "store", "../store")
    toy.call(here, "git", "add", ".")
    toy.call(here, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    toy.call(folder, "git", "clone", "-q", "--bare", "here", "bare.git")
    toy.call(here, "git", "remote", "add", "origin", str(bare))
    workers = {}
    for who in ("a", "b"):
        toy.call(folder, "git", "clone", "-q", "bare.git", who)
        variables = toy.environment(WHO=who, MARKS=str(marks), PREFECT_HOME=str(folder / f"{who}-prefect"))
        with (folder / f"{who}.log").open("w") as log:
            command = [sys.executable, "-m", "flows.worker", "--pool", POOL]
            workers[who] = subprocess.Popen(command, cwd=folder / who, env=variables, stdout=log, stderr=log)
    limit = time.monotonic() + PATIENCE
    while not all("started" in (folder / f"{who}.log").read_text() for who in workers) and time.monotonic() < limit:
        time.sleep(0.5)
    yield Site(here, marks, store, bare, workers)
    for process in workers.values():
        kill(process)
    made = httpx.get(f"{prefect_url}/deployments/name/stage/{POOL}", timeout=PATIENCE).json()["id"]
    httpx.delete(f"{prefect_url}/deployments/{made}", timeout=PATIENCE).raise_for_status()  # others share the server


def kill(process: subprocess.Popen[bytes]) -> None:
    """A machine that goes off: the worker and all that it started."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for each in family:
        each.kill()
    process.wait()


def left_behind(folder: Path) -> dict[str, bytes]:
    """What a run leaves but for files of Prefect's."""
    return {name: text for name, text in contents(folder).items() if not name.startswith(".work")}


@pytest.mark.slow  # two workers that start a process for each stage
def test_two_workers_leave_what_dvc_repro_leaves(site: Site, tmp_path: Path) -> None:
    here = site.here
    (here / "input.txt").write_text("changed and not committed\n")
    (here / "new.txt").write_text("new\n")
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
    toy.choose(site.here, "one", "two")
    before = len(site.marked("left"))
    (site.marks / "left.hold").touch()
    command = [sys.executable, "-c", IMPATIENT, "--workers", POOL]
    flow = subprocess.Popen(
        command, cwd=site.here, env=toy.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    limit = time.monotonic() + PATIENCE
    while len(site.marked("left")) == before and time.monotonic() < limit:
        time.sleep(0.2)
    time.sleep(3)  # it beats
    first = site.marked("left")[-1]
    kill(site.workers[first])
    (site.marks / "left.hold").unlink()
    printed, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 0, printed
    assert "its worker is lost" in printed
    assert site.marked("left")[before:] == [first, "b" if first == "a" else "a"]
    assert toy.outcomes(printed) == {"top": "up to date", "left": "ran", "right": "ran", "bottom": "up to date"}
    assert "up to date" in toy.call(site.here, "dvc", "status")
