"""train@neural_collapse: direct descent on every case, then networks of every depth and seed.

python -m stages train neural_collapse
"""

from __future__ import annotations

import json

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from systems.analysis.neural_collapse import cases
from systems.analysis.neural_collapse.cases import Direct
from systems.analysis.neural_collapse.free import Descent, descend
from systems.analysis.neural_collapse.geometry import MEASURES
from systems.analysis.neural_collapse.network import Architecture, CollapseTraining, Optimisation, WholeBatches
from systems.analysis.neural_collapse.storage import Saved, as_input, label
from systems.parts.errors import UserError
from systems.parts.labelled_pictures import read_file
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set, as neural_collapse")
    direct: Descent = Field(description="descent on free features and weights")
    architecture: Architecture = Field(description="the networks' backbone")
    depths: tuple[int, ...] = Field(min_length=1, description="linear layers behind the backbone, a network each")
    seeds: tuple[int, ...] = Field(min_length=1, description="seeds of every depth")
    lambda_w: float = Field(gt=0, description="decay of every linear layer of the tail")
    lambda_h: float = Field(gt=0, description="decay of the features, summed over all samples")
    optimisation: Optimisation = Field(description="optimiser of the networks")
    training: Training = Field(description="training of every network; a batch of all samples is taken as it is")
    measure_every: int = Field(default=20, gt=0, description="steps between two points of the networks' curves")


def train(run: Run[Params]) -> None:
    """Optimise and save every run."""
    # Weights that vanish would otherwise slow the processor down many times over.
    torch.set_flush_denormal(True)
    pictures, labels = as_input(read_file(run.inputs["data"] / "train.parquet"))
    saved = saved_as(run.params, pictures, labels)
    (run.output / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")
    for direct in cases.read(run.inputs["data"] / "cases.parquet"):
        optimise(run, direct)
    for depth in saved.depths:
        for seed in saved.seeds:
            fit(run, saved, pictures, labels, depth, seed)


def saved_as(params: Params, pictures: Tensor, labels: Tensor) -> Saved:
    """What model.json says."""
    if params.training.batch > len(labels):
        raise UserError(f"parameter training.batch = {params.training.batch}: there are {len(labels)} pictures")
    return Saved(
        architecture=params.architecture,
        channels=pictures.shape[1],
        side=pictures.shape[2],
        counts=tuple(labels.bincount().tolist()),
        depths=params.depths,
        seeds=params.seeds,
        lambda_w=params.lambda_w,
        lambda_h=params.lambda_h,
        measure_every=params.measure_every,
        direct_seeds=params.direct.seeds,
        direct_every=params.direct.measure_every,
    )


def optimise(run: Run[Params], direct: Direct) -> None:
    """One case, all seeds at once."""
    descent = run.params.direct
    gpu = run.params.training.accelerator == "gpu"
    free, history = descend(direct, descent, run.track(range(descent.steps), direct.id), "cuda" if gpu else "cpu")
    save_file({**free.named(), "history": history}, run.output / f"direct-{direct.id}.safetensors")
    record(run, f"direct/{direct.id}", history[0], descent.measure_every)


def fit(run: Run[Params], saved: Saved, pictures: Tensor, labels: Tensor, depth: int, seed: int) -> None:
    """One network."""
    params, training, name = run.params, run.params.training, label(depth, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = saved.network(depth)
    solution = saved.solution(depth)
    module = CollapseTraining(network, solution, params.optimisation, training.steps, params.measure_every)
    samples = {"picture": pictures, "label": labels}
    whole = training.batch == len(labels)
    batches = (
        WholeBatches(samples, training.steps) if whole else StepBatches(samples, training.batch, training.steps, seed)
    )
    run.fit(module, batches, training, name)
    history = module.history.cpu()
    record(run, name, history, params.measure_every)
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file({**weights, "history": history}, run.output / f"{name}.safetensors")


def record(run: Run[Params], name: str, history: Tensor, every: int) -> None:
    """The measures as curves."""
    for place, row in enumerate(history.tolist()):
        for what, value in zip(MEASURES, row, strict=True):
            run.metric(f"{name}/{what}", value, place * every)
