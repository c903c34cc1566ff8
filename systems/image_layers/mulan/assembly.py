"""Module 3 of MuLAn: soft edges with the colours that were mixed there, and alpha altered where two hide each other.

A pixel on an edge shows I = aF + (1-a)B, F the colour of the layer whose edge it is, B that of the layer beneath. They
are estimated by blur fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021, arXiv 2105.09144) and
by what was painted beneath, such that the equation holds as far as 0..255 goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.completion import Completed
from systems.image_layers.mulan.providers import Mask, Matter, Picture
from systems.parts.pictures import thrice

BLURS = (31, 7)
"""Widths of the two rounds of blur fusion, px."""
TINY = 1e-5
LITTLE = 0.1
"""A colour with a lesser share in the mixture is left as it was estimated: little errors would make it anything."""

Colour = Float32[np.ndarray, "h w 3"]
Alpha = Float32[np.ndarray, "h w"]
Steps = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Assembled:
    """What module 3 makes of every layer: colour, alpha in 0..255, where colours are the picture's own, and cuts."""

    colour: Picture
    alpha: Steps
    original: Mask
    switched: Mask


@dataclass(frozen=True)
class Edge:
    """The pixels of an edge that are seen: those of the layer itself, and those of what lies beneath."""

    inner: Mask
    outer: Mask


def assemble(
    image: Picture, layers: Sequence[Completed], partners: Mapping[int, Sequence[int]], matter: Matter, reach: int
) -> list[Assembled]:
    """Layers from the bottom up with soft alpha in a band of `reach` px on either side of their edges.

    `partners[k]` are the layers below k that show in front of it somewhere.
    """
    owner = masks.owners(np.stack([layer.visible for layer in layers]))
    cuts = [
        masks.union((layers[j].visible & layer.whole for j in partners.get(number, ())), owner.shape)
        for number, layer in enumerate(layers)
    ]
    covers = np.stack([layer.whole & ~cut for layer, cut in zip(layers, cuts, strict=True)])
    colours = [layer.colour.copy() for layer in layers]
    alphas = [np.where(layer.whole, np.uint8(255), np.uint8(0)) for layer in layers]
    mixed_there = np.zeros(owner.shape, bool)
    for number in range(1, len(layers)):
        band = edge_band(layers[number], owner < number, reach)
        if band.any():
            edge = Edge(band & (owner == number), band & (owner < number) & ~layers[number].whole)
            crop = around(band, max(BLURS) // 2)
            alphas[number][crop] = soft_alpha(image, layers[number].whole, band, matter)[crop]
            unmix(image, alphas[number], crop, edge, number, covers, colours)
            mixed_there |= edge.inner | edge.outer
    for colour, alpha in zip(colours, alphas, strict=True):
        colour[alpha == 0] = 0
    originals = [layer.visible & ~mixed_there for layer in layers]
    return [Assembled(*parts) for parts in zip(colours, alphas, originals, cuts, strict=True)]


def edge_band(layer: Completed, lower: Mask, reach: int) -> Mask:
    """Pixels at most `reach` px from the layer's edge: where it meets lower layers, and where it ends unseen.

    Where a nearer layer covers it there is no edge of its own.
    """
    if reach == 0:
        return np.zeros_like(lower)
    outside = lower & ~layer.whole
    met = (masks.dilate(outside, reach) & layer.visible) | (masks.dilate(layer.visible, reach) & outside)
    unseen = layer.whole & ~layer.visible & masks.dilate(~layer.whole, reach)
    band: Mask = met | unseen
    return band


def soft_alpha(image: Picture, whole: Mask, band: Mask, matter: Matter) -> Steps:
    """The matter's alpha in the band, all or nothing elsewhere, in 0..255."""
    alpha = np.where(band, matter.alpha(image, whole), whole)
    steps: Steps = np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)
    return steps


def unmix(
    image: Picture,
    alpha: Steps,
    crop: tuple[slice, slice],
    edge: Edge,
    number: int,
    covers: Bool[np.ndarray, "n h w"],
    colours: Sequence[Picture],
) -> None:
    """Give layer `number` its foreground colour where an edge is seen, and the layer seen beneath the other colour."""
    beneath = number - 1 - covers[:number][::-1].argmax(0)[crop]
    under = np.stack([colour[crop] for colour in colours[:number]])
    painted = np.take_along_axis(under, beneath[None, ..., None], 0)[0].astype(np.float32)
    inner, outer = edge.inner[crop], edge.outer[crop]
    front, back = mixed(image[crop].astype(np.float32), alpha[crop] / np.float32(255), painted, inner)
    colours[number][crop][inner | outer] = rounded(front[inner | outer])
    for lower in np.unique(beneath[outer]):
        of_lower = outer & (beneath == lower)
        colours[lower][crop][of_lower] = rounded(back[of_lower])


def around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rectangle of a mask that is not empty, wider by a margin."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return slice(top, rows[-1] + 1 + margin), slice(left, columns[-1] + 1 + margin)


def mixed(image: Colour, alpha: Alpha, painted: Colour, inner: Mask) -> tuple[Colour, Colour]:
    """Foreground and background colours, 0..255, that mix to the image by alpha.

    Where a layer is seen itself (`inner`), the background is what was painted there; elsewhere on its edge it follows
    from the foreground by blur fusion. The foreground then makes up for the rest.
    """
    front, back = image, image
    for width in BLURS:
        front, back = blur_fusion(image, front, back, alpha, width)
    a, b = thrice(alpha), thrice(1 - alpha)
    back = np.where(inner[..., None], painted, solved(image, front, a, b, back))
    return solved(image, back, b, a, front), back


def solved(image: Colour, known: Colour, share: Colour, other: Colour, otherwise: Colour) -> Colour:
    """The colour that mixes to the image with the known one, of which there is `share`, as far as 0..255 goes."""
    return clip(np.where(other > LITTLE, (image - share * known) / np.maximum(other, LITTLE), otherwise))


def blur_fusion(image: Colour, front: Colour, back: Colour, alpha: Alpha, width: int) -> tuple[Colour, Colour]:
    """One round of Forte's estimator with box blurs `width` px wide."""
    a, b = thrice(alpha), thrice(1 - alpha)
    size = (width, width)
    smooth_a = cv2.blur(a, size)
    smooth_front = cv2.blur(front * a, size) / (smooth_a + TINY)
    smooth_back = cv2.blur(back * b, size) / (1 - smooth_a + TINY)
    rest = image - a * smooth_front - b * smooth_back
    return clip(smooth_front + a * rest), clip(smooth_back + b * rest)


def clip(colour: Colour) -> Colour:
    """0..255."""
    clipped: Colour = np.clip(colour, 0, 255).astype(np.float32)
    return clipped


def rounded(colour: Float32[np.ndarray, "k 3"]) -> UInt8[np.ndarray, "k 3"]:
    """To whole numbers."""
    steps: UInt8[np.ndarray, "k 3"] = np.rint(colour).astype(np.uint8)
    return steps
