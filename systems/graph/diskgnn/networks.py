"""Trained networks as they are kept, safetensors beside one JSON, and their accuracy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from pydantic import Field, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from systems.graph.diskgnn.loader import MiniBatch
from systems.parts.errors import UserError
from systems.parts.graph_networks import GraphNetwork, NetworkParams
from systems.parts.run import Strict


class SavedModel(Strict):
    """model.json: what rebuilds every network."""

    system: str = "diskgnn"
    dim: int = Field(gt=0, description="floats a feature row")
    classes: int = Field(gt=0)
    fanouts: tuple[int, ...] = Field(description="of the sampling it was trained with, hop by hop from the seeds")
    networks: dict[str, NetworkParams] = Field(description="by label <variant>-<seed>")
    best: str = Field(description="variant that stands for the system")
    accuracies: dict[str, tuple[float, ...]] = Field(description="on watched validation nodes, before and after epochs")

    def labels(self, variant: str) -> list[str]:
        """Labels of a variant, a seed each."""
        return [label for label in self.networks if variant_of(label) == variant]

    @property
    def variants(self) -> list[str]:
        """Variants in the order they were trained."""
        return list(dict.fromkeys(map(variant_of, self.networks)))


def variant_of(label: str) -> str:
    """The variant in a label `<variant>-<seed>`."""
    return label.rsplit("-", 1)[0]


def save_network(folder: Path, label: str, network: GraphNetwork) -> None:
    """Keep the weights of one network."""
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, folder / f"{label}.safetensors"
    )


def save_model(folder: Path, saved: SavedModel) -> None:
    """Keep model.json."""
    (folder / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")


def read_model(folder: Path) -> SavedModel:
    """model.json, checked."""
    try:
        return SavedModel.model_validate_json((folder / "model.json").read_text())
    except (OSError, ValidationError) as error:
        raise UserError(f"model {folder}: not trained by diskgnn ({str(error).splitlines()[0]})") from error


def load_network(folder: Path, saved: SavedModel, label: str) -> GraphNetwork:
    """One trained network."""
    network = GraphNetwork(saved.networks[label], saved.dim, saved.classes, len(saved.fanouts))
    network.load_state_dict(load_file(folder / f"{label}.safetensors"))
    return network.requires_grad_(False)


@torch.no_grad()
def answers(network: GraphNetwork, batch: MiniBatch) -> Int[Tensor, " seeds"]:
    """The class that a network gives each seed."""
    classes: Tensor = network(batch.x, batch.blocks).argmax(1)
    return classes


def accuracy(network: GraphNetwork, batches: Iterable[MiniBatch]) -> float:
    """Share of the seeds of all batches whose class is right."""
    right = [answers(network, batch) == batch.labels for batch in batches]
    return float(torch.cat(right).float().mean())


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)
