"""decompose@neural_collapse: every run's tail taken apart into W_M .. W_1, their products and the class means.

python -m stages decompose neural_collapse
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from systems.analysis.neural_collapse import storage
from systems.analysis.neural_collapse.drawing import products_figure
from systems.analysis.neural_collapse.free import from_named, labels_of
from systems.analysis.neural_collapse.geometry import Tail
from systems.analysis.neural_collapse.storage import Named, as_input, load_network, read_saved
from systems.parts.labelled_pictures import read_file
from systems.parts.run import Run, Strict

AT_ONCE = 256


class Params(Strict):
    """What is taken apart."""

    data: str = Field(description="data set, as neural_collapse")
    model: str = Field(description="trained runs, as neural_collapse")


def decompose(run: Run[Params]) -> None:
    """Write `<run>.safetensors` for every direct run and network."""
    data, model = run.inputs["data"], run.inputs["model"]
    saved = read_saved(model)
    deepest: Tail | None = None
    for named in run.track(list(storage.runs(data, saved)), "decompose"):
        tail, bias = direct_tail(model, named, saved) if named.direct else (network_tail(model, data, named), None)
        storage.write_tail(run.output / f"{named.id}.safetensors", tail, bias)
        if deepest is None or len(tail.layers) > len(deepest.layers) or not named.direct:
            deepest = tail
    if deepest is not None:
        words = "Inner products of the rows of W_M, W_M W_M-1, ... of the deepest network's last seed."
        run.figure("products", products_figure(deepest), words)


def direct_tail(model: Path, named: Named, saved: storage.Saved) -> tuple[Tail, Tensor | None]:
    """The tail of a direct run, and its bias."""
    free = from_named(load_file(model / f"direct-{named.group}.safetensors"), named.depth)
    place = saved.direct_seeds.index(named.seed)
    bias = None if free.bias is None else free.bias[place, :, 0]
    return free.tail(place, labels_of(named.solution.problem.counts)), bias


def network_tail(model: Path, data: Path, named: Named) -> Tail:
    """The tail of a network behind its features of the training pictures."""
    network = load_network(model, named.depth, named.seed)
    pictures, labels = as_input(read_file(data / "train.parquet"))
    with torch.no_grad():
        features = torch.cat([network.backbone(part) for part in torch.split(pictures, AT_ONCE)]).T
    return Tail(features, labels, [layer.detach() for layer in network.layers])


@torch.no_grad()
def predict(folder: Path, batch: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n k"]:
    """Answers of the first network for pictures in 0..1."""
    saved = read_saved(folder)
    network = load_network(folder, saved.depths[0], saved.seeds[0])
    answers: Float[np.ndarray, "n k"] = network(torch.as_tensor(batch, dtype=torch.float32).movedim(-1, 1)).numpy()
    return answers
