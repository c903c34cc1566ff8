"""A toy project to sweep over: two stages and a metric. Files in MARKS, outside of it, make its stages meet or wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.flows import toy

DVC_FILE = """
stages:
  data:
    cmd: python work.py data
    deps: [work.py]
    params: [model.kind]
    outs: [data.txt]
  fit:
    cmd: python work.py fit
    deps: [work.py, data.txt]
    params: [model.width, model.rate]
    outs: [model.txt]
    metrics: [{eval.json: {cache: false}}]
"""
WORK = """
import json, os, pathlib, sys, time, yaml
model = yaml.safe_load(open("params.yaml"))["model"]
marks = pathlib.Path(os.environ["MARKS"])
width, rate = model["width"], model["rate"]
with (marks / "starts").open("a") as file:
    file.write(f"{sys.argv[1]}-{width}\\n")
if sys.argv[1] == "data":
    pathlib.Path("data.txt").write_text(str(model["kind"]))
    sys.exit()
if (marks / "meet").exists():
    (marks / f"met-{width}").touch()
    limit = time.monotonic() + 120
    while len(list(marks.glob("met-*"))) < 2:
        assert time.monotonic() < limit, "the other trial did not run meanwhile"
        time.sleep(0.05)
if (marks / f"wait-{width}").exists():
    (marks / "waiting").touch()
    time.sleep(600)
if (marks / f"fail-{width}").exists():
    sys.exit("fit has had enough")
pathlib.Path("model.txt").write_text(f"{pathlib.Path('data.txt').read_text()} {width} {rate}")
with open("eval.json", "w") as file:
    json.dump({"loss": (width - 2) ** 2 + rate / 3, "deep": {"size": width}, "kind": model["kind"]}, file)
"""
PARAMS = """\
# A comment that stays.
model:
  width: 1  # another
  rate: 0.1
  kind: plain
"""


def make(folder: Path) -> Path:
    """The project in `folder`, in Git and DVC, and the folder of marks beside it."""
    folder.mkdir(parents=True)
    (folder.parent / "marks").mkdir()
    for name, text in {"dvc.yaml": DVC_FILE, "work.py": WORK, "params.yaml": PARAMS}.items():
        (folder / name).write_text(text)
    toy.call(folder, "git", "init", "-q")
    toy.call(folder, "dvc", "init", "-q")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit everything."""
    toy.call(folder, "git", "add", ".")
    toy.call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")


def call(folder: Path, *words: str, expected: int = 0, **variables: str) -> str:
    """Run a command in the project and return what it printed."""
    return toy.call(folder, *words, expected=expected, MARKS=str(folder.parent / "marks"), **variables)


def sweep(folder: Path, *words: str, expected: int = 0, **variables: str) -> str:
    """Run the sweep's command in the project and return what it printed."""
    return call(folder, sys.executable, "-m", "flows.sweep", *words, expected=expected, **variables)


def begin(folder: Path, *words: str, **variables: str) -> subprocess.Popen[bytes]:
    """Start a sweep that a test ends."""
    environment = toy.environment(MARKS=str(folder.parent / "marks"), **variables)
    line = [sys.executable, "-m", "flows.sweep", *words]
    return subprocess.Popen(line, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def mark(folder: Path, name: str) -> Path:
    """Path of a mark."""
    return folder.parent / "marks" / name


def starts(folder: Path) -> list[str]:
    """The stages that ran so far, each with the width it was given."""
    path = mark(folder, "starts")
    return sorted(path.read_text().split()) if path.exists() else []


def experiments(folder: Path) -> dict[str, str]:
    """The files of each experiment, as the hash of Git's tree, by name."""
    listed = toy.call(folder, "git", "for-each-ref", "--format=%(refname:lstrip=4) %(tree)", "refs/exps").split()
    found = dict(zip(listed[::2], listed[1::2], strict=True))
    return {name: tree for name, tree in found.items() if "/" not in name}


def shown(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Parameters and metrics of each experiment as `dvc exp show` tells them."""
    revisions = json.loads(toy.call(folder, "dvc", "exp", "show", "--json"))
    ranges = [one for revision in revisions for one in revision.get("experiments") or []]
    data = {one["name"]: one["revs"][0]["data"] for one in ranges}
    return {
        name: (held["params"]["params.yaml"]["data"]["model"], held["metrics"]["eval.json"]["data"])
        for name, held in data.items()
    }


def processes(folder: Path) -> list[int]:
    """Processes that work in the project's checkouts."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
            except OSError:
                continue
            if where.is_relative_to(folder / ".work" / "sweeps"):
                found.append(int(entry.name))
    return found
