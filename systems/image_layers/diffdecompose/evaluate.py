"""evaluate@diffdecompose: scores a sub-task, honest baselines beside them, and the acceptance checks of card 04.

python -m stages evaluate diffdecompose
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor

from systems.image_layers.diffdecompose import scores, storage
from systems.parts.blend import blend
from systems.parts.grids import grid, on_checker
from systems.parts.layered_files.blended import blended
from systems.parts.layered_files.strip import FOLDER, strip
from systems.parts.perceptual import STLPIPS, EfficientNetLite0Features, frechet_distance
from systems.parts.pictures import decode, quantise
from systems.parts.run import SCORE, Op, Run, Strict
from systems.parts.tensors import pieces, to_numpy
from systems.parts.triplets import Triplets, read_triplets

Pictures = UInt8[np.ndarray, "n h w c"]
Errors = Mapping[str, Sequence[Mapping[str, float]]]
"""RMSE by answer, seed and sub-task."""
SHOWN = 6
ROWS = "composite, true and estimated foreground, true and estimated background, mean of the samples."
TRIVIAL = ("the composite itself", "mean colour")
MEAN_OF = "mean of {}"


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set whose test split is scored")
    model: str = Field(description="trained model, as diffdecompose")
    layers: str = Field(description="layers it took the data set's composites apart into, as diffdecompose")
    weights: str = Field(default="", description="fetched networks of the perceptual scores; empty leaves them out")


@dataclass(frozen=True)
class Truth:
    """The held-out triplets as arrays, with what makes their composites again."""

    data: Triplets
    comp: Pictures
    fg: Pictures
    bg: Pictures

    @property
    def subtasks(self) -> list[str]:
        """Sub-task of every sample."""
        return self.data.strings("subtask")


@dataclass(frozen=True)
class Estimate:
    """Layers of one sample of every composite, and the mean background of several where there were several."""

    fg: Pictures
    bg: Pictures
    bg_mean: Pictures | None


def evaluate(run: Run[Params]) -> None:
    """Score every variant and seed, record the checks, and draw what there is to see."""
    truth = read_truth(run.inputs["data"])
    saved = storage.read_saved(run.inputs["model"])
    estimates = {label: read_estimate(run.inputs["layers"] / f"{label}.parquet") for label in saved.variants}
    run.table("scores", pa.Table.from_pylist(score_table(truth, estimates)))
    errors = background_errors(truth, estimates)
    record_scores(run, errors, storage.variant_of(saved.best))
    record_checks(run, truth, estimates, errors, storage.variant_of(saved.best))
    record_adaptation(run, errors)
    record_perceptual(run, truth, estimates[saved.best])
    draw(run, truth, estimates, saved.best)


def read_truth(folder: Path) -> Truth:
    """The test split."""
    data = read_triplets(folder, "test")
    return Truth(data, *(to_numpy(data.pictures[column][:]) for column in ("comp", "fg", "bg")))


def read_estimate(path: Path) -> Estimate:
    """Layers as `decompose` wrote them, in the order of the test split."""
    table = pq.read_table(path)
    columns = {
        name: np.stack([decode(content) for content in table.column(name).combine_chunks().field("bytes").to_pylist()])
        for name in ("fg", "bg", "bg_mean")
        if name in table.column_names
    }
    return Estimate(columns["fg"], columns["bg"], columns.get("bg_mean"))


def recompose(truth: Truth, estimate: Estimate) -> Pictures:
    """Composites of the estimated layers by the true blend and its parameters."""
    taus, params = truth.data.strings("tau"), truth.data.strings("params")
    layers = zip(taus, estimate.fg, estimate.bg, params, strict=True)
    return np.stack([blend_or_background(tau, fg, bg, json.loads(values)) for tau, fg, bg, values in layers])


def blend_or_background(tau: str, fg: np.ndarray, bg: np.ndarray, params: Mapping[str, float]) -> np.ndarray:
    """The blend of two uint8 layers; a foreground that vanished leaves the background."""
    if not fg[..., 3].any():
        return bg
    return quantise(blend(tau, fg.astype(np.float32) / 255, bg.astype(np.float32) / 255, params))


def backgrounds(truth: Truth, estimates: Mapping[str, Estimate]) -> dict[str, Pictures]:
    """Every answer to "what is the background?": the trivial ones, one sample each, and the mean of several."""
    answers = dict(zip(TRIVIAL, (truth.comp, scores.mean_colour(truth.comp)), strict=True))
    answers |= {label: estimate.bg for label, estimate in estimates.items()}
    several = {label: estimate.bg_mean for label, estimate in estimates.items() if estimate.bg_mean is not None}
    return answers | {MEAN_OF.format(label): mean for label, mean in several.items()}


def score_table(truth: Truth, estimates: Mapping[str, Estimate]) -> list[dict[str, object]]:
    """A row an answer and sub-task: RMSE, PSNR, SSIM of the background; colour and alpha RMSE of the foreground."""
    rows: list[dict[str, object]] = []
    for answer, bg in backgrounds(truth, estimates).items():
        found = {
            "background RMSE": scores.by_group(scores.rmse, bg, truth.bg, truth.subtasks),
            "background PSNR dB": scores.by_group(scores.psnr, bg, truth.bg, truth.subtasks),
            "background SSIM": scores.by_group(scores.ssim, bg, truth.bg, truth.subtasks),
        }
        if answer in estimates:
            fg = estimates[answer].fg
            found["foreground colour RMSE"] = scores.by_group(scores.colour_rmse, fg, truth.fg, truth.subtasks)
            found["foreground alpha RMSE"] = scores.by_group(scores.alpha_rmse, fg, truth.fg, truth.subtasks)
        for subtask in found["background RMSE"]:
            measured = {name: round(values[subtask], 4) for name, values in found.items()}
            blank = {"foreground colour RMSE": None, "foreground alpha RMSE": None}
            rows.append({"answer": answer, "subtask": subtask, **blank, **measured})
    return rows


def seeds_of(estimates: Mapping[str, object], variant: str) -> list[str]:
    """Labels of a variant, a seed each."""
    return [label for label in estimates if storage.variant_of(label) == variant]


def background_errors(truth: Truth, estimates: Mapping[str, Estimate]) -> Errors:
    """Background RMSE a sub-task of every answer, a mapping a seed; the trivial answers have one."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for label, bg in backgrounds(truth, estimates).items():
        found.setdefault(storage.variant_of(label), []).append(
            scores.by_group(scores.rmse, bg, truth.bg, truth.subtasks)
        )
    return found


