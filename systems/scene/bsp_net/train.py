"""train@bsp_net: for every family and seed, the continuous phase, each discrete one from its weights, single views.

python -m stages train bsp_net
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor

from systems.parts.errors import UserError
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches
from systems.scene.bsp_net import storage
from systems.scene.bsp_net.layers import check_phase
from systems.scene.bsp_net.module import FromView, Optimisation, Phase
from systems.scene.bsp_net.network import Architecture, BSPNet, check_architecture
from systems.scene.bsp_net.shapes import RESOLUTIONS, Family, Shapes, read
from systems.scene.bsp_net.views import SingleView, ViewEncoder

SHOWN = 8


class Fitting(Strict):
    """One way to train a family's networks."""

    architecture: Architecture = Field(description="size of the network")
    seeds: tuple[int, ...] = Field(default=(0,), description="seeds, a network each; none leaves the family out")
    phases: tuple[int, ...] = Field(default=(0, 2), description="0 first, then discrete ones, each from phase 0")
    continuous: Training = Field(description="training of phase 0, at each resolution")
    discrete: Training = Field(description="training of each discrete phase")
    optimisation: Optimisation = Field(default=Optimisation(), description="Adam in phase 0, and what it sees")
    discrete_optimisation: Optimisation = Field(default=Optimisation(), description="the same in discrete phases")
    resolutions: tuple[int, ...] = Field(
        default=(), description="grids of sampled points, coarse to fine (ShapeNet: 16, 32, 64); none: the shape's own"
    )
    single_view: SingleView | None = Field(
        default=None, description="an encoder of pictures that regresses the last phase's code; none where it is null"
    )


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set of shapes, as bsp_net")
    fits: Mapping[Family, Fitting] = Field(min_length=1, description="how each family is trained")

    @model_validator(mode="after")
    def _can_be_trained(self) -> Params:
        for family, fitting in self.fits.items():
            check_architecture(fitting.architecture, f"parameter fits.{family}.architecture:")
            check_phases(fitting.phases, f"fits.{family}.")
            for side in fitting.resolutions:
                if side not in RESOLUTIONS:
                    raise UserError(f"parameter fits.{family}.resolutions = {side}: one of 16, 32, 64 is wanted")
        return self


def check_phases(phases: tuple[int, ...], where: str = "") -> None:
    """Raise `UserError` unless all are phases and the first is 0, from which every other one starts."""
    for phase in phases:
        check_phase(phase)
    if phases[:1] != (0,) or 0 in phases[1:]:
        raise UserError(
            f"parameter {where}phases = {list(phases)}: 0 first is wanted, once; a discrete phase starts from a "
            "checkpoint of phase 0"
        )


def train(run: Run[Params]) -> None:
    """Train and save every network that `decompose` and `evaluate` compare."""
    networks = []
    for family, fitting in run.params.fits.items():
        if not fitting.seeds:
            continue
        shapes = read(run.inputs["data"], family, "train")
        check_shapes(shapes, fitting.architecture, family)
        for seed in fitting.seeds:
            networks += fit_seed(run, family, fitting, shapes, seed)
    storage.save(run.output, storage.Saved(networks=tuple(networks)))


def check_shapes(shapes: Shapes, architecture: Architecture, family: str) -> None:
    """Raise `UserError` where the network is made for shapes of another size."""
    found = shapes.voxels.shape[1:]
    wanted = (architecture.side,) * architecture.dims
    if found != wanted:
        sizes = [" x ".join(map(str, size)) for size in (found, wanted)]
        raise UserError(f"parameter fits.{family}.architecture: shapes of {sizes[0]} for a network of {sizes[1]}")


def fit_seed(
    run: Run[Params], family: Family, fitting: Fitting, shapes: Shapes, seed: int
) -> list[storage.SavedNetwork]:
    """All phases of one seed; returns what rebuilds each."""
    saved = []
    for phase in fitting.phases:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = BSPNet(fitting.architecture)
        if phase > 0:
            storage.load_weights(net, weights_of(run.output, family, seed, 0))
        net.enter(phase)
        for side in (fitting.resolutions if phase == 0 else fitting.resolutions[-1:]) or (0,):
            fit_phase(run, family, fitting, shapes, net, seed, side)
        storage.save_weights(net, weights_of(run.output, family, seed, phase))
        about = {"family": family, "seed": seed, "phase": phase, "architecture": fitting.architecture}
        saved.append(storage.SavedNetwork.model_validate(about))
    if fitting.single_view:
        fit_view(run, shapes, net, saved[-1], fitting.single_view)
        saved[-1] = saved[-1].model_copy(update={"single_view": fitting.single_view})
    return saved


def fit_view(run: Run[Params], shapes: Shapes, net: BSPNet, saved: storage.SavedNetwork, given: SingleView) -> None:
    """An encoder of pictures for a trained network."""
    with torch.random.fork_rng():
        torch.manual_seed(saved.seed)
        encoder = ViewEncoder(net.given)
    module = FromView(encoder, net, given, saved.seed, torch.from_numpy(shapes.voxels[:SHOWN]))
    batches = StepBatches(samples_of(shapes, 0), given.training.batch, given.training.steps, saved.seed)
    run.fit(module, batches, given.training, f"{saved.family}/view-{saved.seed}")
    storage.save_weights(encoder, run.output / f"{saved.view_label}.safetensors")


def weights_of(folder: Path, family: str, seed: int, phase: int) -> Path:
    """File of a network's weights."""
    return folder / f"{storage.label(family, seed, phase)}.safetensors"


def fit_phase(
    run: Run[Params], family: str, fitting: Fitting, shapes: Shapes, net: BSPNet, seed: int, side: int
) -> None:
    """One phase at one resolution; `side` 0 is the shapes' own grid."""
    training = fitting.discrete if net.phase else fitting.continuous
    optimisation = fitting.discrete_optimisation if net.phase else fitting.optimisation
    module = Phase(net, optimisation, training.steps, seed, torch.from_numpy(shapes.voxels[:SHOWN]))
    batches = StepBatches(samples_of(shapes, side), training.batch, training.steps, seed)
    label = f"{family}/phase{net.phase}-{seed}" + (f"-{side}" if side else "")
    run.fit(module, batches, training, label)


def samples_of(shapes: Shapes, side: int) -> dict[str, Tensor]:
    """Voxels and, at one of ShapeNet's resolutions, its sampled points with their values."""
    samples = {"voxels": torch.from_numpy(shapes.voxels)}
    if side:
        for kind in ("points", "values"):
            if f"{kind}_{side}" not in shapes.sampled:
                raise UserError(f"parameter resolutions = {side}: the data set has no {kind} sampled at {side}")
            samples[kind] = torch.from_numpy(shapes.sampled[f"{kind}_{side}"])
    return samples
