"""What it costs to run stages: the flow beside `dvc repro`, and dask4dvc where it is installed, in one run.

    python benchmarks/orchestration.py
    python benchmarks/orchestration.py --case 'one dvc.yaml'
    python benchmarks/orchestration.py --quick

The flow is timed twice: with a Prefect server that is there already, and with one of its own (start-up included).
Prints the table of issue 3, medians of rounds that take turns, and writes `reports/benchmarks/orchestration.json`.

dask4dvc 0.2.3 needs an older DVC in an environment of its own, on the PATH behind ours; it is run once a case. What
works with it today: dvc 2.58, click<8.2, pathspec<0.13, numpy<2, pandas<2.3, bokeh<3, pygit2<1.15, dulwich<0.22.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows import server

PROJECT = Path(__file__).resolve().parents[1]
RESULT = PROJECT / "reports" / "benchmarks" / "orchestration.json"
PEER = "dask4dvc"
QUICK = 0.05
"""Share of the stages in a quick run."""
COMMAND = "cat {source} > {out} && echo {name} >> {out}"
FLOW = [sys.executable, "-m", "flows.reproduce", "--quiet"]
DVC = [sys.executable, "-m", "dvc", "repro", "--quiet"]


@dataclass(frozen=True)
class Case:
    """A project, how it is run, what is run before the clock starts, and the aim as a share of `dvc repro`'s time."""

    name: str
    make: Callable[[Path], None]
    flags: tuple[str, ...] = ()
    jobs: int = 2
    again: bool = False
    aim: str = ""
    against: bool = True
    peer: bool = False


def stages(chains: int, length: int, seconds: float = 0.0) -> dict[str, dict[str, object]]:
    """Chains of trivial stages, each of which adds a line."""
    made: dict[str, dict[str, object]] = {}
    for chain in range(chains):
        source = "input.txt"
        for place in range(length):
            name, out = f"s{chain}-{place}", f"out-{chain}-{place}.txt"
            wait = f"sleep {seconds} && " if seconds else ""
            command = wait + COMMAND.format(source=source, out=out, name=name)
            made[name] = {"cmd": command, "deps": [source], "outs": [out]}
            source = out
    return made


def one_file(chains: int, length: int, seconds: float = 0.0) -> Callable[[Path], None]:
    """A project whose stages stand in one dvc.yaml."""

    def make(folder: Path) -> None:
        project(folder, {"": stages(chains, length, seconds)})

    return make


def families(chains: int, length: int, count: int) -> Callable[[Path], None]:
    """The same chains in several folders."""

    def make(folder: Path) -> None:
        shares = [chains // count + (place < chains % count) for place in range(count)]
        project(folder, {f"family{place}": stages(share, length) for place, share in enumerate(shares) if share})

    return make


def project(folder: Path, files: dict[str, dict[str, dict[str, object]]]) -> None:
    """Write a DVC project in Git."""
    for where, made in files.items():
        (folder / where).mkdir(parents=True, exist_ok=True)
        (folder / where / "input.txt").write_text("start\n")
        (folder / where / "dvc.yaml").write_text(yaml.safe_dump({"stages": made}, sort_keys=False))
    author = "-c user.name=benchmark -c user.email=benchmark@localhost"
    for command in ("git init -q", "dvc init -q", "git add .", f"git {author} commit -qm stages"):
        subprocess.run(command.split(), cwd=folder, check=True, env=environment())


def environment(**variables: str) -> dict[str, str]:
    """This environment with our commands and packages in reach."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT), "DVC_NO_ANALYTICS": "1", **variables}


def timed(case: Case, command: list[str], variables: dict[str, str], flow: dict[str, str]) -> float:
    """Seconds of one run of `command` in a new project of the case; a no-op follows a run of the flow."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "project"
        case.make(folder)
        if case.again:
            call(FLOW, folder, flow)
        started = time.perf_counter()
        call(command, folder, variables)
        return time.perf_counter() - started


def call(command: list[str], folder: Path, variables: dict[str, str]) -> None:
    """Run a command to its end; what it prints is left out."""
    subprocess.run(command, cwd=folder, check=True, env=environment(**variables), stdout=subprocess.DEVNULL)


def measured(case: Case, rounds: int, url: str, home: Path) -> dict[str, float]:
    """Median seconds by runner; runners take turns."""
    flow, there = [*FLOW, "--jobs", str(case.jobs), *case.flags], {"PREFECT_API_URL": url, "PREFECT_HOME": str(home)}
    runners: dict[str, tuple[list[str], dict[str, str]]] = {
        "flow": (flow, there),
        "flow, own server": (flow, {}),
    }
    if case.against:
        runners["dvc repro"] = ([*DVC, *case.flags], {})
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, (command, variables) in runners.items():
            times[name].append(timed(case, command, variables, there))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, PEER: by_peer(case, there)} if case.peer and shutil.which(PEER) else medians


