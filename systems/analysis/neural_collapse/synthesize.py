"""synthesize@neural_collapse: class-count vectors, and an imbalanced set of pictures with a balanced one held out.

python -m stages synthesize neural_collapse
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from systems.analysis.neural_collapse import cases
from systems.analysis.neural_collapse.cases import Case
from systems.parts.errors import UserError
from systems.parts.grids import grid
from systems.parts.labelled_pictures import Labelled, read, write
from systems.parts.run import Run, Strict

CIFAR_SIDE = 32
SHOWN = 8


class Params(Strict):
    """What is optimised directly, and what networks are trained on."""

    sources: str = Field(description="fetched labelled pictures, as fashion_mnist")
    cifar: str = Field(default="", description="folder of CIFAR-10's binary version, to use in place of `sources`")
    cases: Mapping[str, Case] = Field(min_length=1, description="class-count vectors, by name")
    counts: tuple[int, ...] = Field(min_length=2, description="training pictures of every class")
    test: int = Field(gt=0, description="held-out pictures of each class")


def synthesize(run: Run[Params]) -> None:
    """Write `cases.parquet`, `train.parquet` and `test.parquet`, pictures standing class by class."""
    params = run.params
    cases.write(run.output / "cases.parquet", params.cases)
    wanted = {"train": params.counts, "test": (params.test,) * len(params.counts)}
    for name, counts in run.track(wanted.items(), "synthesize"):
        stored = cifar(Path(params.cifar), name) if params.cifar else read(run.inputs["sources"], name)
        chosen = stored.first_of_each(counts)
        write(run.output, name, chosen)
        run.metric(f"pictures/{name}", len(chosen))
        run.figure(f"{name}-pictures", sheet(chosen, len(counts)), f"The first pictures of each class of {name}.")
    run.table("classes", pa.table({"class": range(len(params.counts)), "pictures": list(params.counts)}))


def sheet(labelled: Labelled, classes: int) -> np.ndarray:
    """A row of the first pictures of each class, fewer where the smallest class has fewer."""
    columns = min(SHOWN, int(np.bincount(labelled.labels, minlength=classes).min()))
    pictures = labelled.first_of_each([columns] * classes).pictures
    colour = pictures if pictures.ndim == 4 else pictures[..., None].repeat(3, -1)
    return grid(list(colour.reshape(classes, columns, *colour.shape[1:])), scale=2)


def cifar(folder: Path, name: str) -> Labelled:
    """CIFAR-10's binary version: records of a label byte and 3 x 32 x 32 values."""
    files = [f"data_batch_{number}.bin" for number in range(1, 6)] if name == "train" else ["test_batch.bin"]
    size = 1 + 3 * CIFAR_SIDE**2
    parts = []
    for file in files:
        path = folder / file
        if not path.is_file() or path.stat().st_size % size:
            raise UserError(f"parameter cifar = '{folder}': {file} of CIFAR-10's binary version is missing or cut off")
        parts.append(np.fromfile(path, np.uint8).reshape(-1, size))
    records = np.concatenate(parts)
    pictures = records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
    return Labelled(np.ascontiguousarray(pictures), records[:, 0].astype(np.int64))
