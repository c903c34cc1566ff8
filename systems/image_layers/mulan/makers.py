"""Which models answer: the providers of the pipeline by the name of their kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from systems.image_layers.mulan.annotated import Annotated, Noise
from systems.image_layers.mulan.providers import Inpainter, Providers
from systems.image_layers.mulan.scenes import Scene
from systems.image_layers.mulan.small import (
    BiharmonicInpainter,
    ClassCaptioner,
    FeatherMatter,
    PairOrder,
    TeleaInpainter,
    UNetProvider,
    load,
)
from systems.parts.errors import UserError

T = TypeVar("T")
Kind = Literal["learned", "annotated", "pretrained", "full"]
JITTER = Noise(box=0.05)
"""Errors of the annotation boxes that stand in for a detector in scenes."""
INPAINTERS: dict[str, Callable[[], Inpainter]] = {"telea": TeleaInpainter, "biharmonic": BiharmonicInpainter}


def providers_for(
    kind: Kind,
    model: Path | None = None,
    weights: Path | None = None,
    seed: int = 0,
    scene: Scene | None = None,
    noise: Noise = JITTER,
    inpainter: str = "telea",
) -> Providers:
    """The providers of a kind.

    learned: our own networks of `model` trained with `seed`; boxes are a scene's own with errors, or found by the
    network. annotated: the truth of `scene` with errors of the level `noise`. pretrained: as learned, but what stands
    out is found and cut out by networks in the folder `weights`. full: large networks in the folder `weights`.
    """
    if kind == "annotated":
        return annotated(needed(scene, "scene", kind), noise, seed, inpainter)
    if kind == "learned":
        return learned(needed(model, "model", kind), seed, scene, noise, inpainter)
    if kind == "pretrained":
        from systems.image_layers.mulan.pretrained import SalientProvider

        salient = SalientProvider.load(needed(weights, "weights", kind))
        small = learned(needed(model, "model", kind), seed, None, noise, inpainter)
        return replace(small, detector=salient, segmenter=salient, matter=salient)
    if kind == "full":
        from systems.image_layers.mulan.full import full

        return full(needed(weights, "weights", kind))
    raise UserError(f"provider kind {kind!r}: one of {', '.join(get_args(Kind))} is wanted")


def needed(given: T | None, name: str, kind: str) -> T:
    """What a kind cannot do without."""
    if given is None:
        raise UserError(f"providers of kind {kind} need a {name}")
    return given


def learned(model: Path, seed: int, scene: Scene | None, noise: Noise, inpainter: str) -> Providers:
    """Our own networks."""
    networks = load(model, seed)
    unet = UNetProvider(networks)
    return Providers(
        detector=unet if scene is None else Annotated(scene, noise, seed),
        segmenter=unet,
        depth=unet,
        order=PairOrder(networks),
        inpainter=INPAINTERS[inpainter](),
        captioner=ClassCaptioner(),
        matter=FeatherMatter(),
    )


def annotated(scene: Scene, noise: Noise, seed: int, inpainter: str) -> Providers:
    """The truth, more or less."""
    truth = Annotated(scene, noise, seed)
    return Providers(
        detector=truth,
        segmenter=truth,
        depth=truth,
        order=truth,
        inpainter=INPAINTERS[inpainter](),
        captioner=ClassCaptioner(),
        matter=FeatherMatter(),
    )
