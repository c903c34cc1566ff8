"""evaluate@neural_collapse: every run's tail held against the closed form, and the acceptance checks of card 15.

python -m stages evaluate neural_collapse
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from systems.analysis.neural_collapse import drawing, storage
from systems.analysis.neural_collapse.geometry import MEASURES, Tail, measure, objective, verdict
from systems.analysis.neural_collapse.storage import Named, Saved, as_input, load_network, read_saved, read_tail
from systems.parts import collapse
from systems.parts.labelled_pictures import read_file
from systems.parts.run import SCORE, Op, Run, Strict

EARLY = 20
"""The step against which the collapse of a network is measured."""
MINORITY = "minority-"
"""How the cases are named that ask which classes vanish."""


class Params(Strict):
    """What is evaluated."""

    data: str = Field(description="data set, as neural_collapse")
    model: str = Field(description="trained runs, as neural_collapse")
    layers: str = Field(description="tails taken out of them, as neural_collapse")


@dataclass(frozen=True)
class Outcome:
    """One run with all that is measured of it."""

    named: Named
    tail: Tail
    loss: float
    measured: dict[str, float]

    @property
    def excess(self) -> float:
        """Loss over the closed form's, less one."""
        return self.loss / self.named.solution.loss - 1

    @property
    def shares(self) -> Tensor:
        """Length of every class over the longest, the larger one of weights and class means."""
        parts = (self.tail.weight.norm(dim=1), self.tail.means.norm(dim=0))
        return torch.stack([lengths / lengths.max() for lengths in parts]).amax(0)


def evaluate(run: Run[Params]) -> None:
    """Measure, record the checks and draw."""
    saved = read_saved(run.inputs["model"])
    found = outcomes(run, saved)
    run.table("runs", pa.Table.from_pylist([row_of(outcome) for outcome in found]))
    direct = [outcome for outcome in found if outcome.named.direct]
    networks = [outcome for outcome in found if not outcome.named.direct]
    check_oracle(run, of_case(direct, "imbalanced"))
    check_balanced(run, direct)
    check_minority(run, [outcome for outcome in direct if outcome.named.group.startswith(MINORITY)])
    check_networks(run, networks, saved)
    record_held_out(run, saved)
    draw(run, saved, direct, networks)


def outcomes(run: Run[Params], saved: Saved) -> list[Outcome]:
    """Every run, measured."""
    found = []
    for named in run.track(list(storage.runs(run.inputs["data"], saved)), "measure"):
        tail, bias = read_tail(run.inputs["layers"] / f"{named.id}.safetensors", named.depth)
        found.append(Outcome(named, tail, objective(tail, named.solution, bias), measure(tail, named.solution)))
    return found


def row_of(outcome: Outcome) -> dict[str, object]:
    """A line of the table of runs; where there is no closed form, nothing is said of one."""
    named = outcome.named
    solved = named.direct is None or named.direct.solved
    return {
        "run": named.id,
        "counts": " ".join(map(str, named.solution.problem.counts)),
        "depth": named.depth,
        "loss": f"{outcome.loss:.7g}" if solved else "",
        "closed form": f"{named.solution.loss:.7g}" if solved else "",
        **{name: f"{outcome.measured[name]:.3g}" for name in MEASURES},
        **{f"NC1 at layer {place}": value for place, value in layer_spreads(outcome).items()},
        "vanished": " ".join(map(str, outcome.tail.collapsed())),
        "verdict": verdict(outcome.tail, named.solution) if solved else "",
    }


def layer_spreads(outcome: Outcome, most: int = 3) -> dict[int, str]:
    """NC1 at the input of the first layers of the tail, as text; empty where there is no such layer."""
    keep = outcome.named.solution.surviving or range(len(outcome.tail.weight))
    inputs = outcome.tail.inputs[:most]
    values = [f"{collapse.nc1(entered, outcome.tail.labels, keep):.3g}" for entered in inputs]
    return dict(enumerate([*values, *[""] * (most - len(values))], 1))


