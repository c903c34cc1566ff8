"""A toy DVC project: two dvc.yaml files, a foreach, and a stage that fails when its input says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]
PATIENCE = 600
"""Seconds to wait for what comes at once on a machine that has nothing else to do."""
ROOT_FILE = """
stages:
  source:
    cmd: python step.py source data/source.txt
    deps: [step.py, input.txt]
    params: [toy.word]
    outs: [data/source.txt]
  report:
    cmd: python step.py report report.txt
    deps: [step.py, track/a.txt, track/b.txt]
    outs: [report.txt]
"""
TRACK_FILE = """
vars: [../params.yaml]
stages:
  change:
    foreach: ${toy.change}
    do:
      wdir: ..
      cmd: python step.py ${key} track/${key}.txt
      deps: [step.py, data/source.txt]
      params: ["toy.change.${key}"]
      outs: ["track/${key}.txt"]
  alone:
    wdir: ..
    cmd: python step.py alone track/alone.txt
    deps: [step.py]
    outs: [track/alone.txt]
"""
STEP = """
import pathlib, sys, time, yaml
name, out = sys.argv[1:]
toy = yaml.safe_load(open("params.yaml"))["toy"]
print(f"step {name} says {toy['word']}")
if toy["change"].get(name) == "fail":
    sys.exit(f"step {name} has had enough")
if toy["change"].get(name) == "wait":
    pathlib.Path("waiting").write_text("")
    time.sleep(600)
pathlib.Path(out).parent.mkdir(exist_ok=True)
pathlib.Path(out).write_text(f"{name} {toy['word']} {toy['change'].get(name)}\\n")
"""
PARAMS = """\
# A comment that stays.
scale: small
toy:
  word: hello  # another
  change:
    a: one
    b: two
"""


def make(folder: Path) -> Path:
    """The project in `folder`, in Git and DVC."""
    folder.mkdir(parents=True)
    files = {"dvc.yaml": ROOT_FILE, "track/dvc.yaml": TRACK_FILE, "step.py": STEP, "params.yaml": PARAMS}
    for name, text in {**files, "input.txt": "in\n", "scales/tiny.yaml": "toy: {word: hi}\n"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    call(folder, "git", "init", "-q")
    call(folder, "dvc", "init", "-q")
    call(folder, "git", "add", ".")
    call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    return folder


def call(folder: Path, *command: str, expected: int = 0, **variables: str) -> str:
    """Run a command in `folder`, check its exit code and return what it printed."""
    run = subprocess.run(command, cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False)
    assert run.returncode == expected, f"{command} ended with {run.returncode}\n{run.stdout}\n{run.stderr}"
    return run.stdout + run.stderr


def environment(**variables: str) -> dict[str, str]:
    """This environment with our commands and packages in reach from a folder elsewhere."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    packages = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": packages, **variables}


def until(there: Callable[[], object]) -> None:
    """Wait for something that must come, however slow the machine is."""
    limit = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < limit
        time.sleep(0.1)


def gone(processes: Iterable[psutil.Process]) -> bool:
    """Whether all of them end by themselves."""
    return not psutil.wait_procs(list(processes), timeout=PATIENCE)[1]


def choose(folder: Path, old: str, new: str) -> None:
    """Change one thing in params.yaml."""
    text = (folder / "params.yaml").read_text()
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, new))


def reproduce(folder: Path, *arguments: str, expected: int = 0) -> str:
    """Run the flow's command in `folder` and return what it printed."""
    return call(folder, sys.executable, "-m", "flows.reproduce", *arguments, expected=expected)


def outcomes(printed: str) -> dict[str, str]:
    """Outcome of every stage, read from the table that the command printed."""
    lines = [line.split(maxsplit=1) for line in printed.splitlines() if line.startswith("  ") and line.endswith(" s")]
    return {name: rest.rsplit(maxsplit=2)[0] for name, rest in lines}
