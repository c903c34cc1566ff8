"""evaluate@bsp_net: how well held-out shapes come back, with how few pieces, and the acceptance checks of card 12.

python -m stages evaluate bsp_net
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from pydantic import Field

from systems.parts.grids import grid
from systems.parts.run import SCORE, Run, Strict
from systems.parts.step_batches import step_generator
from systems.scene.bsp_net import pictures, pieces, scores, storage, views
from systems.scene.bsp_net.layers import INSIDE
from systems.scene.bsp_net.network import BSPNet
from systems.scene.bsp_net.pieces import Piece
from systems.scene.bsp_net.shapes import Shapes, read
from systems.scene.bsp_net.views import SingleView

SHOWN = 8
FIGURES = "figures"
"""The authors' toy, on which the card's checks stand."""

MAIN = 2
"""The phase that stands for the discrete network: the last one of the card's small version."""


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set whose test split is scored")
    model: str = Field(description="trained model, as bsp_net")
    layers: str = Field(description="pieces it was taken apart to, as bsp_net")
    seed: int = Field(default=0, ge=0, description="seed of the points on surfaces")


@dataclass(frozen=True)
class Result:
    """One network on the held-out shapes of its family: its shapes, its convexes' cells and, if discrete, pieces."""

    network: storage.SavedNetwork
    truth: Bool[np.ndarray, "s n"]
    inside: Bool[np.ndarray, "s n"]
    within: Bool[np.ndarray, "s n c"]
    found: Sequence[Sequence[Piece]]

    @property
    def iou(self) -> Float[np.ndarray, " s"]:
        """Of every shape."""
        return scores.iou(self.inside, self.truth)


def evaluate(run: Run[Params]) -> None:
    """Score every network, record the checks, and draw what there is to see."""
    saved = storage.read_saved(run.inputs["model"])
    rows: list[dict[str, object]] = []
    for family, networks in storage.by_family(saved).items():
        shapes = read(run.inputs["data"], family, "test")
        results = [result_of(run, network, shapes) for network in networks]
        rows += [row(run, result, shapes) for result in results]
        record_baseline(run, family, shapes)
        for network in networks:
            if network.single_view:
                record_view(run, network, network.single_view, shapes)
        if family == FIGURES:
            record_checks(run, results, shapes)
            run.figure("iou", iou_curves(results), "Share of held-out figures with at least a given IoU, by network.")
        draw(run, family, results, shapes)
    run.table("networks", pa.Table.from_pylist(rows))
    run.metric(SCORE, 1 - headline(run, rows))


def result_of(run: Run[Params], network: storage.SavedNetwork, shapes: Shapes) -> Result:
    """A network's answers on all cells, and the pieces that `decompose` wrote."""
    net = storage.load(run.inputs["model"], network)
    inside, within = answers(net, shapes.voxels)
    stored = run.inputs["layers"] / f"{network.label}.parquet"
    found = pieces.read(stored, shapes.ids) if network.phase else []
    return Result(network, shapes.voxels.reshape(len(shapes), -1) > 0, inside, within, found)


