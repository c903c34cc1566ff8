"""The contract between a stage and a system: validated parameters in, named results out.

A system sees nothing of DVC, MLflow, Great Expectations or the Lightning trainer; it calls the methods of `Run`.
`stages.run.StageRun` implements it for the pipeline and the tests alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from systems.parts.errors import UserError

if TYPE_CHECKING:
    import lightning
    import pyarrow as pa
    from jaxtyping import UInt8
    from matplotlib.figure import Figure

Op = Literal["<", "<=", "==", ">=", ">"]
SCORE = "score"
"""The final metric by which `evaluate` says what a model is worth, lower is better: the best one becomes the champion.
It is the same quantity, on held-out data, for all systems of a track."""


class Strict(BaseModel):
    """Parameters: frozen, unknown keys refused, defaults checked like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


P_co = TypeVar("P_co", bound=Strict, covariant=True)
T = TypeVar("T")
R = TypeVar("R")


class Training(Strict):
    """How long and on what a network is trained; what every Lightning fit of the project needs to know."""

    steps: int = Field(gt=0, description="optimiser steps")
    batch: int = Field(gt=0, description="samples a step, over all devices")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(default=1, gt=0, description="devices a node")
    num_nodes: int = Field(default=1, gt=0)
    strategy: str = Field(default="auto", description="Lightning strategy, as ddp")
    precision: Literal["32-true", "bf16-mixed", "bf16-true"] = "32-true"
    clip: float = Field(default=1.0, ge=0, description="gradient norm at which steps are clipped; 0 switches it off")
    checkpoint_every: int = Field(default=500, gt=0, description="steps between two checkpoints")
    sample_every: int = Field(default=1000, gt=0, description="steps between two sample pictures")

    @property
    def processes(self) -> int:
        """Processes that train together, one a device."""
        return self.devices * self.num_nodes

    @model_validator(mode="after")
    def _devices_share_a_batch_evenly(self) -> Training:
        if self.batch % self.processes:
            raise UserError(
                f"parameter batch = {self.batch}: a multiple of devices x num_nodes ({self.processes}) is wanted"
            )
        return self

    @model_validator(mode="after")
    def _strategy_starts_the_command_again(self) -> Training:
        if any(way in self.strategy for way in ("spawn", "fork", "notebook")):
            raise UserError(
                f"parameter strategy = {self.strategy}: one that starts the command again for every device, as ddp, "
                "is wanted"
            )
        return self


class Expectation(Strict):
    """One Great Expectations expectation as data: its type in snake case, its arguments, and why it must hold."""

    type: str = Field(description="as expect_column_values_to_be_between")
    kwargs: Mapping[str, Any] = Field(default_factory=dict)
    why: str = Field(description="what a violation would mean, one line")


class Run(Protocol, Generic[P_co]):
    """What a stage hands to a system. Paths in `outputs` exist only once the stage has ended well."""

    @property
    def name(self) -> str:
        """Name of the system, as `diffdecompose`."""

    @property
    def params(self) -> P_co:
        """Validated parameters of this stage of this system."""

    @property
    def inputs(self) -> Mapping[str, Path]:
        """Folders and files to read, by the names of the stage's layout."""

    @property
    def output(self) -> Path:
        """Empty folder to write the stage's result to; it takes its final name when the stage ends well."""

    @property
    def workers(self) -> int:
        """Processes that may run at once. Never changes a result, only the time it takes."""

    def generator(self, *key: int | str) -> np.random.Generator:
        """Generator of random numbers that depends only on the parameter `seed` (0 if there is none) and `key`."""

    def fit(self, module: lightning.LightningModule, data: Any, training: Training, label: str) -> None:
        """Train `module` in place on the loader or data module `data`; resumes by itself where a killed run stopped."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record a figure: without a step a final one (metrics.json), with a step a point of a curve."""

    def figure(self, name: str, picture: UInt8[np.ndarray, "h w c"] | Figure, caption: str = "") -> None:
        """Record a picture, an RGB(A) array or a Matplotlib figure, as `<name>.png`.

        One with a caption, a sentence that says what it shows, stands on the system's page of the report.
        """

    def table(self, name: str, table: pa.Table) -> None:
        """Record a table as `<name>.csv` among the plots, and in MLflow."""

    def hold(self, check: str, value: float, op: Op, bound: float, statement: str, seeds: int = 1) -> None:
        """Record acceptance check `check` ("4.6" = check 6 of card 04): does `value op bound` hold?"""

    def expect(self, name: str, table: pa.Table, expectations: Sequence[Expectation]) -> None:
        """Validate a table; a violated expectation ends the stage with its name and the failing rows."""

    def track(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        """Pass `items` on while a progress bar shows how far they are."""

    def map(
        self,
        function: Callable[[Mapping[str, Path], T], R],
        items: Iterable[T],
        label: str,
        total: int | None = None,
        reads: Sequence[str] = (),
        alone: bool = False,
    ) -> Iterator[R]:
        """Results of `function(inputs, item)` in the order of `items`, worked on side by side, with a progress bar.

        The work is done by `workers` processes here or, where the parameter `dask.address` names one, by a Dask cluster
        whose machines share no disk with this one. So `function`, which may be a `functools.partial`, is one of a
        module; `inputs` are those named in `reads`, as paths where it runs; it writes nothing and returns all it makes.
        With `alone` an item uses every core itself: here they are then worked on one by one, in this process.
        """
