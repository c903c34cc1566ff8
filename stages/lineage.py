"""Where a run comes from: Git commit, hashes of its inputs in the dvc.lock files, parameters, packages, machine."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from stages import closure
from stages.run import StageRun

PACKAGES = ("torch", "lightning", "diffusers", "numpy", "pillow", "pyarrow", "dvc", "mlflow")
NOT_LOCKED = "not in any dvc.lock yet"
PARAM_LIMIT = 6000
"""Longest parameter value that MLflow takes, in characters."""
CUT = " [cut]"


def git(*arguments: str) -> str:
    """Answer of a git command, empty where there is no repository or no git."""
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def locked_hashes(root: Path) -> dict[str, str]:
    """Hash of every output that a dvc.lock of the project records, by its path from the root."""
    hashes: dict[str, str] = {}
    for lock in (root / "dvc.lock", *sorted((root / "systems").glob("*/dvc.lock"))):
        if lock.is_file():
            for stage in (yaml.safe_load(lock.read_text()) or {}).get("stages", {}).values():
                hashes |= {out["path"]: out["md5"] for out in stage.get("outs", []) if "md5" in out}
    return hashes


def dvc_hash(path: Path) -> str:
    """Hash under which DVC keeps a file or folder, from its content alone."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        listed = json.dumps([{"md5": dvc_hash(file), "relpath": name} for name, file in files])
        return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def data_hashes(run: StageRun[Any]) -> dict[str, str]:
    """Hash of every input of a run, or a word that DVC does not know it yet."""
    known = locked_hashes(Path.cwd())
    return {str(path): known.get(str(path), NOT_LOCKED) for path in run.inputs.values()}


def closure_hash(stage: str, name: str) -> str:
    """Hash of the sources of all modules that a stage may import."""
    digest = hashlib.sha256()
    for path in sorted(closure.modules(stage, name)):
        digest.update(path.as_posix().encode() + (closure.PROJECT / path).read_bytes())
    return digest.hexdigest()


def fingerprint(run: StageRun[Any]) -> str:
    """Name of a stage with exactly these parameters, inputs and modules: what a killed run of it left may be used."""
    digest = hashlib.sha256(json.dumps(run.params.model_dump(mode="json"), sort_keys=True).encode())
    for key, path in sorted(run.inputs.items()):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{key}/{file.relative_to(path)}".encode() + file.read_bytes())
    digest.update(closure_hash(run.stage, run.name).encode())
    return f"{run.stage}-{run.name}-{digest.hexdigest()[:16]}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `a.b: text`, long texts cut to what MLflow takes and marked as cut."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found[f"{prefix}{key}"] = text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - len(CUT)] + CUT
    return found


def tags(run: StageRun[Any]) -> dict[str, str]:
    """Tags that lead from a figure back to the exact code and data."""
    inputs = {f"input.{path.replace('/', '.')}": value for path, value in data_hashes(run).items()}
    return {
        "stage": run.stage,
        "system": run.name,
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "git.dirty": str(bool(git("status", "--porcelain"))).lower(),
        "closure": closure_hash(run.stage, run.name),
        **inputs,
    }


def packages() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {name: version(name) for name in PACKAGES}


def machine() -> str:
    """Operating system and processor in words."""
    return f"{platform.system()} {platform.machine()} {platform.processor()}".strip()