def of_case(direct: Sequence[Outcome], case: str) -> list[Outcome]:
    """Runs of one case, all depths and seeds."""
    return [outcome for outcome in direct if outcome.named.direct and outcome.named.direct.case == case]


def by_depth(found: Sequence[Outcome]) -> dict[int, list[Outcome]]:
    """Runs by the number of layers."""
    depths = sorted({outcome.named.depth for outcome in found})
    return {depth: [outcome for outcome in found if outcome.named.depth == depth] for depth in depths}


def hold(
    run: Run[Params],
    check: str,
    group: Sequence[Outcome],
    value: Callable[[Outcome], float],
    op: Op,
    bound: float,
    words: str,
) -> None:
    """Record a check for the worst of a group's seeds."""
    values = [value(outcome) for outcome in group]
    worst = max(values) if op in ("<", "<=") else min(values)
    run.hold(check, worst, op, bound, f"M = {group[0].named.depth}: {words}, worst seed", len(group))


def check_oracle(run: Run[Params], found: Sequence[Outcome]) -> None:
    """15.1: loss and geometry of the imbalanced runs."""
    for group in by_depth(found).values():
        hold(run, "15.1", group, lambda o: abs(o.excess), "<=", 1e-4, "loss over the closed form's, less one")
        hold(run, "15.1", group, lambda o: o.measured["NC1"], "<", 1e-6, "NC1")
        hold(run, "15.1", group, lambda o: o.measured["NC2 GOF"], "<", 1e-2, "NC2 against the predicted frame")
        hold(run, "15.1", group, diagonal_error, "<=", 0.01, "relative error of the diagonal of W W^T")


def diagonal_error(outcome: Outcome) -> float:
    """Largest relative error of the squared lengths of the classes that survive."""
    keep = list(outcome.named.solution.surviving)
    wanted = torch.from_numpy(outcome.named.solution.strength)[keep]
    return float((outcome.tail.weight.square().sum(1)[keep] / wanted - 1).abs().max())


def check_balanced(run: Run[Params], direct: Sequence[Outcome]) -> None:
    """15.2: which frame balanced classes form, without and with a bias in the last layer."""
    for case, near, far in (("balanced", "NC2 OF", "NC2 ETF"), ("balanced-bias", "NC2 ETF", "NC2 OF")):
        for group in by_depth(of_case(direct, case)).values():
            hold(run, "15.2", group, lambda o, name=near: o.measured[name], "<", 1e-2, f"{case}: {near}")  # type: ignore[misc]
            hold(run, "15.2", group, lambda o, name=far: o.measured[name], ">", 0.1, f"{case}: {far}")  # type: ignore[misc]


def check_minority(run: Run[Params], found: Sequence[Outcome]) -> None:
    """15.3: which classes vanish."""
    dropped = [outcome.shares[number] for outcome in found for number in outcome.named.solution.collapsed]
    kept = [outcome.shares[number] for outcome in found for number in outcome.named.solution.surviving]
    differing = sum(outcome.tail.collapsed() != outcome.named.solution.collapsed for outcome in found)
    seeds = len({outcome.named.seed for outcome in found})
    vectors = {outcome.named.solution.problem.counts for outcome in found}
    if dropped:
        words = "length of a class below the threshold over the longest, weights and features, worst run"
        run.hold("15.3", float(max(dropped)), "<", 1e-3, words, seeds)
    if kept:
        words = "length of a class above the threshold over the longest, worst run"
        run.hold("15.3", float(min(kept)), ">", 1e-3, words, seeds)
    run.hold("15.3", differing, "==", 0, "runs whose vanished classes are not the predicted ones", seeds)
    run.hold("15.3", len(vectors), ">=", 6, "count vectors tried", seeds)


