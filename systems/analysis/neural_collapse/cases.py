"""Class-count vectors to optimise directly: as a person writes them, and as the data set keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.analysis.neural_collapse.closed_form import Problem
from systems.parts.run import Strict

Loss = Literal["mse", "ce"]
TYPES = {
    "id": pa.string(),
    "case": pa.string(),
    "counts": pa.list_(pa.int64()),
    "depth": pa.int64(),
    "width": pa.int64(),
    "lambda_w": pa.float64(),
    "lambda_h": pa.float64(),
    "bias": pa.bool_(),
    "loss": pa.string(),
}
SCHEMA = pa.schema(list(TYPES.items()))


class Case(Strict):
    """A vector of class sizes, optimised at several depths."""

    counts: tuple[int, ...] = Field(min_length=2, description="samples of every class")
    depths: tuple[int, ...] = Field(default=(1,), min_length=1, description="numbers of linear layers")
    width: int = Field(default=64, gt=0, description="length of a feature, at least the number of classes")
    lambda_w: float = Field(default=5e-4, gt=0, description="decay of every weight matrix")
    lambda_h: float = Field(default=5e-4, gt=0, description="decay of the features")
    bias: bool = Field(default=False, description="a bias, without decay, in the last layer")
    loss: Loss = Field(default="mse", description="squared error, for which there is a closed form, or cross-entropy")

    def problem(self, depth: int) -> Problem:
        """The model at one depth."""
        about = {name: getattr(self, name) for name in Problem.model_fields if name != "depth"}
        return Problem(depth=depth, **about)


class Direct(Strict):
    """One case at one depth."""

    problem: Problem
    case: str
    bias: bool
    loss: Loss

    @property
    def id(self) -> str:
        """Name of the runs, as `imbalanced-m3`."""
        return f"{self.case}-m{self.problem.depth}"

    @property
    def solved(self) -> bool:
        """Whether the closed form is about this case."""
        return self.loss == "mse" and not self.bias


def write(path: Path, cases: Mapping[str, Case]) -> None:
    """A row a case and depth."""
    rows = []
    for name, case in cases.items():
        for depth in case.depths:
            direct = Direct(problem=case.problem(depth), case=name, bias=case.bias, loss=case.loss)
            about = {**direct.problem.model_dump(), "case": name, "bias": case.bias, "loss": case.loss}
            rows.append({"id": direct.id, **about})
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def read(path: Path) -> list[Direct]:
    """What `write` wrote."""
    found = []
    for row in pq.read_table(path).to_pylist():
        problem = Problem.model_validate({name: row[name] for name in Problem.model_fields})
        found.append(Direct(problem=problem, case=row["case"], bias=row["bias"], loss=row["loss"]))
    return found
