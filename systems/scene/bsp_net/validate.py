"""validate@bsp_net: every shape is the one that was made, has an inside and an outside, and is in one split.

python -m stages validate bsp_net
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.parts.errors import UserError
from systems.parts.expectations import column, equal
from systems.parts.run import Run, Strict
from systems.parts.tables import counted
from systems.scene.bsp_net.shapes import SCHEMA


class Params(Strict):
    """Which data set is looked at."""

    data: str = Field(description="data set of shapes, as bsp_net")


def validate(run: Run[Params]) -> None:
    """Check columns, voxels and splits."""
    paths = sorted(run.inputs["data"].glob("*.parquet"))
    if not paths:
        raise UserError(f"data set {run.inputs['data']}: no shards")
    columns = [", ".join(map(str, pq.read_schema(path))) for path in paths]
    run.expect("shards", pa.table({"shard": [path.name for path in paths], "columns": columns}), SHARDS)
    shapes = pa.concat_tables([measured(path) for path in run.track(paths, "measure")])
    run.expect("shapes", shapes, SHAPES)
    run.expect("sources", splits(shapes), SOURCES)
    run.table("shapes", counted(shapes, ["family", "split", "side", "dims"], "shapes"))
    for family in dict.fromkeys(shapes["family"].to_pylist()):
        share = shapes.filter(pa.compute.equal(shapes["family"], family))["share"].to_numpy()
        run.metric(f"share inside/{family}", share.mean())


def measured(path: Path) -> pa.Table:
    """A row a shape: what its voxels are and what they were said to be."""
    family, split, _ = path.stem.split("-")
    rows = pq.read_table(path, columns=["id", "source", "dims", "side", "voxels", "sha256"]).to_pylist()
    return pa.table(
        {
            "id": [row["id"] for row in rows],
            "source": [row["source"] for row in rows],
            "family": [family] * len(rows),
            "split": [split] * len(rows),
            "dims": [row["dims"] for row in rows],
            "side": [row["side"] for row in rows],
            "bytes": [len(row["voxels"]) for row in rows],
            "expected bytes": [-(-(row["side"] ** row["dims"]) // 8) for row in rows],
            "share": [share(row["voxels"], row["side"] ** row["dims"]) for row in rows],
            "sha256": [row["sha256"] for row in rows],
            "found": [sha256(row["voxels"]).hexdigest() for row in rows],
        }
    )


def share(bits: bytes, cells: int) -> float:
    """Share of the cells that are inside."""
    return float(np.unpackbits(np.frombuffer(bits, np.uint8)).sum() / cells)


def splits(shapes: pa.Table) -> pa.Table:
    """In how many splits each source is."""
    table = shapes.group_by(["family", "source"]).aggregate([("split", "count_distinct")])
    return table.rename_columns(["family", "source", "splits"])


SHARDS = [
    column("values_to_be_in_set", "columns", "readers rely on these columns", value_set=[", ".join(map(str, SCHEMA))])
]
SHAPES = [
    column("values_to_be_unique", "id", "an id names one shape"),
    column("values_to_be_in_set", "split", "a shape trains or tests", value_set=["train", "test"]),
    column("values_to_be_in_set", "dims", "shapes are in the plane or in space", value_set=[2, 3]),
    equal("bytes", "expected bytes", "a grid of another size"),
    equal("found", "sha256", "the voxels are not those that were made"),
    column("values_to_be_between", "share", "a shape has an inside", min_value=0, strict_min=True),
    column("values_to_be_between", "share", "a shape has an outside", max_value=1, strict_max=True),
]
SOURCES = [column("values_to_be_in_set", "splits", "a picture or mesh in train and test leaks", value_set=[1])]
