"""What a stage asks for in its `meta:` and what this machine has: cores, memory, GPUs, a time-out, retries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psutil

from systems.parts.errors import UserError

BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
ALLOWED = {
    "cores": "a number of cores, as 2",
    "memory": "bytes, as 500 MB or 4 GiB",
    "gpus": "a whole number of GPUs, as 1",
    "timeout": "seconds, as 90, 30 min or 2 h",
    "retries": "a whole number of further tries, as 2",
}


@dataclass(frozen=True)
class Request:
    """What one stage asks for. What it does not ask for is not counted: then only `jobs` limits it."""

    cores: float = 0.0
    memory: int = 0
    gpus: int = 0
    timeout: float | None = None
    retries: int = 0


@dataclass(frozen=True)
class Limits:
    """What all stages that run at a time may use together; `gpus` holds their numbers."""

    jobs: int
    cores: float
    memory: int
    gpus: tuple[str, ...] = ()


def request(address: str, meta: Any) -> Request:
    """The request in a stage's `meta:`; keys that are not ours are left alone, wrong values refused by name."""
    given = {key: meta[key] for key in ALLOWED if key in meta} if isinstance(meta, Mapping) else {}
    values = {key: _checked(address, key, value) for key, value in given.items()}
    return Request(
        values.get("cores", 0.0),
        int(values.get("memory", 0)),
        int(values.get("gpus", 0)),
        values.get("timeout"),
        int(values.get("retries", 0)),
    )


def _checked(address: str, key: str, value: Any) -> float:
    units = {"memory": BYTES, "timeout": SECONDS}.get(key, {"": 1})
    found = AMOUNT.fullmatch(str(value).strip().lower())
    amount = float(found[1]) * units[found[2]] if found and found[2] in units else -1.0
    whole = key in {"gpus", "retries"}
    if amount < 0 or isinstance(value, bool) or (whole and amount % 1) or (key == "timeout" and not amount):
        raise UserError(f"stage '{address}': meta.{key} = {value}; wanted is {ALLOWED[key]}")
    return amount


def limits(jobs: int | None = None) -> Limits:
    """What this machine has; as many jobs as cores unless `jobs` says otherwise."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Limits(jobs or cores, cores, psutil.virtual_memory().total, gpus())


def gpus() -> tuple[str, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, else all that the driver shows."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(filter(None, chosen.split(",")))
    if not shutil.which("nvidia-smi"):
        return ()
    listed = subprocess.run(("nvidia-smi", "-L"), capture_output=True, text=True, check=False).stdout
    return tuple(re.findall(r"^GPU (\d+):", listed, re.MULTILINE))


def refuse(requests: Mapping[str, Request], have: Limits) -> None:
    """End in one line that names every stage which could never start."""
    wrong = [
        f"'{address}' asks for {asked:g} {what} of {there:g}"
        for address, wanted in requests.items()
        for what, asked, there in (
            ("cores", wanted.cores, have.cores),
            ("bytes of memory", wanted.memory, have.memory),
            ("GPUs", wanted.gpus, len(have.gpus)),
        )
        if asked > there
    ]
    if wrong:
        raise UserError(f"more than there is: {'; '.join(wrong)}")


class Pool:
    """What is free at the moment."""

    def __init__(self, have: Limits) -> None:
        self.free = have

    def lacks(self, wanted: Request) -> str:
        """What a stage would have to wait for; empty where it can start."""
        free = self.free
        short = {
            "a job": free.jobs < 1,
            "cores": wanted.cores > free.cores,
            "memory": wanted.memory > free.memory,
            "a GPU": wanted.gpus > len(free.gpus),
        }
        return next((what for what, lacking in short.items() if lacking), "")

    def take(self, wanted: Request) -> tuple[str, ...]:
        """Take what a stage asks for; returns the GPUs that are its own now."""
        free, own = self.free, self.free.gpus[: wanted.gpus]
        left = free.gpus[wanted.gpus :]
        self.free = Limits(free.jobs - 1, free.cores - wanted.cores, free.memory - wanted.memory, left)
        return own

    def give(self, wanted: Request, own: tuple[str, ...]) -> None:
        """Give it back."""
        free = self.free
        back = replace(free, jobs=free.jobs + 1, cores=free.cores + wanted.cores, memory=free.memory + wanted.memory)
        self.free = replace(back, gpus=free.gpus + own)
