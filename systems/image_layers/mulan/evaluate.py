"""evaluate@mulan: order, ladder, completion and reconstruction on scenes that are known, and checks 3 and 4 of card 08.

python -m stages evaluate mulan
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.measures import (
    ALTERED,
    LADDER,
    Completion,
    completions,
    flattened,
    matched,
    mean,
    order_of,
    psnr_of,
    squared_error,
)
from systems.image_layers.mulan.order import RUNGS
from systems.image_layers.mulan.pictures import exploded
from systems.image_layers.mulan.providers import Mask, Picture
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.stack import Stack
from systems.image_layers.mulan.stacks import layered
from systems.image_layers.mulan.suites import expect_sound
from systems.image_layers.mulan.table import PHOTOGRAPHS, Kept, read_kept, runs_of
from systems.parts.layered_files.strip import FOLDER, strip
from systems.parts.perceptual import STLPIPS
from systems.parts.run import SCORE, Run, Strict

SHOWN, SCENES = 6, 4
"""Photographs and scenes of a figure."""
PERCEIVED = 25
"""Scenes of which the perceptual distance is measured: it takes half a second a scene."""
FULL = "mutual"
LEARNED, PRETRAINED, LARGE = "learned", "pretrained", "full"
WORDS = "From the left: the picture, its layers from the bottom up, the layers flattened, and the difference x 4."


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set whose test scenes are known, as mulan")
    model: str = Field(description="trained model, as mulan")
    layers: str = Field(description="layers its pictures were taken apart into, as mulan")
    weights: str = Field(default="", description="fetched network of the perceptual distance; empty leaves it out")
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
    """Hold the layers to their suites, measure every run of the pipeline, record the checks, and draw."""
    folder = run.inputs["layers"]
    labels = runs_of(folder)
    expect_sound(run, folder, labels)
    known = [label for label in labels if not label.startswith(PHOTOGRAPHS)]
    scenes = {scene.id: scene for scene in read_scenes(run.inputs["data"], "test")}
    measured = {label: measure(run.params, read_kept(folder, label), scenes) for label in known}
    rows = [{"run": label, **measured[label].figures()} for label in known]
    run.table("scores", pa.Table.from_pylist(rows))
    for label in known:
        for name, value in measured[label].figures().items():
            run.metric(f"{label}/{name}", value)
    learned = [measured[label] for label in judged(known)]
    record_checks(run, learned)
    record_headline(run, learned)
    record_perceptual(run, folder, known)
    record_photographs(run, folder, [label for label in labels if label.startswith(PHOTOGRAPHS)])
    for label in known:
        draw(run, folder, label, label in judged(known)[:1])


def judged(labels: Sequence[str]) -> list[str]:
    """The runs that the checks are about, a seed each: by the large networks where there are any, else by our own."""
    large, own = ([label for label in labels if label.startswith(f"{kind}-")] for kind in (LARGE, LEARNED))
    return large or own


def measure(params: Params, pictures: Iterable[Kept], scenes: Mapping[str, Scene]) -> Measured:
    """Everything about one run."""
    sums = Measured()
    for kept in pictures:
        add(params, sums, kept, scenes[kept.id])
    return sums


def add(params: Params, sums: Measured, kept: Kept, scene: Scene) -> None:
    """Add one scene."""
    for rung, flat in flattened(kept.stack, kept.orders).items():
        sums.flattened[rung].append(squared_error(flat, kept.image))
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


def record_perceptual(run: Run[Params], folder: Path, labels: Sequence[str]) -> None:
    """ST-LPIPS of the flattened stack at every rung, by the first seed, where the network was fetched."""
    weights = run.inputs.get("weights")
    label = next(iter(judged(labels)), None)
    if weights is None or label is None:
        return
    try:
        network = STLPIPS.load(weights)
    except FileNotFoundError as error:
        print(f"evaluate: the perceptual distances are left out: {error}", file=sys.stderr)
        return
    found: dict[str, list[float]] = {rung: [] for rung in LADDER}
    for kept in run.track(list(islice(read_kept(folder, label), PERCEIVED)), "ST-LPIPS"):
        flat = flattened(kept.stack, kept.orders)
        for rung, value in zip(flat, perceptual_distance(network, list(flat.values()), kept.image), strict=True):
            found[rung].append(value)
    for rung, values in found.items():
        run.metric(f"{label}/ST-LPIPS: {rung}", mean(values))


@torch.no_grad()
def perceptual_distance(network: STLPIPS, flats: Sequence[Picture], picture: Picture) -> list[float]:
    """ST-LPIPS of several pictures to one."""
    given, wanted = (torch.from_numpy(np.stack(some)).movedim(-1, 1).float() / 255 for some in (flats, [picture]))
    found: list[float] = network(given, wanted).tolist()
    return found


def record_photographs(run: Run[Params], folder: Path, labels: Sequence[str]) -> None:
    """What is found in photographs, by our own networks and by a pretrained one, and how far they agree."""
    found = {label: list(read_kept(folder, label)) for label in labels}
    rows = [{"run": label, **about_photographs(kept)} for label, kept in found.items() if kept]
    if not rows:
        return
    run.table(PHOTOGRAPHS, pa.Table.from_pylist(rows))
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float):
                run.metric(f"{row['run']}/{name}", value)
    ours, theirs = (found.get(f"{PHOTOGRAPHS}-{kind}", []) for kind in (LEARNED, PRETRAINED))
    if ours and theirs:
        pairs = zip(ours, theirs, strict=True)
        overlaps = [masks.iou(instances_of(one.stack), instances_of(other.stack)) for one, other in pairs]
        run.metric(f"{PHOTOGRAPHS}/IoU of what our own and the pretrained network find", mean(overlaps))
    for row in rows:
        label = str(row["run"])
        run.figure(label, exploded(found[label][:SHOWN]), f"Photographs without a known truth, {label}. {WORDS}")
    able = str(rows[-1]["run"])  # of full, learned and pretrained the last one sees best
    give_sample(run, able, found[able])


def about_photographs(kept: Sequence[Kept]) -> dict[str, float]:
    """Means over the photographs of a run."""
    return {
        "PSNR dB": mean(one.psnr for one in kept),
        "instances": mean(len(one.stack.layers) - 1 for one in kept),
        "share of the picture in instances": mean(float(instances_of(one.stack).mean()) for one in kept),
    }


def instances_of(stack: Stack) -> Mask:
    """Where any instance is seen."""
    seen: Mask = ~stack.layers[0].visible
    return seen


def give_sample(run: Run[Params], label: str, kept: Sequence[Kept]) -> None:
    """The first picture of a run that has the most layers, for a person to take apart in the report."""
    one = max(kept, key=lambda one: len(one.stack.layers))
    words = f"{one.id}, taken apart by {label}: switch layers off, move them, change their order."
    run.figure(f"{FOLDER}/{label}-{one.file}", *strip(one.image, layered(one.stack), words))


def draw(run: Run[Params], folder: Path, label: str, told: bool) -> None:
    """Scenes of a run, and those that flatten worst; for one run with words, by which the report shows them."""
    kept = list(read_kept(folder, label))
    worst = sorted(kept, key=lambda one: one.psnr)[:SCENES]
    run.figure(f"{label}-scenes", exploded(kept[:SCENES]), f"Test scenes, {label}. {WORDS}" if told else "")
    run.figure(f"{label}-worst", exploded(worst))
    if told:
        give_sample(run, label, kept)
