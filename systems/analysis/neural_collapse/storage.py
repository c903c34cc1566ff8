"""How runs are kept: safetensors a run beside one model.json that rebuilds the networks; tails taken out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from pydantic import Field, computed_field
from safetensors.torch import load_file, save_file
from torch import Tensor

from systems.analysis.neural_collapse.cases import Direct, read
from systems.analysis.neural_collapse.closed_form import Problem, Solution, solve
from systems.analysis.neural_collapse.geometry import Tail
from systems.analysis.neural_collapse.network import Architecture, Network
from systems.parts.errors import UserError
from systems.parts.labelled_pictures import Labelled
from systems.parts.run import Strict


class Saved(Strict):
    """model.json."""

    system: str = "neural_collapse"
    architecture: Architecture
    channels: int
    side: int
    counts: tuple[int, ...]
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    lambda_w: float
    lambda_h: float
    measure_every: int = Field(description="steps between two points of the networks' curves")
    direct_seeds: tuple[int, ...]
    direct_every: int = Field(description="steps between two points of the direct runs' curves")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Batch of pictures in 0..1 that `decompose.predict` takes, channels last."""
        return None, self.side, self.side, self.channels

    @computed_field  # type: ignore[prop-decorator]
    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """An answer a class; the largest is the net's choice."""
        return None, len(self.counts)

    def solution(self, depth: int) -> Solution:
        """What a tail of `depth` layers should come to."""
        about = {"counts": self.counts, "lambda_w": self.lambda_w, "lambda_h": self.lambda_h}
        return solve(Problem.model_validate({**about, "depth": depth, "width": self.architecture.width}))

    def network(self, depth: int) -> Network:
        """A fresh network."""
        return Network(self.architecture, self.channels, self.side, len(self.counts), depth)


def label(depth: int, seed: int) -> str:
    """Name of a network's run."""
    return f"net-m{depth}-{seed}"


def as_input(labelled: Labelled) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
    """Pictures in 0..1, channels first, and their classes."""
    pictures = torch.from_numpy(labelled.pictures)
    pictures = pictures[:, None] if pictures.dim() == 3 else pictures.movedim(-1, 1)
    return pictures.float() / 255, torch.from_numpy(labelled.labels)


def read_saved(folder: Path) -> Saved:
    """model.json, checked."""
    path = folder / "model.json"
    try:
        described = json.loads(path.read_text())
        return Saved.model_validate({key: described[key] for key in Saved.model_fields})
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"model {path}: not a neural_collapse model; train it first ({first})") from error


def load_network(folder: Path, depth: int, seed: int) -> Network:
    """A trained network."""
    network = read_saved(folder).network(depth)
    tensors = load_file(folder / f"{label(depth, seed)}.safetensors")
    network.load_state_dict({name: value for name, value in tensors.items() if name != "history"})
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Named:
    """One run by name: what should come out, and for a direct run which case it is of."""

    id: str
    depth: int
    seed: int
    solution: Solution
    direct: Direct | None = None

    @property
    def group(self) -> str:
        """Name without the seed."""
        return self.id.rpartition("-")[0]


def runs(data: Path, saved: Saved) -> Iterator[Named]:
    """Every run: all seeds of the direct cases, then of the networks."""
    for direct in read(data / "cases.parquet"):
        solution = solve(direct.problem)
        for seed in saved.direct_seeds:
            yield Named(f"{direct.id}-{seed}", direct.problem.depth, seed, solution, direct)
    for depth in saved.depths:
        for seed in saved.seeds:
            yield Named(label(depth, seed), depth, seed, saved.solution(depth))


def write_tail(path: Path, tail: Tail, bias: Tensor | None) -> None:
    """Features, classes, layers, products of layers and class means of one run."""
    layers = {f"layer_{number}": layer.float() for number, layer in enumerate(tail.layers, 1)}
    products = {f"product_{number}": product.float() for number, product in enumerate(tail.products, 1)}
    whole = {"features": tail.features, "labels": tail.labels, "means": tail.means.float(), **layers, **products}
    whole |= {} if bias is None else {"bias": bias}
    save_file({name: value.contiguous().clone() for name, value in whole.items()}, path)


def read_tail(path: Path, depth: int) -> tuple[Tail, Tensor | None]:
    """A tail and its bias, if it has one."""
    if not path.is_file():
        raise UserError(f"layers {path}: not there; decompose first")
    tensors = load_file(path)
    layers = [tensors[f"layer_{number}"] for number in range(1, depth + 1)]
    return Tail(tensors["features"], tensors["labels"], layers), tensors.get("bias")
