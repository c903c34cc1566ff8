"""train@diskgnn: GraphSAGE on the stored mini-batches, and what it is compared with.

python -m stages train diskgnn
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from systems.graph.diskgnn import pictures
from systems.graph.diskgnn.dataset import Dataset, open_dataset
from systems.graph.diskgnn.loader import MiniBatch, StoredBatches, gathered
from systems.graph.diskgnn.module import NodeClassification
from systems.graph.diskgnn.networks import SavedModel, mean, save_model, save_network, variant_of
from systems.graph.diskgnn.storage import Layers, open_layers
from systems.parts.errors import UserError
from systems.parts.graph_networks import GraphNetwork, NetworkParams
from systems.parts.graph_sampling import Graph, Nodes, Sample, sample_blocks, within
from systems.parts.loader_threads import pipelined
from systems.parts.run import Run, Strict, Training
from systems.parts.step_stream import StepStream, of_epoch

Batches = Literal["stored", "fresh", "confined"]


class Variant(Strict):
    """One way to train."""

    batches: Batches = Field(
        default="stored",
        description="the stored samples every epoch, new ones, or new ones without edges between parts of the graph",
    )
    network: NetworkParams = Field(default=NetworkParams(), description="the network")
    seeds: tuple[int, ...] = Field(default=(0,), description="seeds, a network each; none leaves the variant out")


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set, as diskgnn")
    layers: str = Field(description="its packed mini-batches, as diskgnn")
    seed: int = Field(default=0, ge=0, description="seed of the samples that are drawn anew and of the nodes watched")
    training: Training = Field(description="training of every variant; its batch is that of the stored samples")
    lr: float = Field(default=1e-3, gt=0, description="step size of Adam")
    parts: int = Field(default=8, gt=0, description="parts of the graph that `confined` keeps apart")
    watched: int = Field(default=4096, gt=0, description="validation nodes whose accuracy is followed")
    direct: bool = Field(default=False, description="read packed features past the page cache (O_DIRECT)")
    variants: Mapping[str, Variant] = Field(min_length=1, description="ways to train, by name")
    best: str = Field(description="variant that stands for the system")

    @model_validator(mode="after")
    def _best_is_there(self) -> Params:
        trained = [name for name, variant in self.variants.items() if variant.seeds]
        if self.best not in trained:
            raise UserError(f"parameter best = {self.best}: one of {', '.join(trained)} is wanted")
        return self

    @model_validator(mode="after")
    def _one_process(self) -> Params:
        if self.training.processes > 1:
            raise UserError(f"parameter training.devices = {self.training.devices}: a stored batch is for one device")
        return self


def train(run: Run[Params]) -> None:
    """Train every variant with every seed and keep all networks."""
    data, layers = open_dataset(run.inputs["data"]), open_layers(run.inputs["layers"])
    check_fit(run.params, data, layers)
    watched = watched_batches(run, data, layers)
    curves: dict[str, list[float]] = {}
    for name, variant in run.params.variants.items():
        for seed in variant.seeds:
            label = f"{name}-{seed}"
            module = new_module(run.params, data, layers, variant.network, seed, watched)
            loader = Loader(run, data, layers, variant.batches, seed)
            run.fit(module, StepStream(run.params.training.steps, loader.load), run.params.training, label)
            network = module.network.cpu()
            curves[label] = [*module.accuracies, module.watch()]
            save_network(run.output, label, network)
    record(run, curves, layers.saved.batches)
    saved = SavedModel(
        dim=data.meta.dim,
        classes=data.meta.classes,
        fanouts=layers.saved.fanouts,
        networks={label: run.params.variants[variant_of(label)].network for label in curves},
        best=run.params.best,
        accuracies={label: tuple(curve) for label, curve in curves.items()},
    )
    save_model(run.output, saved)


def check_fit(params: Params, data: Dataset, layers: Layers) -> None:
    """Refuse stored batches of another data set or of another size than the training's."""
    saved = layers.saved
    if (saved.nodes, saved.dim) != (data.meta.nodes, data.meta.dim):
        raise UserError(f"parameter layers = {params.layers}: packed from other data than {params.data}")
    if saved.batch != params.training.batch:
        raise UserError(f"parameter training.batch = {params.training.batch}: {saved.batch}, as stored, is wanted")


