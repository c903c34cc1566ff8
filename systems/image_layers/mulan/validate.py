"""validate@mulan: every stored scene is put together again from its layers and held to card 08; assets keep to a split.

python -m stages validate mulan
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from systems.image_layers.mulan.placing import BACKDROP, LEAST, SHOWN
from systems.image_layers.mulan.scenes import SCHEMA, Scene, flatten, rows, scene_of
from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.pictures import digest
from systems.parts.run import Run, Strict
from systems.parts.tables import counted

SPLITS = ("train", "test")
CHECKED = ("photographs", "assets")
"""Tables beside the shards."""

MEASURED = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("size", pa.string()),
        ("assets", pa.list_(pa.string())),
        ("instances", pa.int64()),
        ("described", pa.int64()),
        ("mutual", pa.int64()),
        ("error", pa.int64()),
        ("error_unswitched", pa.int64()),
        ("order", pa.string()),
        ("backdrop", pa.int64()),
        ("smallest", pa.float64()),
        ("least_shown", pa.float64()),
        ("sha256", pa.string()),
    ]
)
"""What a scene's pixels show; errors in 1/255."""


class Params(Strict):
    """What is validated."""

    data: str = Field(description="data set below data/, as mulan")


def validate(run: Run[Params]) -> None:
    """Check the schema of every shard, every scene against its own layers, and every asset used."""
    folder = run.inputs["data"]
    paths = sorted(path for path in folder.glob("*.parquet") if path.stem not in CHECKED)
    run.expect("shards", schemas(paths), SHARDS)
    with ThreadPoolExecutor(run.workers) as pool:
        tables = list(run.track(pool.map(partial(measured, folder), SPLITS), "measure", len(SPLITS)))
    scenes = pa.concat_tables(tables)
    run.expect("scenes", scenes, SCENES)
    crossed = scenes.filter(pc.greater(scenes["mutual"], 0))
    if crossed.num_rows:
        run.expect("mutual", crossed, MUTUAL)
    run.expect("assets", asset_use(scenes, pq.read_table(folder / "assets.parquet")), ASSETS)
    run.expect("photographs", pq.read_table(folder / "photographs.parquet").drop_columns(["file"]), PHOTOGRAPHS)
    run.table("scenes", counted(scenes, ["split", "instances", "mutual"], "scenes"))
    run.metric("share of scenes with a mutual occlusion", crossed.num_rows / scenes.num_rows)
    run.metric("largest error of flattened layers in 255ths", pc.max(scenes["error"]).as_py())


def schemas(paths: list[Path]) -> pa.Table:
    """Columns and types of each shard, as text."""
    texts = [text_of(pq.read_schema(path)) for path in paths]
    return pa.table({"shard": [path.name for path in paths], "schema": texts})


def text_of(schema: pa.Schema) -> str:
    """Columns and types as text."""
    types = [f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind) for kind in schema.types]
    return ", ".join(f"{name} {kind}" for name, kind in zip(schema.names, types, strict=True))


def measured(folder: Path, split: str) -> pa.Table:
    """The scenes of a split as `MEASURED` says."""
    return pa.Table.from_pylist([{"split": split, **measure(row)} for row in rows(folder, split)], schema=MEASURED)


def measure(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """One scene; one line if its pictures cannot be read."""
    try:
        scene = scene_of(row)
    except (UserError, ValueError) as error:
        raise UserError(f"scene {row['id']}: {error}") from error
    depth = scene.depth.tolist()
    amodal = np.count_nonzero(scene.amodal[1:], axis=(1, 2))
    visible = np.count_nonzero(scene.visible[1:], axis=(1, 2))
    return {
        "id": scene.id,
        "size": f"{scene.image.shape[1]} x {scene.image.shape[0]}",
        "assets": [row["background"], *row["cutouts"]],
        "instances": len(scene.layers) - 1,
        "described": min(len(scene.labels), 1 + len(row["cutouts"])) - 1,
        "mutual": len(scene.mutual),
        "error": difference(flatten(scene.layers, scene.switched), scene),
        "error_unswitched": difference(flatten(scene.layers), scene),
        "order": "far to near" if depth[0] == BACKDROP and sorted(set(depth), reverse=True) == depth else str(depth),
        "backdrop": int(scene.layers[0, ..., 3].min()),
        "smallest": float(visible.min() / scene.image[..., 0].size),
        "least_shown": float((visible / np.maximum(amodal, 1)).min()),
        "sha256": digest(scene.image),
    }


def difference(flat: np.ndarray, scene: Scene) -> int:
    """Largest difference to the scene's picture, in 1/255."""
    return int(np.abs(flat.astype(int) - scene.image).max())


def asset_use(scenes: pa.Table, catalogue: pa.Table) -> pa.Table:
    """For every asset used: in how many splits, and under which licence (empty if it is not catalogued)."""
    splits: dict[str, set[str]] = {}
    for row in scenes.select(["split", "assets"]).to_pylist():
        for name in row["assets"]:
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

SHARDS = [in_set("schema", "readers rely on these columns", value_set=[text_of(SCHEMA)])]

SCENES = [
    unique("id", "an id names one scene"),
    column("unique_value_count_to_be_between", "size", "scenes of one size make a batch", min_value=1, max_value=1),
    equal("instances", "described", "every layer has its label and its asset"),
    between("error", "the layers are not those of the picture (check 8.1)", min_value=0, max_value=0),
    in_set("order", "layers stand from far to near, the background farthest", value_set=["far to near"]),
    in_set("backdrop", "nothing may shine through the background", value_set=[255]),
    between("smallest", "an instance too small to be found", min_value=LEAST),
    between("least_shown", "an instance all but hidden", min_value=SHOWN),
    unique("sha256", "the same picture twice"),
]

MUTUAL = [
    between("error_unswitched", "without altered alpha a mutual occlusion must show (check 8.1)", min_value=2),
    between("instances", "a mutual occlusion takes two", min_value=2),
]

ASSETS = [
    in_set("splits", "an asset in train and test leaks", value_set=[1]),
    lengths("licence", "a picture without a licence may not be used", min_value=1),
]

PHOTOGRAPHS = [
    unique("id", "an id names one photograph"),
    lengths("licence", "a picture without a licence may not be used", min_value=1),
]
