"""What layers are worth: against the picture they came from, and against a scene that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.order import RUNGS, Rung
from systems.image_layers.mulan.providers import Picture
from systems.image_layers.mulan.scenes import Scene, flatten
from systems.image_layers.mulan.stack import Stack
from systems.image_layers.mulan.table import Kept

BEST = 99.0
"""PSNR of equal pictures, dB."""
SAME = 0.5
"""IoU of visible masks from which an instance is the scene's own."""
ALTERED = "altered alpha"
LADDER = (*RUNGS, ALTERED)


def psnr_of(squared: float) -> float:
    """dB of a mean squared error of 0..255."""
    return float(min(BEST, 10 * np.log10(255**2 / squared))) if squared > 0 else BEST


def squared_error(picture: Picture, other: Picture) -> float:
    """Mean squared error, 0..255."""
    return float(np.mean((picture.astype(np.float64) - other) ** 2))


def psnr(picture: Picture, other: Picture) -> float:
    """dB."""
    return psnr_of(squared_error(picture, other))


def flattened(stack: Stack, orders: Mapping[Rung, Sequence[int]]) -> dict[str, Picture]:
    """The same layers, stacked in the order of every rung; alpha is altered on the last."""
    pixels = np.stack([np.dstack((layer.colour, layer.alpha)) for layer in stack.layers])
    switched = np.stack([layer.switched for layer in stack.layers])
    found = {str(rung): flatten(pixels[[0, *orders[rung]]]) for rung in RUNGS}
    return {**found, ALTERED: flatten(pixels, switched)}


def matched(stack: Stack, scene: Scene) -> dict[int, int]:
    """Layers of a stack and the scene's own they are: the best IoU first, none twice."""
    pairs = [
        (masks.iou(layer.visible, scene.visible[true]), number, true)
        for number, layer in enumerate(stack.layers[1:], 1)
        for true in range(1, len(scene.layers))
    ]
    found: dict[int, int] = {}
    for overlap, number, true in sorted(pairs, key=lambda pair: -pair[0]):
        if overlap >= SAME and number not in found and true not in found.values():
            found[number] = true
    return found


@dataclass(frozen=True)
class Order:
    """Pairs of touching instances, and how many of them are in the true order."""

    pairs: int
    right: int


def order_of(order: Sequence[int], found: Mapping[int, int], scene: Scene, reach: int) -> Order:
    """How much of the true order an order (layer numbers, from far to near) has, on pairs that touch in the scene."""
    known = [found[number] for number in order if number in found]
    pairs = [
        (below, above)
        for rank, below in enumerate(known)
        for above in known[rank + 1 :]
        if masks.touching(scene.visible[below], scene.visible[above], reach)
    ]
    return Order(len(pairs), sum(below < above for below, above in pairs))


@dataclass(frozen=True)
class Completion:
    """Of one occluded instance: sums of squared errors of its completed colours, and IoUs with its amodal mask."""

    values: int
    painted: float
    mean_colour: float
    completed: float
    visible: float


def completions(kept: Kept, scene: Scene, hidden: float) -> list[Completion]:
    """Every matched instance of which more than the share `hidden` cannot be seen.

    Colours are compared where an instance is hidden and was completed; the mean colour is that of what is seen of it.
    """
    out = []
    for number, true in matched(kept.stack, scene).items():
        layer, amodal = kept.stack.layers[number], scene.amodal[true]
        unseen = amodal & ~scene.visible[true]
        if np.count_nonzero(unseen) <= hidden * np.count_nonzero(amodal):
            continue
        there = unseen & layer.whole & ~layer.visible
        truth = scene.layers[true, there, :3].astype(np.float64)
        painted, mean = (
            float(np.sum((guess - truth) ** 2)) for guess in (layer.colour[there], kept.image[layer.visible].mean(0))
        )
        ious = masks.iou(layer.whole, amodal), masks.iou(layer.visible, amodal)
        out.append(Completion(truth.size, painted, mean, *ious))
    return out


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean; not a number where there are no values."""
    found = list(values)
    return float(np.mean(found)) if found else float("nan")