def new_module(
    params: Params, data: Dataset, layers: Layers, network: NetworkParams, seed: int, watched: list[MiniBatch]
) -> NodeClassification:
    """A fresh network with how it is trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = GraphNetwork(network, data.meta.dim, data.meta.classes, len(layers.saved.fanouts))
    return NodeClassification(fresh, params.lr, seed, layers.saved.batches, watched)


def watched_batches(run: Run[Params], data: Dataset, layers: Layers) -> list[MiniBatch]:
    """Samples of some validation nodes, the same for all."""
    rng = run.generator("watched")
    nodes = rng.permutation(data.of("validation"))[: run.params.watched]
    pieces = [nodes[start : start + layers.saved.batch] for start in range(0, len(nodes), layers.saved.batch)]
    samples = (sample_blocks(data.graph, some, layers.saved.fanouts, rng) for some in pieces)
    return [gathered(sample, data.features, data.labels) for sample in samples]


def confined(graph: Graph, parts: int) -> Graph:
    """The graph cut into equal parts along an order that keeps neighbours close, without the edges between them."""
    ones = np.ones(len(graph.indices), np.int8)
    matrix = csr_array((ones, graph.indices, graph.indptr), shape=(graph.nodes, graph.nodes))
    order = reverse_cuthill_mckee(matrix, symmetric_mode=True)
    part = np.empty(graph.nodes, np.int64)
    part[order] = np.arange(graph.nodes) * parts // graph.nodes
    return within(graph, part)


class Loader:
    """Makes the batches of a range of steps, as `StepStream` asks for them."""

    def __init__(self, run: Run[Params], data: Dataset, layers: Layers, batches: Batches, seed: int) -> None:
        self.run, self.data, self.layers, self.seed = run, data, layers, seed
        self.load = self.stored if batches == "stored" else self.fresh
        self.graph = confined(data.graph, run.params.parts) if batches == "confined" else data.graph

    def stored(self, steps: range) -> Iterator[MiniBatch]:
        """The stored batches, in a fresh order every epoch."""
        training = self.run.params.training
        device = torch.device("cuda" if training.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
        batches = StoredBatches(self.layers, self.data.labels, device, self.run.params.direct)
        return batches.load(of_epoch(self.layers.saved.batches, self.seed, step) for step in steps)

    def fresh(self, steps: range) -> Iterator[MiniBatch]:
        """New batches and samples every epoch, with features read at random."""
        return pipelined(steps, (self.sample, self.gather))

    def sample(self, step: int) -> Sample:
        """The sample of one step."""
        epoch, place = divmod(step, self.layers.saved.batches)
        order = self.run.generator("order", self.seed, epoch).permutation(self.data.of("train"))
        seeds: Nodes = order[place * self.layers.saved.batch :][: self.layers.saved.batch]
        return sample_blocks(self.graph, seeds, self.layers.saved.fanouts, self.run.generator("step", self.seed, step))

    def gather(self, sample: Sample) -> MiniBatch:
        """The sample with its features."""
        return gathered(sample, self.data.features, self.data.labels)


def record(run: Run[Params], curves: Mapping[str, list[float]], epoch: int) -> None:
    """Curves of accuracy, and their ends."""
    by_variant: dict[str, list[list[float]]] = {}
    for label, curve in curves.items():
        by_variant.setdefault(variant_of(label), []).append(curve)
        for done, value in enumerate(curve):
            run.metric(f"{label}/accuracy", value, min(done * epoch, run.params.training.steps))
    for name, seeds in by_variant.items():
        run.metric(f"validation accuracy/{name}", mean([curve[-1] for curve in seeds]))
    caption = "Accuracy on the same validation nodes after each epoch, a line a seed."
    run.figure("accuracy", pictures.accuracies(by_variant), caption=caption)
