"""Module 2 of MuLAn: what is hidden is painted in, layer by layer from far to near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.discovery import Instance
from systems.image_layers.mulan.kriging import kriged
from systems.image_layers.mulan.providers import Box, Mask, Picture, Providers

GROWTH = 0.1
"""An instance's box grows by this share of its sides before what is hidden is looked for."""
POINTS = 4
Hidden = Literal["inpainting", "kriging"]
"""Where hidden colours come from: the inpainted picture, or the instance's own pixels alone."""


@dataclass(frozen=True)
class Completed:
    """A layer with hard edges: what is seen of it, all of it, and its colour, the picture's own where it is seen."""

    visible: Mask
    whole: Mask
    colour: Picture


def background(image: Picture, visible: Sequence[Mask], providers: Providers, reach: int) -> Completed:
    """The picture without its instances, painted anew from `reach` px around them on; what is seen of it stays."""
    covered = masks.union(visible, image.shape[:2])
    region = masks.dilate(covered, reach)
    painted = providers.inpainter.inpaint(image, region, "background") if region.any() else image
    colour = np.where(covered[..., None], painted, image)
    return Completed(~covered, np.ones(image.shape[:2], bool), colour)


def complete(
    image: Picture,
    instances: Sequence[Instance],
    hiders: Sequence[Sequence[int]],
    providers: Providers,
    reach: int,
    hidden_by: Hidden = "inpainting",
) -> list[Completed]:
    """The background and every instance, from far to near as they are given.

    `hiders[k]` are the numbers of the instances that may hide some of instance k.
    """
    visible = [instance.mask for instance in instances]
    layers = [background(image, visible, providers, reach)]
    canvas = layers[0].colour
    for instance, nearer in zip(instances, hiders, strict=True):
        hidden = masks.union((visible[j] for j in nearer), instance.mask.shape)
        layer = instance_layer(image, canvas, instance, hidden, providers, reach, hidden_by)
        canvas = np.where(layer.whole[..., None], layer.colour, canvas)
        layers.append(layer)
    return layers


def instance_layer(
    image: Picture,
    canvas: Picture,
    instance: Instance,
    hidden: Mask,
    providers: Providers,
    reach: int,
    hidden_by: Hidden,
) -> Completed:
    """One instance, completed where `hidden` may hide it; `canvas` is everything farther away."""
    seen = instance.mask
    context = np.where(seen[..., None], image, canvas)
    box = grown(instance.box, image.shape[:2])
    candidates = hidden & inside(box, seen.shape)
    if not candidates.any():
        return Completed(seen, seen, np.where(seen[..., None], image, 0).astype(np.uint8))
    region = masks.dilate(candidates, reach) & inside(box, seen.shape)
    painted = providers.inpainter.inpaint(context, region, instance.box.label)
    again = providers.segmenter.segment(painted, box, masks.pick(seen, POINTS))
    whole = seen | (again & candidates)
    colour = kriged(image, seen, whole & ~seen) if hidden_by == "kriging" else painted
    return Completed(seen, whole, np.where(seen[..., None], image, np.where(whole[..., None], colour, 0)))


def alone(
    image: Picture, instances: Sequence[Instance], providers: Providers, reach: int, first: int, second: int
) -> Mask:
    """The completed mask of the first of two instances, as if the second were not there."""
    hidden = instances[second].mask
    return instance_layer(image, image, instances[first], hidden, providers, reach, "inpainting").whole


def grown(box: Box, shape: tuple[int, ...]) -> Box:
    """A box 10 % wider and taller on every side, but inside the picture."""
    across, down = round(GROWTH * (box.x1 - box.x0)), round(GROWTH * (box.y1 - box.y0))
    return replace(
        box,
        x0=max(0, box.x0 - across),
        y0=max(0, box.y0 - down),
        x1=min(shape[1], box.x1 + across),
        y1=min(shape[0], box.y1 + down),
    )


def inside(box: Box, shape: tuple[int, ...]) -> Mask:
    """The pixels of a box as a mask."""
    mask = np.zeros(shape[:2], bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask
