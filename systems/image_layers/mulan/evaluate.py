"""evaluate@mulan: order, ladder, completion and reconstruction on scenes that are known, and checks 3 and 4 of card 08.

python -m stages evaluate mulan
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from systems.image_layers.mulan.decompose import PHOTOGRAPHS
from systems.image_layers.mulan.makers import providers_for
from systems.image_layers.mulan.measures import (
    ALTERED,
    LADDER,
    Completion,
    completions,
    ladder,
    matched,
    mean,
    order_of,
    psnr,
    psnr_of,
    squared_error,
)
from systems.image_layers.mulan.order import RUNGS
from systems.image_layers.mulan.pictures import exploded
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.pretrained import FILE as PRETRAINED
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.table import Kept, read_kept
from systems.parts.run import SCORE, Run, Strict

SHOWN = 6
FULL = "mutual"
LEARNED = "learned"
WORDS = "From the left: the picture, its layers from the bottom up, the layers flattened, and the difference x 4."


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set whose test scenes are known, as mulan")
    model: str = Field(description="trained model, as mulan")
    layers: str = Field(description="layers its pictures were taken apart into, as mulan")
    weights: str = Field(default="", description="fetched networks that take photographs apart too")
    touch: int = Field(default=2, ge=0, description="visible masks dilated by so much that meet touch, px")
    hidden: float = Field(default=0.05, ge=0, lt=1, description="share of an instance that cannot be seen if occluded")


@dataclass
class Measured:
    """Sums over the scenes of one run of the pipeline."""

    flattened: dict[str, list[float]] = field(default_factory=lambda: {rung: [] for rung in LADDER})
    pairs: int = 0
    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RUNGS, 0))
    completions: list[Completion] = field(default_factory=list)
    background: list[float] = field(default_factory=list)
    instances: int = 0
    found: int = 0
    rejected: int = 0

    def psnr(self, rung: str) -> float:
        """Of all scenes' pixels, dB."""
        return psnr_of(mean(self.flattened[rung]))

    def accuracy(self, rung: str) -> float:
        """Share of the touching pairs that are in the true order."""
        return self.right[rung] / self.pairs if self.pairs else float("nan")

    def gain(self) -> float:
        """What the colours of hidden parts are better than the mean colour of what is seen of an instance, dB."""
        painted, flat = (sum(getattr(one, what) for one in self.completions) for what in ("painted", "mean_colour"))
        values = max(1, sum(one.values for one in self.completions))
        return psnr_of(painted / values) - psnr_of(flat / values)

    def iou(self, what: str) -> float:
        """Mean IoU of the `completed` or the `visible` masks with the amodal ones, over occluded instances."""
        return mean(getattr(one, what) for one in self.completions)

    def figures(self) -> dict[str, float]:
        """All of it, by name."""
        return {
            **{f"PSNR dB: {rung}": self.psnr(rung) for rung in LADDER},
            **{f"order accuracy: {rung}": self.accuracy(rung) for rung in RUNGS},
            "touching pairs": self.pairs,
            "hidden colour gain dB": self.gain(),
            "completed mask IoU": self.iou("completed"),
            "visible mask IoU": self.iou("visible"),
            "background RMSE": float(np.sqrt(mean(self.background))),
            "instances found": self.found / max(1, self.instances),
            "rejected": self.rejected,
        }


def evaluate(run: Run[Params]) -> None:
    """Measure every run of the pipeline, record the checks for the learned providers, draw the worst."""
    folder = run.inputs["layers"]
    labels = labels_of(folder)
    scenes = {scene.id: scene for scene in read_scenes(run.inputs["data"], "test")}
    measured = {label: measure(run.params, read_kept(folder, label), scenes) for label in labels}
    rows = [{"run": label, **measured[label].figures()} for label in labels]
    run.table("scores", pa.Table.from_pylist(rows))
    for label in labels:
        for name, value in measured[label].figures().items():
            run.metric(f"{label}/{name}", value)
    learned = [measured[label] for label in labels if label.startswith(f"{LEARNED}-")]
    record_checks(run, learned)
    record_headline(run, learned)
    record_photographs(run, folder)
    for label in labels:
        draw(run, folder, label)


def labels_of(folder: Path) -> list[str]:
    """Runs of the pipeline over the scenes, as `learned-0`."""
    found = {path.stem.rsplit("-", 1)[0] for path in folder.glob("*-*-[0-9][0-9][0-9].parquet")}
    return sorted(label for label in found if not label.startswith(PHOTOGRAPHS))


def measure(params: Params, pictures: Iterable[Kept], scenes: Mapping[str, Scene]) -> Measured:
    """Everything about one run."""
    sums = Measured()
    for kept in pictures:
        add(params, sums, kept, scenes[kept.id])
    return sums


