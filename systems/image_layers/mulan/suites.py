"""Great Expectations suites of what `decompose` wrote: each stack against its own picture, each annotation both ways.

Nothing here looks at how good layers are, only at what is true of any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from systems.image_layers.mulan import annotation
from systems.image_layers.mulan.measures import psnr
from systems.image_layers.mulan.order import RUNGS
from systems.image_layers.mulan.stack import Layer, Stack
from systems.image_layers.mulan.table import Kept, read_kept
from systems.parts.expectations import column, equal
from systems.parts.run import Run

FIELDS = ("captioning", "background", "image", "instances", *annotation.EXTRA)
RIGHT = "far to near"
LEAST_CLOSE = 1e-6
"""dB by which a stored PSNR may differ from what the stored layers give."""


def expect_sound(run: Run[Any], folder: Path, labels: Sequence[str]) -> None:
    """Hold the stacks of some runs, their annotations, and the table of what was set aside to their suites."""
    stacks: list[Mapping[str, Any]] = []
    notes: list[Mapping[str, Any]] = []
    for label in labels:
        for kept in read_kept(folder, label):
            stacks.append({"id": f"{label}/{kept.id}", **measured(kept)})
            path = folder / "annotations" / f"{label}-{kept.file}"
            if path.with_name(path.name + annotation.RELEASED).is_file():
                notes.append({"id": path.name, **compared(path, kept)})
    run.expect("layers", pa.Table.from_pylist(stacks), LAYERS)
    if notes:
        run.expect("annotations", pa.Table.from_pylist(notes), ANNOTATIONS)
    aside = pq.read_table(folder / "aside.parquet")
    if aside.num_rows:
        run.expect("set-aside", aside, ASIDE)


def measured(kept: Kept) -> Mapping[str, Any]:
    """What the suite LAYERS looks at in one stack."""
    stack, layers = kept.stack, kept.stack.layers
    background, *instances = layers
    orders = {rung: sorted(kept.orders[rung]) for rung in RUNGS}
    numbers = list(range(1, len(layers)))
    probabilities = [value for pair in stack.pairs for value in (pair.there, pair.back)]
    return {
        "layers": len(layers),
        "named": sum(bool(layer.label) for layer in layers),
        "boxed": 1 + sum(within(layer, kept.image.shape) for layer in instances),
        "backdrop": int(background.alpha.min()),
        "owners": pixels(np.sum([layer.visible for layer in layers], axis=0) != 1),
        "beyond": sum(pixels(layer.visible & ~layer.whole) for layer in layers),
        "altered": sum(pixels(layer.original[..., None] & (layer.colour != kept.image)) for layer in layers),
        "shown": sum(pixels(layer.original & ~(layer.visible & (layer.alpha == 255))) for layer in layers),
        "stained": sum(pixels((layer.alpha == 0)[..., None] & (layer.colour > 0)) for layer in layers),
        "order": RIGHT if list(kept.orders["mutual"]) == numbers else str(kept.orders["mutual"]),
        "rungs": sum(order == numbers for order in orders.values()),
        "crossed": sum(not 0 < lower < upper < len(layers) for lower, upper in stack.mutual),
        "unsure": sum(not 0 <= value <= 1 for value in probabilities),
        "psnr": kept.psnr,
        "off": abs(psnr(stack.flat(), kept.image) - kept.psnr),
    }


def pixels(where: np.ndarray) -> int:
    """How many."""
    return int(np.count_nonzero(where))


def within(layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether an instance has a box, and the box lies in the picture."""
    box = layer.box
    return box is not None and 0 <= box.x0 < box.x1 <= shape[1] and 0 <= box.y0 < box.y1 <= shape[0]


def compared(path: Path, kept: Kept) -> Mapping[str, Any]:
    """What the suite ANNOTATIONS looks at in the files of one picture; `path` is theirs without an ending."""
    released, twin = (
        annotation.read(path.with_name(path.name + end)) for end in (annotation.RELEASED, annotation.JSON)
    )
    parts = [twin["background"], *twin["instances"].values()]
    return {
        "missing": ", ".join(name for name in FIELDS if name not in twin),
        "version": twin.get("version"),
        "layers": len(kept.stack.layers),
        "captions": len(annotation.captions(twin)),
        "twins": alike(released, twin),
        "met": sum(pixels(part["original_image_mask"] & (part["inpainted_delta"] > 0)) for part in parts),
        "wrong": difference(annotation.rebuilt(kept.image, twin), kept.stack),
    }


def difference(rebuilt: Sequence[np.ndarray], stack: Stack) -> int:
    """Values in which rebuilt layers are not those of the stack, or all of a layer that is not there."""
    background, *instances = stack.layers
    wanted = [background.colour, *(layer.pixels for layer in instances)]
    if len(rebuilt) != len(wanted):
        return sum(layer.size for layer in wanted)
    return sum(pixels(one != other) for one, other in zip(rebuilt, wanted, strict=True))


def alike(value: Any, other: Any) -> bool:
    """Whether two annotations hold the same, in types of arrays too."""
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and value.dtype == other.dtype and np.array_equal(value, other)
    if isinstance(value, dict):
        return list(value) == list(other) and all(alike(value[key], other[key]) for key in value)
    return bool(value == other)


in_set, between = partial(column, "values_to_be_in_set"), partial(column, "values_to_be_between")
none = partial(in_set, value_set=[0])

LAYERS = [
    column("values_to_be_unique", "id", "a picture was taken apart twice in a run"),
    equal("layers", "named", "every layer has its label"),
    equal("layers", "boxed", "every instance has its box inside the picture"),
    in_set("backdrop", "nothing may shine through the background", value_set=[255]),
    none("owners", "every pixel is seen of exactly one layer"),
    none("beyond", "what is seen of a layer is a part of it"),
    none("altered", "what is marked as the picture's own has other colours (check 8.5)"),
    none("shown", "what is marked as the picture's own is not seen in full (check 8.5)"),
    none("stained", "colours under no alpha are black, so that files compress"),
    in_set("order", "layers stand in the order that the pipeline found", value_set=[RIGHT]),
    in_set("rungs", "an order leaves an instance out or has it twice", value_set=[len(RUNGS)]),
    none("crossed", "of a mutual pair the lower layer comes first"),
    none("unsure", "a probability lies in 0..1"),
    between("psnr", "dB of a flattened stack", min_value=0),
    between("off", "the stored layers are not those that were measured", max_value=LEAST_CLOSE),
]

ANNOTATIONS = [
    column("values_to_be_unique", "id", "an id names one annotation"),
    in_set("missing", "readers rely on these fields", value_set=[""]),
    in_set("version", "another version of the format", value_set=[annotation.VERSION]),
    equal("layers", "captions", "every layer has its caption"),
    in_set("twins", "the released encoding and its twin differ (check 8.6)", value_set=[True]),
    none("met", "the original mask and the painted colours meet (check 8.5)"),
    none("wrong", "the annotation does not give the layers back (check 8.6)"),
]

ASIDE = [
    column("values_to_not_be_null", "id", "a picture that is set aside is named"),
    column("value_lengths_to_be_between", "reason", "a picture is set aside for a reason", min_value=1),
]
