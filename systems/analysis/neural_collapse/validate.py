"""validate@neural_collapse: the cases can be solved, the pictures are as many as asked for, and none is in both sets.

python -m stages validate neural_collapse
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.analysis.neural_collapse.cases import TYPES
from systems.parts.expectations import column, equal
from systems.parts.labelled_pictures import FILES, read_file
from systems.parts.pictures import digest
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted


class Params(Strict):
    """What is validated."""

    data: str = Field(description="data set below data/, as neural_collapse")
    counts: tuple[int, ...] = Field(min_length=2, description="training pictures of every class")
    test: int = Field(gt=0, description="held-out pictures of each class")


def validate(run: Run[Params]) -> None:
    """Check cases, pictures and classes."""
    folder, params = run.inputs["data"], run.params
    run.expect("cases", _flat(pq.read_table(folder / "cases.parquet")), CASES)
    pictures = pa.concat_tables([_measured(folder, name) for name in run.track(FILES, "measure")])
    run.expect("pictures", pictures, PICTURES)
    counts = counted(pictures, ["file", "label"], "pictures")
    wanted = {"train": params.counts, "test": (params.test,) * len(params.counts)}
    asked = [dict(enumerate(wanted[row["file"]])).get(row["label"], 0) for row in counts.to_pylist()]
    run.expect("classes", counts.append_column("wanted", pa.array(asked)), [AS_MANY])
    run.table("classes", counts)


def _flat(table: pa.Table) -> pa.Table:
    """Cases with the smallest class and the number of classes in place of the vector."""
    counts = table["counts"].to_pylist()
    flat = table.drop_columns(["counts"])
    flat = flat.append_column("smallest", pa.array([min(values) for values in counts]))
    return flat.append_column("classes", pa.array([len(values) for values in counts]))


def _measured(folder: Path, name: str) -> pa.Table:
    """A row a picture: its file, class and the sum of its pixels."""
    stored = read_file(folder / f"{name}.parquet")
    return pa.table(
        {
            "id": [f"{name}-{row:05d}" for row in range(len(stored))],
            "file": [name] * len(stored),
            "label": stored.labels,
            "sha256": [digest(picture) for picture in stored.pictures],
        }
    )


AS_MANY = equal("pictures", "wanted", "the closed form is about these class sizes")
CASES = [
    *(column("values_to_not_be_null", name, "every row is filled in") for name in TYPES if name != "counts"),
    column("values_to_be_unique", "id", "an id names one case"),
    column("values_to_be_between", "smallest", "every class needs a sample", min_value=1),
    column("values_to_be_between", "depth", "there is a last layer", min_value=1),
    *(
        column("values_to_be_between", name, "without decay there is no minimum", min_value=0, strict_min=True)
        for name in ("lambda_w", "lambda_h")
    ),
    Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs={"column_A": "width", "column_B": "classes", "or_equal": True},
        why="each class needs a direction of its own",
    ),
]
PICTURES = [column("values_to_be_unique", "sha256", "a picture of train that is held out too would flatter the error")]
