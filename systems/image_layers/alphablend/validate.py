"""validate@alphablend: every stored sample is blended again and held to card 04; assets keep to one split.

python -m stages validate alphablend
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from systems.image_layers.alphablend.table import PICTURES, SCHEMA, TAUS
from systems.parts.blend import reblend_error
from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.pictures import decode, digest
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted

Row = Mapping[str, Any]

MEASURED = pa.schema(
    [
        ("split", pa.string()),
        *(field for field in SCHEMA if field.name not in PICTURES),
        *((f"{what}_{name}", pa.string()) for name in PICTURES for what in ("size", "found")),
        ("channels", pa.string()),
        ("alpha", pa.float64()),
        ("error", pa.float64()),
    ]
)
"""A stored row with what its pixels show in place of the pictures; `error` in 1/255, `alpha` 0..1."""


class Params(Strict):
    """What is validated."""

    data: str = Field(description="data set below data/, as alphablend")


def validate(run: Run[Params]) -> None:
    """Check the schema of every shard, every sample against its own pixels, and every asset used."""
    folder = run.inputs["data"]
    paths = sorted(path for path in folder.glob("*.parquet") if path.name != "assets.parquet")
    run.expect("shards", schemas(paths), SHARDS)
    with ThreadPoolExecutor(run.workers) as pool:
        tables = list(run.track(pool.map(measured, paths), "measure", len(paths)))
    samples = pa.concat_tables(tables)
    run.expect("samples", samples, SAMPLES)
    run.expect("assets", asset_use(samples, pq.read_table(folder / "assets.parquet")), ASSETS)
    run.table("samples", counted(samples, ["subtask", "tau", "split"], "samples"))
    run.metric("largest re-blend error in 255ths", pc.max(samples["error"]).as_py())


def schemas(paths: list[Path]) -> pa.Table:
    """Columns and types of each shard, as text."""
    return pa.table({"shard": [path.name for path in paths], "schema": [_text(pq.read_schema(path)) for path in paths]})


def _text(schema: pa.Schema) -> str:
    types = [f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind) for kind in schema.types]
    return ", ".join(f"{name} {kind}" for name, kind in zip(schema.names, types, strict=True))


def measured(path: Path) -> pa.Table:
    """The rows of a shard as `MEASURED` says."""
    rows = [{"split": path.name.split("-")[0], **row} for row in _measure(path)]
    return pa.Table.from_pylist(rows, schema=MEASURED)


def _measure(path: Path) -> Iterator[Row]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=50):
        for row in batch.to_pylist():
            contents = {name: row.pop(name)["bytes"] for name in PICTURES}
            yield {**row, **pixels(row, {name: _open(path, row, name, contents[name]) for name in PICTURES})}


def _open(path: Path, row: Row, column: str, content: bytes) -> np.ndarray:
    try:
        return decode(content)
    except UserError as error:
        raise UserError(f"data set {path}: {column} of sample {row['id']}: {error}") from error


def pixels(row: Row, pictures: Mapping[str, np.ndarray]) -> Row:
    """Sizes, digests, visibility and re-blend error (in 1/255) of a sample; see `SAMPLES`."""
    found: dict[str, Any] = {"channels": ", ".join(str(pictures[name].shape[2]) for name in PICTURES)}
    for name, picture in pictures.items():
        found[f"size_{name}"] = f"{picture.shape[1]} x {picture.shape[0]}"
        found[f"found_{name}"] = digest(picture)
    found["alpha"] = float(pictures["fg"][..., -1].mean()) / 255
    return {**found, "error": _error(row, *(pictures[name] for name in PICTURES))}


def _error(row: Row, fg: np.ndarray, bg: np.ndarray, comp: np.ndarray) -> float | None:
    """None where the layers cannot be blended at all: then another expectation says why."""
    try:
        return reblend_error(row["tau"], fg, bg, comp, json.loads(row["params"]))
    except UserError:
        return None


def asset_use(samples: pa.Table, catalogue: pa.Table) -> pa.Table:
    """For every asset used: in how many splits, and under which licence (empty if it is not catalogued)."""
    splits: dict[str, set[str]] = {}
    for row in samples.select(["split", "fg_assets", "bg_asset"]).to_pylist():
        for name in (*row["fg_assets"], row["bg_asset"]):
            splits.setdefault(name, set()).add(row["split"])
    licences = dict(zip(catalogue["asset_id"].to_pylist(), catalogue["licence"].to_pylist(), strict=True))
    names = sorted(splits)
    return pa.table(
        {
            "asset_id": pa.array(names, pa.string()),
            "splits": pa.array([len(splits[name]) for name in names], pa.int64()),
            "licence": pa.array([licences.get(name, "") for name in names], pa.string()),
        }
    )


in_set, between = partial(column, "values_to_be_in_set"), partial(column, "values_to_be_between")
unique, lengths = partial(column, "values_to_be_unique"), partial(column, "value_lengths_to_be_between")

SHARDS = [in_set("schema", "readers rely on these columns", value_set=[_text(SCHEMA)])]

SAMPLES = [
    unique("id", "an id names one sample"),
    in_set("split", "a sample trains or tests", value_set=["train", "test"]),
    Expectation(
        type="expect_column_pair_values_to_be_in_set",
        kwargs={
            "column_A": "subtask",
            "column_B": "tau",
            "value_pairs_set": [(subtask, tau) for subtask, taus in TAUS.items() for tau in taus],
        },
        why="the sub-task is not blended so",
    ),
    *(lengths(name, "prompts name the layers", min_value=1) for name in ("fg_phrase", "bg_phrase", "prompt")),
    in_set("channels", "foregrounds are RGBA, backgrounds and composites RGB", value_set=["4, 3, 3"]),
    *(equal(f"size_{name}", "size_fg", "layers of another size cannot be blended") for name in ("bg", "comp")),
    column("unique_value_count_to_be_between", "size_fg", "samples of one size make a batch", min_value=1, max_value=1),
    between("alpha", "a foreground with zero alpha everywhere leaves no task", min_value=0, strict_min=True),
    *(equal(f"found_{name}", f"sha256_{name}", "a picture is not the one that was made") for name in PICTURES),
    column("values_to_not_be_null", "error", "the layers cannot be blended"),
    between("error", "the composite cannot be made from its layers (check 4.1)", min_value=0, max_value=1),
    unique("sha256_comp", "the same composite twice"),
]

ASSETS = [
    in_set("splits", "an asset in train and test leaks (check 4.2)", value_set=[1]),
    lengths("licence", "a picture without a licence may not be used", min_value=1),
]