def by_peer(case: Case, flow: dict[str, str]) -> float:
    """Seconds of one run of dask4dvc with its own DVC; not a number where it fails."""
    own = os.pathsep.join([str(Path(shutil.which(PEER) or "").parent), os.environ["PATH"]])
    try:
        return timed(case, [PEER, "repro", "--max-workers", str(case.jobs)], {"PATH": own}, flow)
    except subprocess.CalledProcessError as error:
        print(f"{PEER} failed on '{case.name}': {error}", file=sys.stderr)
        return math.nan


def cases(scale: float = 1.0) -> list[Case]:
    """The rows of the issue; `scale` below 1 makes the projects smaller."""
    chains, many = max(2, round(58 * scale)), max(4, round(500 * scale))
    part = max(1, many // 10)
    return [
        Case(f"{chains * 4} stages, one dvc.yaml", one_file(chains, 4), aim="at most 0.2", peer=True),
        Case(f"{chains * 4} stages, six files", families(chains, 4, 6), ("-R", "."), aim="at most 0.5"),
        Case(f"{chains * 4} stages, no-op", one_file(chains, 4), again=True, aim="at most 0.7"),
        Case("8 stages of 3 s, 4 jobs", one_file(8, 1, 3.0), jobs=4, aim="6 s plus start-up, within 20 %", peer=True),
        Case("1 stage (start-up)", one_file(1, 1)),
        Case(f"{part * 4} stages, one dvc.yaml (a part)", one_file(part, 4), aim="cost a stage flat"),
        Case(f"{many * 4} stages, one dvc.yaml", one_file(many, 4), aim="cost a stage flat", against=False),
        Case(f"{many * 4} stages, no-op", one_file(many, 4), again=True, aim="at most 0.7"),
    ]


def row(case: Case, seconds: dict[str, float]) -> str:
    """One line of the table; the share is that of the flow on a server that is there."""
    names = ("dvc repro", "dask4dvc", "flow", "flow, own server")
    cells = [f"{seconds[name]:.1f}" if name in seconds else "-" for name in names]
    share = f"{seconds['flow'] / seconds['dvc repro']:.2f}" if "dvc repro" in seconds else "-"
    return f"| {case.name} | {' | '.join(cells)} | {share} | {case.aim or '-'} |"


def main() -> None:
    """Print and write the table of all cases; that of a quick run has one small case and is not written."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--rounds", type=int, default=3, help="runs of every case, of which the median counts")
    given.add_argument("--case", default="", help="take only the cases whose name holds this; the rest keep theirs")
    given.add_argument("--quick", action="store_true", help="show that it works with a few stages")
    options = given.parse_args()
    chosen, rounds = (cases(QUICK)[:1], 1) if options.quick else (cases(), options.rounds)
    chosen = [case for case in chosen if options.case in case.name]
    results = json.loads(RESULT.read_text()) if options.case and RESULT.is_file() else {}
    print("| case | dvc repro s | dask4dvc s | flow s | flow, own server s | flow / dvc repro | aim |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        process, url = server.start(Path(folder))
        try:
            for case in chosen:
                results[case.name] = measured(case, rounds, url, Path(folder))
                print(row(case, results[case.name]), flush=True)
        finally:
            server.stop(process)
    if options.quick:
        return
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