def headline(best: str) -> Mapping[str, str]:
    """Answers of the headline and how it calls them; `best` is the variant that stands for the system."""
    baselines = {"the composite itself": "the composite itself", "regression": "regression network"}
    return {**baselines, best: "one sample", MEAN_OF.format(best): "mean of samples"}


def record_scores(run: Run[Params], errors: Errors, best: str) -> None:
    """Figures of metrics.json: the mean over seeds of every answer, a sub-task each, the headline, and the score."""
    for answer, seeds in errors.items():
        for subtask in seeds[0]:
            run.metric(f"background RMSE/{answer}/{subtask}", mean(seed[subtask] for seed in seeds))
    for answer, words in headline(best).items():
        if answer in errors:
            run.metric(f"headline/background RMSE: {words}", mean(seed["all"] for seed in errors[answer]))
    run.metric(SCORE, mean(seed["all"] for seed in errors[MEAN_OF.format(best)]))


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    return float(np.mean(list(values)))


def record_checks(
    run: Run[Params],
    truth: Truth,
    estimates: Mapping[str, Estimate],
    errors: Errors,
    best: str,
) -> None:
    """Check 4.6 of the variant `best`, for the mean over its seeds; the seeds' own figures stand in the metrics."""
    shown = scores.rmse(truth.comp, truth.bg)
    labels = seeds_of(estimates, best)
    recomposed = [scores.rmse(recompose(truth, estimates[label]), truth.comp) for label in labels]
    single, averaged = ([seed["all"] for seed in errors[name]] for name in (best, MEAN_OF.format(best)))
    for label, again, one, several in zip(labels, recomposed, single, averaged, strict=True):
        run.metric(f"seeds/{label}/recomposition RMSE", again)
        run.metric(f"seeds/{label}/background RMSE: one sample", one)
        run.metric(f"seeds/{label}/background RMSE: mean of samples", several)
    count = len(labels)
    run.metric("headline/recomposition RMSE", mean(recomposed))
    share = "{} as a share of RMSE(z, y)"
    wanted: tuple[tuple[list[float], Op, float, str], ...] = (
        (recomposed, "<=", 0.7, "recomposition RMSE of the sampled pair"),
        (single, "<", 1.0, "background RMSE of one sample"),
        (averaged, "<=", 0.92, "background RMSE of the mean of samples"),
    )
    for values, op, bound, what in wanted:
        run.hold("4.6", mean(values) / shown, op, bound, share.format(what), count)
    if "permuted" in errors and best != "permuted":
        unrelated = mean(seed["all"] for seed in errors["permuted"])
        statement = "background RMSE with cloned position codes as a share of that with unrelated ones"
        run.hold("4.6", mean(single) / unrelated, "<=", 0.9, statement, count)


