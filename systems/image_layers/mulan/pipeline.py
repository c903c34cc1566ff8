"""The three modules of MuLAn in a row: a picture to a stack of layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from systems.image_layers.mulan.assembly import Assembled, assemble
from systems.image_layers.mulan.completion import Completed, Hidden, alone, complete
from systems.image_layers.mulan.discovery import Found, Instance, Limits, discover
from systems.image_layers.mulan.order import RUNGS, Occlusion, Rung, arrange, observe
from systems.image_layers.mulan.providers import Captioner, Picture, Providers
from systems.image_layers.mulan.stack import Layer, Pair, Stack
from systems.parts.run import Strict

BACKGROUND, PICTURE = "background", "picture"


class Reach(Strict):
    """Distances, px."""

    touch: int = Field(default=2, ge=0, description="masks dilated by so much that meet are asked about")
    inpaint: int = Field(default=3, ge=0, description="so far around what is hidden is painted anew")
    band: int = Field(default=2, ge=0, description="half the width of soft edges; 0 leaves them hard")


class Settings(Strict):
    """How pictures are taken apart."""

    limits: Limits = Field(default=Limits(), description="what counts as an instance")
    reach: Reach = Field(default=Reach(), description="distances, px")
    hidden: Hidden = Field(default="kriging", description="where the colours of hidden parts of instances come from")


@dataclass(frozen=True)
class TakenApart:
    """A stack, and the order of its instances (their layer numbers, from far to near) at every rung of the ladder."""

    stack: Stack
    orders: dict[Rung, list[int]]


def take_apart(image: Picture, providers: Providers, settings: Settings) -> TakenApart:
    """Discover, order, complete and re-assemble."""
    found = discover(image, providers, settings.limits)
    visible, depths = [one.mask for one in found.instances], [one.depth for one in found.instances]
    wholes = partial(alone, image, found.instances, providers, settings.reach.inpaint)
    occlusion = observe(image, visible, providers.order, settings.reach.touch, wholes)
    orders = {rung: arrange(depths, occlusion, rung) for rung in RUNGS}
    final = orders["mutual"]
    arranged = Found([found.instances[number] for number in final], found.backdrop)
    stack = stacked(image, arranged, occlusion.renumbered(final), providers, settings)
    layer_of = {number: rank + 1 for rank, number in enumerate(final)}
    return TakenApart(stack, {rung: [layer_of[number] for number in order] for rung, order in orders.items()})


def stacked(image: Picture, found: Found, occlusion: Occlusion, providers: Providers, settings: Settings) -> Stack:
    """Layers of instances that are found and arranged from far to near."""
    partners = np.tril(occlusion.mutual, -1)  # row: the upper one, column: the lower one
    hiders = [np.flatnonzero(row).tolist() for row in np.triu(occlusion.touch, 1) | partners]
    completed = complete(image, found.instances, hiders, providers, settings.reach.inpaint, settings.hidden)
    below = {upper + 1: (np.flatnonzero(row) + 1).tolist() for upper, row in enumerate(partners)}
    assembled = assemble(image, completed, below, providers.matter, settings.reach.band)
    instances = [None, *found.instances]
    parts = zip(completed, assembled, instances, strict=True)
    return Stack(
        layers=[named(image, *part, found.backdrop, providers.captioner) for part in parts],
        pairs=pairs_of(occlusion),
        mutual=[(lower, upper) for upper, lowers in below.items() for lower in lowers],
        caption=providers.captioner.caption(image, np.ones(image.shape[:2], bool), PICTURE),
    )


def named(
    image: Picture,
    completed: Completed,
    assembled: Assembled,
    instance: Instance | None,
    backdrop: float,
    captioner: Captioner,
) -> Layer:
    """One layer with its name and caption; `instance` is None for the background, `backdrop` its depth."""
    label = instance.box.label if instance else BACKGROUND
    return Layer(
        label=label,
        colour=assembled.colour,
        alpha=assembled.alpha,
        original=assembled.original,
        visible=completed.visible,
        whole=completed.whole,
        switched=assembled.switched,
        depth=instance.depth if instance else backdrop,
        box=instance.box if instance else None,
        caption=captioner.caption(image, completed.visible, label),
    )


def pairs_of(occlusion: Occlusion) -> list[Pair]:
    """Layers that were asked about and what was answered."""
    asked = np.argwhere(np.triu(occlusion.touch, 1)).tolist()
    answers = occlusion.probability
    return [Pair(i + 1, j + 1, float(answers[i, j]), float(answers[j, i])) for i, j in asked]
