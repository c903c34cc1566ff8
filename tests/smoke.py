"""A copy of this project at smoke scale, to run its pipeline in without touching anything here.

python -m tests.smoke      # the whole pipeline in a temporary folder, which is removed afterwards
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flows import scale
from stages.settings import read_params

PROJECT = Path(__file__).resolve().parents[1]
AUTHOR = ("-c", "user.name=smoke", "-c", "user.email=smoke@localhost")


def copy(target: Path) -> None:
    """Copy what Git knows, or would add, to `target`, as a repository of one commit with the smoke scale applied."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listed, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.split("\0"):
        source = PROJECT / name
        if name and (source.is_file() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    for arguments in (("init", "-q"), ("add", "-A"), (*AUTHOR, "commit", "-qm", "smoke")):
        subprocess.run(("git", *arguments), cwd=target, check=True)
    scale.apply(target, "smoke")


def override(project: Path, values: Mapping[str, Any]) -> None:
    """Replace values in the project's params.yaml; `values` are named by dotted keys that are there."""
    path = project / "params.yaml"
    changes = {tuple(key.split(".")): value for key, value in values.items()}
    path.write_text(yaml.safe_dump(scale.merged(read_params(path), changes), sort_keys=False))


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` with the `python` and `dvc` of this interpreter; its words are kept for a test."""
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False
    )


def environment(**more: str) -> dict[str, str]:
    """Variables under which `python` and `dvc` are those of this interpreter."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**os.environ, "PATH": path, **more}


def main() -> int:
    """Run the pipeline in a fresh copy; the exit code is DVC's."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="delaminate-smoke-") as folder:
        copy(Path(folder))
        code = subprocess.run(("dvc", "repro"), cwd=folder, env=environment(), check=False).returncode
    print(f"smoke pipeline: exit code {code} after {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