@torch.no_grad()
def answers(net: BSPNet, voxels: UInt8[np.ndarray, "s ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Cells inside [s, n] and, for shapes in the plane, inside each convex [s, n, c] (in space [s, 0, c])."""
    inside, within = [], []
    for some in pieces.few(len(voxels), net.given.side, net.given.dims):
        h2 = net.grid_distances(torch.from_numpy(voxels[some]).float())
        inside.append(net.is_inside(h2).numpy())
        within.append((h2 < INSIDE)[:, : h2.shape[1] if net.given.dims == 2 else 0].numpy())
    return np.concatenate(inside), np.concatenate(within)


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    return float(np.mean(list(values)))


def row(run: Run[Params], result: Result, shapes: Shapes) -> dict[str, object]:
    """A row of the table of networks, its figures recorded as metrics too."""
    found: dict[str, float | None] = {"IoU": mean(result.iou)}
    measured = {"cells by pieces IoU", "pieces", "corners", "covering", "Chamfer", "closed"}
    if result.network.phase:
        found |= of_pieces(run, result, shapes)
    for name, value in found.items():
        if value is not None:
            run.metric(f"{name}/{result.network.label}", value)
    about = {"family": result.network.family, "seed": result.network.seed, "phase": result.network.phase}
    return {**about, **dict.fromkeys(sorted(measured)), **found}


def of_pieces(run: Run[Params], result: Result, shapes: Shapes) -> dict[str, float | None]:
    """Figures of a discrete network's pieces."""
    side, dims = result.network.architecture.side, result.network.architecture.dims
    drawn = np.array([pieces.rasterised(some, side, dims) for some in result.found])
    found: dict[str, float | None] = {
        "cells by pieces IoU": mean(scores.iou(drawn, result.inside)),
        "pieces": mean(map(len, result.found)),
        "corners": mean(map(scores.corners, result.found)),
    }
    if dims == 2:
        found["covering"] = mean(scores.covering(result.within, result.truth))
    if dims == 3:
        rng = run.generator(result.network.label)
        pairs = zip(shapes.voxels, result.found, strict=True)
        distances = [scores.chamfer(solid, some, rng) for solid, some in pairs if some]
        found["Chamfer"] = mean(distances) if distances else None
        closed = [scores.is_closed(piece) for some in result.found for piece in some]
        found["closed"] = mean(closed) if closed else None
    return found


def record_baseline(run: Run[Params], family: str, shapes: Shapes) -> None:
    """What copying the most similar shape of training would give."""
    train = read(run.inputs["data"], family, "train").voxels
    flat = [voxels.reshape(len(voxels), -1) > 0 for voxels in (shapes.voxels, train)]
    run.metric(f"IoU/{family}: most similar training shape", mean(scores.nearest(*flat)))


@torch.no_grad()
def record_view(run: Run[Params], network: storage.SavedNetwork, given: SingleView, shapes: Shapes) -> None:
    """How well shapes come back from one picture of each."""
    net, encoder = storage.load(run.inputs["model"], network), storage.load_view(run.inputs["model"], network)
    voxels = torch.from_numpy(shapes.voxels).float()
    picture = views.seen(voxels, given.noise, step_generator(run.params.seed, 0))
    few = pieces.few(len(voxels), net.given.side, net.given.dims)
    found = torch.cat([views.shapes_of(net, encoder(picture[some])) for some in few])
    ious = scores.iou(found.flatten(1).numpy(), voxels.flatten(1).numpy() > 0)
    run.metric(f"IoU from one view/{network.label}", mean(ious))
    rows = [picture, views.front(found.float()), views.front(voxels)]
    caption = f"{network.label}: pictures of held-out shapes, the fronts of what is made of them, and of the shapes."
    run.figure(f"view-{network.label}", views.shown(*(row[:SHOWN] for row in rows)), caption)


def headline(run: Run[Params], rows: Sequence[Mapping[str, object]]) -> float:
    """Mean IoU of each family's discrete networks; returns that of the figures, or of what there is."""
    found = {}
    for family in dict.fromkeys(str(row["family"]) for row in rows):
        discrete = [row for row in rows if row["family"] == family and row["phase"]]
        last = max((int(str(row["phase"])) for row in discrete), default=0)
        chosen = [row for row in rows if row["family"] == family and row["phase"] == last]
        found[family] = mean(float(str(row["IoU"])) for row in chosen)
        run.metric(f"headline/IoU: {family}", found[family])
    return found.get(FIGURES, mean(found.values()))


def record_checks(run: Run[Params], results: Sequence[Result], shapes: Shapes) -> None:
    """Checks 4 to 7 of the card, on the authors' figures, as means over the seeds."""
    by_phase = {phase: [result for result in results if result.network.phase == phase] for phase in (0, 1, MAIN)}
    main, seeds = by_phase[MAIN], len(by_phase[MAIN])
    if not main:
        return
    ious = {phase: mean(mean(result.iou) for result in some) for phase, some in by_phase.items() if some}
    run.hold("12.4", ious[MAIN], ">=", 0.9, "IoU of held-out figures after the discrete phase", seeds)
    run.hold("12.4", ious[0] - ious[MAIN], "<=", 0.05, "IoU lost from phase 0 to the discrete phase", seeds)
    used = mean(mean(map(len, result.found)) for result in main)
    run.hold("12.5", used, "<=", 16, "pieces a shape, of 32 convexes", seeds)
    share = mean(corner_share(result) for result in main)
    statement = "corners of the pieces as a share of those of marching squares on the same prediction"
    run.hold("12.5", share, "<", 0.2, statement, seeds)
    if by_phase[1]:
        record_overlap(run, by_phase[1], main, ious)
    share = mean(correspondence(result, shapes) for result in main)
    run.hold("12.7", share, ">=", 0.7, "share of figures whose diamond is mainly the same convex", seeds)


def record_overlap(
    run: Run[Params], plain: Sequence[Result], apart: Sequence[Result], ious: Mapping[int, float]
) -> None:
    """Check 6: what the overlap loss brings and costs."""
    before, after = (mean(mean(scores.covering(r.within, r.truth)) for r in some) for some in (plain, apart))
    statement = "convexes that cover an inside pixel, with the overlap loss less without"
    run.hold("12.6", after - before, "<", 0, statement, len(apart))
    run.hold("12.6", ious[1] - ious[MAIN], "<", 0.03, "IoU that the overlap loss costs", len(apart))


def corner_share(result: Result) -> float:
    """Corners of the pieces over corners of marching squares' contours of the same prediction, mean over shapes."""
    side = result.network.architecture.side
    contours = [scores.contour_corners(shape.reshape(side, side)) for shape in result.inside.astype(np.uint8)]
    return mean(map(scores.corners, result.found)) / max(1e-9, mean(contours))


def correspondence(result: Result, shapes: Shapes) -> float:
    """Share of shapes in which the diamond is mainly covered by the convex that most often is its main one."""
    cells = map(scores.diamond, shapes.parts)
    return scores.majority([scores.main_convex(w, some) for w, some in zip(result.within, cells, strict=True)])


def iou_curves(results: Sequence[Result]) -> Figure:
    """Share of shapes above each IoU, a curve a network."""
    lines = {}
    for result in results:
        best = np.sort(result.iou)[::-1]
        lines[result.network.label] = (best.tolist(), ((np.arange(len(best)) + 1) / len(best)).tolist())
    return pictures.curves(lines, "IoU", "share of shapes")


def draw(run: Run[Params], family: str, results: Sequence[Result], shapes: Shapes) -> None:
    """Input, phase 0, the last discrete phase and its convexes: a row each, of the first seed."""
    seed = results[0].network.seed
    mine = {result.network.phase: result for result in results if result.network.seed == seed}
    last = mine[max(mine)]
    rows = [shapes.voxels[:SHOWN]]
    rows += [mine[phase].inside[:SHOWN].reshape(rows[0].shape).astype(np.uint8) for phase in sorted({0, max(mine)})]
    caption = f"Rows: held-out {family}, phase 0, phase {max(mine)}, its convexes by index."
    if shapes.voxels.ndim == 3:
        bodies = [[(piece.convex, piece.corners) for piece in some] for some in last.found[:SHOWN]]
        painted = pictures.painted(bodies, shapes.voxels.shape[1]) if bodies else pictures.tiles(rows[0])
        run.figure(f"grid-{family}", grid([*map(pictures.tiles, rows), painted]), caption)
        return
    cells = [[[(pictures.surface(solid), pictures.GREY)] for solid in some] for some in rows]
    run.figure(f"grid-{family}", pictures.solids([*cells, list(map(pieces.painted, last.found[:SHOWN]))]), caption)