def add(params: Params, sums: Measured, kept: Kept, scene: Scene) -> None:
    """Add one scene."""
    for rung, error in ladder(kept.stack, kept.orders, kept.image).items():
        sums.flattened[rung].append(error)
    found = matched(kept.stack, scene)
    for rung in RUNGS:
        order = order_of(kept.orders[rung], found, scene, params.touch)
        sums.right[rung] += order.right
    sums.pairs += order.pairs
    sums.completions += completions(kept, scene, params.hidden)
    sums.background.append(squared_error(kept.stack.layers[0].colour, scene.layers[0, ..., :3]))
    sums.instances += len(scene.layers) - 1
    sums.found += len(found)
    sums.rejected += kept.rejected


def record_checks(run: Run[Params], seeds: Sequence[Measured]) -> None:
    """Checks 8.3 and 8.4, for means over the seeds."""
    count = len(seeds)
    steps = [mean([one.psnr(rung) for one in seeds]) for rung in LADDER]
    least = min(after - before for before, after in pairwise(steps))
    rungs = ", ".join(LADDER)
    run.hold("8.3", least, ">=", -0.05, f"smallest step of the flattened PSNR over {rungs}, dB", count)
    run.hold("8.3", steps[-1] - steps[0], ">=", 0.5, "rise of the flattened PSNR from first to last, dB", count)
    full, depth = (mean([one.accuracy(rung) for one in seeds]) for rung in (FULL, "depth"))
    run.hold("8.3", full, ">=", 0.85, "pairwise order accuracy of the full method on touching pairs", count)
    run.hold("8.3", full - depth, ">", 0.0, "that accuracy less that of depth alone", count)
    gain = mean([one.gain() for one in seeds])
    run.hold("8.4", gain, ">=", 1.0, "hidden-region colour PSNR over that of a mean-colour fill, dB", count)
    better = mean([one.iou("completed") - one.iou("visible") for one in seeds])
    run.hold("8.4", better, ">", 0.0, "IoU with the amodal mask: completed masks less visible ones", count)


def record_headline(run: Run[Params], seeds: Sequence[Measured]) -> None:
    """The figures of the report, means over the seeds, and the score of the track."""
    run.metric("headline/flattened PSNR dB, full method", mean([one.psnr(ALTERED) for one in seeds]))
    run.metric("headline/flattened PSNR dB, depth only", mean([one.psnr("depth") for one in seeds]))
    run.metric("headline/pairwise order accuracy", mean([one.accuracy(FULL) for one in seeds]))
    run.metric("headline/completed mask IoU", mean([one.iou("completed") for one in seeds]))
    run.metric(SCORE, mean([one.figures()["background RMSE"] for one in seeds]))


def record_photographs(run: Run[Params], folder: Path) -> None:
    """How well photographs flatten and how many layers they have, by our own networks and by a pretrained one."""
    labels = dict.fromkeys(path.stem.rsplit("-", 1)[0] for path in sorted(folder.glob(f"{PHOTOGRAPHS}-*-000.parquet")))
    found = {label: list(read_kept(folder, label)) for label in labels}
    weights = run.inputs.get("weights")
    if weights and (weights / PRETRAINED).is_file() and (ours := found.get(f"{PHOTOGRAPHS}-{LEARNED}")):
        found[f"{PHOTOGRAPHS}-pretrained"] = again(run, ours, weights)
    for label, kept in found.items():
        if kept:
            run.metric(f"{label}/PSNR dB", mean(one.psnr for one in kept))
            run.metric(f"{label}/layers", mean(len(one.stack.layers) for one in kept))
            run.figure(label, exploded(kept[:SHOWN]), f"Photographs without a known truth, {label}. {WORDS}")


def again(run: Run[Params], photographs: Sequence[Kept], weights: Path) -> list[Kept]:
    """The same photographs, with what stands out found and cut out by a network trained on real ones."""
    out = []
    for kept in run.track(photographs, "pretrained"):
        providers = providers_for("pretrained", run.inputs["model"], weights, kept.seed)
        made = take_apart(kept.image, providers, Settings())
        value = psnr(made.stack.flat(), kept.image)
        out.append(replace(kept, provider="pretrained", stack=made.stack, orders=made.orders, psnr=value))
    return out


def draw(run: Run[Params], folder: Path, label: str) -> None:
    """The first scenes of a run, and those that flatten worst."""
    kept = list(read_kept(folder, label))
    worst = sorted(kept, key=lambda one: one.psnr)[:SHOWN]
    run.figure(f"{label}-scenes", exploded(kept[:SHOWN]), f"Test scenes, {label}. {WORDS}")
    run.figure(f"{label}-worst", exploded(worst), f"Test scenes that flatten worst, {label}. {WORDS}")
