"""StageRun: the pipeline's side of the contract `systems.parts.run.Run`.

It records in memory and in the partial output; `finish` makes everything visible at once by renaming.
"""

from __future__ import annotations

import csv
import json
import operator
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from systems.parts.run import Expectation, Op, Strict, Training
from systems.parts.whole import partial, place, remove

if TYPE_CHECKING:
    import lightning
    import pyarrow as pa

P = TypeVar("P", bound=Strict)
CAPTION = "Description"
"""Keyword of a PNG file under which it carries its caption."""
T = TypeVar("T")
R = TypeVar("R")
OPS: dict[Op, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class Tracker(Protocol):
    """Where a run's records also go: MLflow, or nowhere in a test. Calls never fail and never block for long."""

    def metric(self, name: str, value: float, step: int) -> None:
        """Record one point of a curve; buffered."""

    def artifact(self, path: Path, folder: str) -> None:
        """Record a small file under `folder`."""

    def model(self, folder: Path) -> None:
        """Record the finished model in `folder`."""

    def score(self, model: Path, data: Path) -> None:
        """Record that the metric `score` is the worth of the model in folder `model` on the data set in `data`."""


class NoTracker:
    """A tracker that keeps nothing."""

    def metric(self, name: str, value: float, step: int) -> None:
        """Drop the point."""

    def artifact(self, path: Path, folder: str) -> None:
        """Drop the file."""

    def model(self, folder: Path) -> None:
        """Drop the model."""

    def score(self, model: Path, data: Path) -> None:
        """Drop the score."""


Fit = Callable[["StageRun[Any]", "lightning.LightningModule", Any, Training, str], None]
Expect = Callable[["StageRun[Any]", str, "pa.Table", Sequence[Expectation]], None]


def cannot(what: str) -> Callable[..., None]:
    """A stand-in for an ability that a stage does not give to its system."""

    def refuse(*_: object) -> None:
        raise TypeError(f"this stage cannot {what}")

    return refuse


NO_FIT: Fit = cannot("fit")
NO_EXPECT: Expect = cannot("validate")


@dataclass
class StageRun(Generic[P]):
    """One run of one stage of one system. `final` is the folder of the result, `reports` that of its small files."""

    stage: str
    name: str
    params: P
    inputs: Mapping[str, Path]
    final: Path
    reports: Path
    workers: int = 1
    quiet: bool = False
    cluster: str | None = None
    work: Path = Path(".work/runs")
    tracker: Tracker = field(default_factory=NoTracker)
    fitter: Fit = NO_FIT
    expecter: Expect = NO_EXPECT
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    holds: list[dict[str, Any]] = field(default_factory=list)
    mapping: ExitStack = field(default_factory=ExitStack)

    @property
    def output(self) -> Path:
        """Folder the result grows in until the stage ends well."""
        return partial(self.final)

    @property
    def plots(self) -> Path:
        """Folder the pictures and curves grow in until the stage ends well."""
        return partial(self.reports) / "plots"

    def generator(self, *key: int | str) -> np.random.Generator:
        """Generator of random numbers that depends only on the parameter `seed` (0 if there is none) and `key`."""
        words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
        return np.random.default_rng([getattr(self.params, "seed", 0), *words])

    def fit(self, module: lightning.LightningModule, data: Any, training: Training, label: str) -> None:
        """Train `module` in place; see `stages.training.fit`."""
        self.fitter(self, module, data, training, label)

    def expect(self, name: str, table: pa.Table, expectations: Sequence[Expectation]) -> None:
        """Validate a table; see `stages.expectations.expect`."""
        self.expecter(self, name, table, expectations)

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record a final figure, or a point of a curve."""
        if step is None:
            self.metrics[name] = float(value)
        else:
            self.curves[name].append((step, float(value)))
        self.tracker.metric(name, float(value), step or 0)

    def figure(self, name: str, picture: Any, caption: str = "") -> None:
        """Record a picture: a uint8 array (h, w, 3 or 4) or a Matplotlib figure. The file carries its caption."""
        path = self.plots / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, np.ndarray):
            words = PngInfo()
            words.add_text(CAPTION, caption)
            Image.fromarray(picture).save(path, pnginfo=words if caption else None)
        else:
            metadata = {"Software": None, CAPTION: caption or None}
            picture.savefig(path, dpi=110, bbox_inches="tight", metadata=metadata)
        self.tracker.artifact(path, "figures")

    def table(self, name: str, table: pa.Table) -> None:
        """Record a table as CSV among the plots."""
        from pyarrow import csv as arrow_csv

        path = self.plots / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrow_csv.write_csv(table, path)
        self.tracker.artifact(path, "tables")

    def hold(self, check: str, value: float, op: Op, bound: float, statement: str, seeds: int = 1) -> None:
        """Record an acceptance check with the figure measured, whether it holds or not."""
        self.holds.append(
            {
                "id": check,
                "statement": statement,
                "kind": "hold",
                "value": float(value),
                "op": op,
                "bound": float(bound),
                "seeds": seeds,
                "holds": bool(OPS[op](value, bound)),
            }
        )
        self.tracker.metric(f"hold/{check}/{statement[:40]}", float(value), 0)

    def track(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        """Pass `items` on while a progress bar shows how far they are."""
        return tqdm(items, desc=label, total=total, mininterval=1.0, dynamic_ncols=True, disable=self.quiet)

    def map(
        self,
        function: Callable[[Mapping[str, Path], T], R],
        items: Iterable[T],
        label: str,
        total: int | None = None,
        reads: Sequence[str] = (),
        alone: bool = False,
    ) -> Iterator[R]:
        """Results of `function(inputs, item)` in the order of `items`; see `stages.parallel`."""
        from stages import parallel

        results = self.mapping.enter_context(closing(parallel.results(self, function, items, reads, alone)))
        return iter(self.track(results, label, total))

    def stop(self) -> None:
        """End what `map` still works on, for a stage that fails while it takes results."""
        self.mapping.close()

    def begin(self) -> None:
        """Make empty partial outputs, removing what a killed run left."""
        self.discard()
        self.output.mkdir(parents=True)
        self.plots.mkdir(parents=True)

    def discard(self) -> None:
        """Remove the partial outputs, so that a failed stage leaves nothing half-written."""
        for folder in (self.output, partial(self.reports)):
            remove(folder)

    def finish(self, outputs: Sequence[Path]) -> None:
        """Write the small results and give every output of the layout its final name.

        A stage has to draw something: without its folder of plots a clone of the repository would run it again.
        """
        small = partial(self.reports)
        _write_json(small / "metrics.json", dict(sorted(self.metrics.items())))
        _write_json(small / "holds.json", self.holds)
        for name, points in self.curves.items():
            _write_curve(self.plots, name, points)
        if self.reports / "plots" in outputs and not any(self.plots.iterdir()):
            raise RuntimeError(f"{self.stage} of {self.name} drew nothing: Git keeps no empty folder of plots")
        wanted = {path.name for path in outputs if path.parent == self.reports}
        for path in small.iterdir():
            if path.name in wanted:
                place(path, self.reports / path.name)
        if self.final in outputs:
            place(self.output, self.final)
        self.discard()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_curve(plots: Path, name: str, points: Sequence[tuple[int, float]]) -> None:
    """Write curve `group/fit/metric` as `group/fit_metric.csv`; the report draws a chart a group and metric."""
    *above, column = name.split("/")
    fit = f"{above.pop()}_" if above else ""
    path = plots.joinpath(*above, f"{fit}{column}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", column])
        writer.writerows((step, f"{value:.7g}") for step, value in points)