def record_adaptation(run: Run[Params], errors: Errors) -> None:
    """What the low-rank adapters bring on the sub-task they were trained for."""
    for answer in ("pretrained", "adapted"):
        if answer in errors:
            run.metric(f"adapters/background RMSE on xray: {answer}", errors[answer][0]["xray"])


def record_perceptual(run: Run[Params], truth: Truth, estimate: Estimate) -> None:
    """ST-LPIPS and a Frechet distance over EfficientNet-lite0 features, where their networks were fetched."""
    folder = run.inputs.get("weights")
    if folder is None:
        return
    answers = {TRIVIAL[0]: truth.comp, "sample": estimate.bg}
    try:
        lpips, network = STLPIPS.load(folder), EfficientNetLite0Features.load(folder)
    except FileNotFoundError as error:
        print(f"evaluate: the perceptual scores are left out: {error}", file=sys.stderr)
        return
    wanted = features_of(network, truth.bg)
    for answer, bg in answers.items():
        run.metric(f"background ST-LPIPS/{answer}", perceptual_distance(lpips, bg, truth.bg))
        distance = frechet_distance(features_of(network, bg), wanted)
        run.metric(f"background EfficientNet-lite0 Frechet distance/{answer}", distance)


@torch.no_grad()
def features_of(network: EfficientNetLite0Features, pictures: Pictures) -> Float[np.ndarray, "n f"]:
    """Features of every picture, computed a few pictures at a time."""
    return torch.cat([network(unit(pictures[some])) for some in few(pictures)]).numpy()


@torch.no_grad()
def perceptual_distance(network: STLPIPS, a: Pictures, b: Pictures) -> float:
    """Mean ST-LPIPS between the pictures of two sets, computed a few at a time."""
    return float(torch.cat([network(unit(a[some]), unit(b[some])) for some in few(a)]).mean())


def few(pictures: Pictures) -> Iterator[slice]:
    """Slices of so few pictures that a network may look at them at once."""
    return pieces(len(pictures), pictures.shape[2], 32)


def unit(pictures: Pictures) -> Tensor:
    """uint8 [n, h, w, c] to float [n, c, h, w] in 0..1."""
    return torch.from_numpy(pictures).movedim(-1, 1).float() / 255


def draw(run: Run[Params], truth: Truth, estimates: Mapping[str, Estimate], best: str) -> None:
    """A grid a sub-task, and the samples with the largest error among all."""
    estimate = estimates[best]
    for subtask in dict.fromkeys(truth.subtasks):
        rows = truth.data.rows_of([subtask])
        run.figure(f"layers-{subtask}", layers_grid(truth, estimate, rows[:SHOWN]), f"Held-out {subtask}. Rows: {ROWS}")
        run.figure(f"{FOLDER}/{subtask}", *sample(truth, estimate, int(rows[0])))
    error = scores.squared_errors(estimate.bg, truth.bg)
    worst = np.argsort(-error, kind="stable")[:SHOWN]
    run.figure("worst", layers_grid(truth, estimate, worst), f"Those with the largest error. Rows: {ROWS}")


def sample(truth: Truth, estimate: Estimate, row: int) -> tuple[UInt8[np.ndarray, "H W 4"], str]:
    """A composite and its estimated layers, blended as it was, for the gallery of the report."""
    tau, params = (truth.data.strings(column)[row] for column in ("tau", "params"))
    stack = blended(estimate.fg[row], estimate.bg[row], tau, json.loads(params))
    return strip(truth.comp[row], stack, f"Held-out {truth.subtasks[row]}: estimated layers, blended by {tau}.")


def layers_grid(truth: Truth, estimate: Estimate, rows: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """Composite, true and estimated foreground, true and estimated background, mean background: a row each."""
    shown = (truth.comp, truth.fg, estimate.fg, truth.bg, estimate.bg, estimate.bg_mean)
    return grid([on_checker(pictures[rows]) for pictures in shown if pictures is not None], scale=4)
