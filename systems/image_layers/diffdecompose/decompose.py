"""decompose@diffdecompose: layers of the held-out composites, by every trained variant, and of any picture.

python -m stages decompose diffdecompose
python -m stages.decompose diffdecompose --image photo.png --out layers/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import UInt8
from pydantic import Field
from torch import Tensor

from systems.image_layers.diffdecompose import storage
from systems.image_layers.diffdecompose.module import Decomposer
from systems.image_layers.diffdecompose.pictures import decompose_image, predict
from systems.parts.errors import UserError
from systems.parts.grids import grid, on_checker
from systems.parts.pictures import image_column, write_table
from systems.parts.run import Run, Strict
from systems.parts.step_batches import step_generator
from systems.parts.tensors import pieces, to_numpy, to_uint8
from systems.parts.triplets import Triplets, read_triplets

__all__ = ["decompose", "decompose_image", "predict"]

BATCH = 64
SHOWN = 10


class Params(Strict):
    """Parameters of the decomposition."""

    data: str = Field(description="data set whose test split is taken apart")
    model: str = Field(description="trained model, as diffdecompose")
    weights: str = Field(default="", description="fetched networks; not used")
    seed: int = Field(default=0, ge=0, description="seed of the samples drawn")
    steps: int = Field(default=10, gt=0, description="Euler steps a sample")
    samples: int = Field(default=8, gt=0, description="samples of the best variant, to average; others have one")
    accelerator: Literal["auto", "cpu", "gpu"] = Field(default="cpu", description="where the network runs")
    precision: Literal["32-true", "bf16-mixed"] = Field(default="32-true", description="arithmetic of the network")


@dataclass(frozen=True)
class Batch:
    """Composites from row `start` of the test split, for the variant `label` to draw `samples` times each."""

    label: str
    samples: int
    start: int
    threads: int
    composites: UInt8[Tensor, "n 4 h w"]
    subtasks: list[str]
    prompts: list[str]


Layers = tuple[UInt8[Tensor, "n 4 h w"], UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]
"""Foreground and background of one sample, and the mean background of several."""


def decompose(run: Run[Params]) -> None:
    """Write `<variant>-<seed>.parquet`: id, fg, bg of one sample, and bg_mean of several for the best variant."""
    data = read_triplets(run.inputs["data"], "test")
    saved = storage.read_saved(run.inputs["model"])
    samples = {label: run.params.samples if _is_best(label, saved) else 1 for label in saved.variants}
    each = len(list(pieces(len(data.table), data.size, BATCH)))
    work, total = partial(draw, run.params), len(samples) * each
    drawn = run.map(work, batches(data, samples), "decompose", total, reads=["model"], alone=True)
    for label in samples:
        fg, bg, mean = (torch.cat(part) for part in zip(*islice(drawn, each), strict=True))
        columns = {"id": pa.array(data.strings("id")), "subtask": pa.array(data.strings("subtask"))}
        pictures = {"fg": fg, "bg": bg, **({"bg_mean": mean} if _is_best(label, saved) else {})}
        images = {name: image_column(to_numpy(picture)) for name, picture in pictures.items()}
        write_table(pa.table({**columns, **images}), run.output / f"{label}.parquet")
        run.figure(label, picture_of(data, fg, bg))


def _is_best(label: str, saved: storage.Saved) -> bool:
    return storage.variant_of(label) == storage.variant_of(saved.best)


def batches(data: Triplets, samples: Mapping[str, int]) -> Iterator[Batch]:
    """Every composite for every variant, in the order of `samples`."""
    composites, subtasks, prompts = data.layer("comp"), data.strings("subtask"), data.strings("prompt")
    for label, count in samples.items():
        for rows in pieces(len(composites), data.size, BATCH):
            given = composites[rows], subtasks[rows], prompts[rows]
            yield Batch(label, count, rows.start, torch.get_num_threads(), *given)


def device(accelerator: Literal["auto", "cpu", "gpu"]) -> str:
    """Name of the device in torch; a GPU that is not there is refused."""
    there = torch.cuda.is_available()
    if accelerator == "gpu" and not there:
        raise UserError("parameter accelerator = gpu: torch finds none; cpu or auto is wanted")
    return "cuda" if there and accelerator != "cpu" else "cpu"


@lru_cache(1)
def _decomposer(model: Path, label: str, place: str) -> Decomposer:
    """Loaded once for all batches of a variant."""
    return storage.load(model, label)[0].to(place)


def draw(params: Params, inputs: Mapping[str, Path], batch: Batch) -> Layers:
    """Layers of a batch; with as many threads as the stage has, since their number decides the last bits."""
    torch.set_num_threads(batch.threads)
    decomposer = _decomposer(inputs["model"], batch.label, device(params.accelerator))
    given = (batch.composites.float() / 255, batch.subtasks, batch.prompts, params.steps)
    generator = step_generator(params.seed, batch.start)
    with torch.autocast(device(params.accelerator), torch.bfloat16, params.precision == "bf16-mixed"):
        drawn = [decomposer.decompose(*given, generator) for _ in range(batch.samples)]
    mean = torch.stack([layers["y"][:, :3] for layers in drawn]).mean(0)
    return to_uint8(drawn[0]["x"]), to_uint8(drawn[0]["y"][:, :3]), to_uint8(mean)


def picture_of(data: Triplets, fg: Tensor, bg: Tensor) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of composite, true and estimated foreground, true and estimated background, a few of each sub-task."""
    rows = torch.from_numpy(np.linspace(0, len(fg) - 1, SHOWN).astype(int))
    shown = (data.pictures["comp"], data.pictures["fg"], fg, data.pictures["bg"], bg)
    return grid([on_checker(to_numpy(pictures[rows])) for pictures in shown])