def check_networks(run: Run[Params], networks: Sequence[Outcome], saved: Saved) -> None:
    """15.5: the tails of trained networks."""
    for depth, group in by_depth(networks).items():
        early = {o.named.id: early_nc1(run.inputs["model"], o.named.id, saved) for o in group}
        hold(run, "15.5", group, lambda o: o.measured["NC1"], "<", 1e-3, "NC1")
        fall = "NC1 at step 20 over that at the end"
        hold(run, "15.5", group, lambda o, then=early: then[o.named.id] / o.measured["NC1"], ">=", 100, fall)  # type: ignore[misc]
        hold(run, "15.5", group, lambda o: o.measured["NC2 GOF"], "<", 0.1, "NC2 against the predicted frame")
        share = "NC2 against the predicted frame over that against equal lengths"
        hold(run, "15.5", group, lambda o: o.measured["NC2 GOF"] / o.measured["NC2 OF"], "<=", 0.5, share)
        hold(run, "15.5", group, lambda o: o.excess, ">=", 0, "loss over the closed form's, less one")
        hold(run, "15.5", group, lambda o: o.excess, "<=", 0.3, "loss over the closed form's, less one")
        for name in ("NC1", "NC2 GOF"):
            run.metric(f"headline/networks, M = {depth}: {name}", float(np.mean([o.measured[name] for o in group])))


def early_nc1(model: Path, name: str, saved: Saved) -> float:
    """NC1 of a network near step `EARLY`."""
    history = load_file(model / f"{name}.safetensors")["history"]
    return float(history[min(EARLY // saved.measure_every, len(history) - 1), MEASURES.index("NC1")])


@torch.no_grad()
def record_held_out(run: Run[Params], saved: Saved) -> None:
    """Share of the held-out pictures that the networks get wrong, and how far their features collapse there."""
    pictures, labels = as_input(read_file(run.inputs["data"] / "test.parquet"))
    errors = []
    for depth in saved.depths:
        spreads = []
        for seed in saved.seeds:
            network = load_network(run.inputs["model"], depth, seed)
            features = network.backbone(pictures)
            errors.append(float((network.tail(features).argmax(1) != labels).float().mean()))
            spreads.append(collapse.nc1(features.T, labels, range(len(saved.counts))))
        run.metric(f"held-out/NC1, M = {depth}", float(np.mean(spreads)))
    run.metric(SCORE, float(np.mean(errors)))
    run.metric("headline/held-out error of the networks", float(np.mean(errors)))


def draw(run: Run[Params], saved: Saved, direct: Sequence[Outcome], networks: Sequence[Outcome]) -> None:
    """Curves, Gram matrices, lengths and the grid of vanishing classes; of every group the first seed."""
    model = run.inputs["model"]
    histories = {
        f"networks, M = {depth}": [load_file(model / f"{o.named.id}.safetensors")["history"] for o in group]
        for depth, group in by_depth(networks).items()
    }
    every = dict.fromkeys(histories, saved.measure_every)
    words = "Networks over training: mean over seeds and their range; OF is the frame of equal lengths."
    run.figure("collapse-curves", drawing.curves_figure(histories, every), words)
    first = {o.named.group: (o.tail, o.named.solution) for o in reversed([*networks, *of_case(direct, "imbalanced")])}
    shown = dict(sorted(first.items()))
    words = "Gram matrices of class means and of the rows of W, measured beside the closed form."
    run.figure("gram-matrices", drawing.grams_figure(shown), words)
    words = "Squared length of every class's row of W, predicted and observed."
    run.figure("lengths", drawing.lengths_figure(shown), words)
    minority = {o.named.group: (o.tail, o.named.solution) for o in direct if o.named.group.startswith(MINORITY)}
    if minority:
        words = "Which classes vanish: length of each class's row of W; a cross marks those predicted to vanish."
        run.figure("minority-collapse", drawing.minority_figure(minority), words)
