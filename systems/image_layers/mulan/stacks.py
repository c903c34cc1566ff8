"""Stacks as layered files know them: names that files can have, and every layer cut to what there is of it.

python -m stages.export mulan --rows 0:4 --format psd --out samples/
python -m stages.export mulan --split photographs-learned --format ora --out photographs/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from systems.image_layers.mulan import stack as taken
from systems.image_layers.mulan.table import PHOTOGRAPHS, read_kept, runs_of
from systems.parts.errors import UserError
from systems.parts.layered_files.stack import Layer, Stack, trimmed

SPLIT, PREFERRED = "test", "learned"
LONGEST = 50
"""Characters of a label in a layer's name."""


def stacks(_: Path, layers: Path | None, split: str, rows: range) -> Iterator[tuple[str, Stack]]:
    """File name and layers of some pictures of one run of the pipeline; split `test` is the first over scenes."""
    if layers is None:
        raise UserError("system 'mulan' has no parameters of decompose: no layers are stored")
    for kept in islice(read_kept(layers, run_of(layers, split)), rows.start, rows.stop):
        yield kept.file, layered(kept.stack)


def run_of(layers: Path, split: str) -> str:
    """The run that a split names: itself, as photographs-learned, or for `test` one over scenes."""
    runs = runs_of(layers)
    scenes = sorted((run for run in runs if not run.startswith(PHOTOGRAPHS)), key=lambda run: PREFERRED not in run)
    found = scenes[:1] if split == SPLIT else [run for run in runs if run == split]
    if not found:
        raise UserError(f"--split {split}: one of {', '.join([SPLIT, *runs])} is wanted")
    return found[0]


def layered(stack: taken.Stack) -> Stack:
    """The stack with occlusion-altered alpha; it flattens to the same picture."""
    height, width = stack.layers[0].alpha.shape
    names = names_of([layer.label for layer in stack.layers])
    parts = zip(names, stack.layers, strict=True)
    return Stack((width, height), tuple(trimmed(Layer(name, layer.pixels)) for name, layer in parts))


def names_of(labels: Sequence[str]) -> list[str]:
    """`background`, then instances by number and label, from far to near; each can be a file's name."""
    return ["background", *(f"{number}-{slug(label)}" for number, label in enumerate(labels[1:], 1))]


def slug(label: str) -> str:
    """A label as a part of a name."""
    return re.sub(r"\W+", "-", label.lower()).strip("-")[:LONGEST] or "instance"
