"""Foregrounds of the six sub-tasks and their backgrounds, as straight-alpha float pictures of one size.

Everything is cropped and resized before it is blended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from systems.image_layers.alphablend.assets import Assets
from systems.parts.pictures import alpha_of, colour_of, premultiply, resize, rgba, thrice, unit, unpremultiply

RGB = UInt8[np.ndarray, "s s 3"]
Plane = Float[np.ndarray, "s s"]
RGBA = Float[np.ndarray, "h w 4"]
HUES = ((0.3, 0.6, 0.9), (0.9, 0.6, 0.3), (0.4, 0.8, 0.5))
"""Colours of a baggage scanner: metal, organic, between."""
WORDS = ("SAMPLE", "DRAFT", "PROOF", "COPY", "2026", "PREVIEW", "NOT FOR SALE")


@dataclass(frozen=True)
class Foreground:
    """A foreground with what the table says of it; no asset names where it is made of numbers alone."""

    picture: RGBA
    tau: str
    params: Mapping[str, float]
    assets: tuple[str, ...]
    phrase: str


def background(assets: Assets, rng: np.random.Generator, side: int) -> tuple[RGB, str, str]:
    """A random crop of a photograph, mirrored half of the time, in 8 bits; with its asset and phrase."""
    asset = assets.pick(rng, "photo")
    return crop(asset.picture, rng, side, least=0.35), asset.name, asset.phrase


def crop(picture: np.ndarray, rng: np.random.Generator, side: int, least: float) -> np.ndarray:
    """A random square of at least `least` of the shorter side, resized to `side`, mirrored half of the time."""
    height, width = picture.shape[:2]
    length = max(1, int(min(height, width) * rng.uniform(least, 1)))
    top, left = rng.integers(height - length + 1), rng.integers(width - length + 1)
    piece = resize(np.ascontiguousarray(picture[top : top + length, left : left + length]), side, side)
    return mirrored(piece) if rng.random() < 0.5 else piece


def mirrored(picture: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return cv2.flip(picture, 1)


def fit(picture: UInt8[np.ndarray, "h w 4"], rng: np.random.Generator, side: int, least: float, most: float) -> RGBA:
    """A cut-out in float, its longer side a random `least`..`most` of `side`."""
    length = side * rng.uniform(least, most)
    height, width = (max(1, round(size * length / max(picture.shape[:2]))) for size in picture.shape[:2])
    return resize(unit(picture), min(height, side), min(width, side))


def turned(picture: UInt8[np.ndarray, "h w 4"], rng: np.random.Generator, side: int, least: float, most: float) -> RGBA:
    """A cut-out as `fit` makes it, mirrored half of the time."""
    small = fit(picture, rng, side, least, most)
    return mirrored(small) if rng.random() < 0.5 else small


def spot(small: RGBA, rng: np.random.Generator, side: int) -> tuple[slice, slice]:
    """A random place inside a square of `side` px."""
    height, width = small.shape[:2]
    top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
    return slice(top, top + height), slice(left, left + width)


def place(small: RGBA, rng: np.random.Generator, side: int) -> RGBA:
    """A cut-out at a random place of an empty canvas."""
    canvas = np.zeros((side, side, 4), np.float32)
    canvas[spot(small, rng, side)] = small
    return canvas


def fade(picture: RGBA, alpha: float) -> RGBA:
    """The picture with its alpha scaled."""
    return cv2.transform(picture, np.diag((1, 1, 1, alpha)))


def tint(picture: RGBA, colour: np.ndarray, strength: float) -> RGBA:
    """The picture with its colours drawn towards `colour`."""
    kept = 1 - strength
    return cv2.transform(picture, np.column_stack((np.diag((kept, kept, kept, 1)), (*(strength * colour), 0))))


def flare(assets: Assets, rng: np.random.Generator, side: int, additive_share: float) -> Foreground:
    """A real light on black, turned or mirrored; where it is dark it is transparent."""
    asset = assets.pick(rng, "light")
    light = unit(np.rot90(crop(asset.picture, rng, side, least=0.5), int(rng.integers(4))))
    light = np.minimum(light * thrice(window(rng, side) * np.float32(rng.uniform(0.8, 1.4))), 1)
    red, green, blue = cv2.split(light)
    flat = rgba(light, cv2.max(cv2.max(red, green), blue))
    tau = "additive" if rng.random() < additive_share else "screen"
    return Foreground(unpremultiply(flat), tau, {}, (asset.name,), f"a lens flare like {asset.phrase}")


def window(rng: np.random.Generator, side: int) -> Plane:
    """A soft round window about a random centre, so that a flare ends inside the picture."""
    along = np.arange(side, dtype=np.float32) / side
    down, right = (np.square(along - np.float32(rng.uniform(0.2, 0.8))) for _ in range(2))
    distance = np.sqrt(down[:, None] + right)
    soft: Plane = np.maximum(1 - distance / np.float32(rng.uniform(0.5, 0.9)), 0)
    return soft


def occlusion(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """Rain or fog on glass over the whole frame: a low-frequency field with streaks, or photographed frost."""
    if rng.random() < 0.25 and "frost" in assets.by_kind:
        asset = assets.pick(rng, "frost")
        picture = fade(crop(unit(asset.picture), rng, side, least=0.3), rng.uniform(0.4, 0.9))
        return Foreground(picture, "screen", {}, (asset.name,), asset.phrase)
    rainy = rng.random() < 0.5
    coarse = rng.random((4, 4), np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(rng.uniform(0.3, 0.7))
    alpha = np.maximum(field, streaks(rng, side)) if rainy else field
    grey = np.full((side, side), rng.uniform(0.75, 1.0), np.float32)
    picture = rgba(thrice(grey), alpha.clip(0.02, 0.9))
    return Foreground(picture, "screen", {}, (), "rain on a window" if rainy else "fog on a window")


def streaks(rng: np.random.Generator, side: int) -> Plane:
    """Slanted bright lines of one direction, alpha 0..0.8."""
    canvas = np.zeros((side, side), np.uint8)
    slant = rng.uniform(-0.4, 0.4)
    for _ in range(rng.integers(6, 16)):
        x, y, length = rng.uniform(0, side), rng.uniform(-0.2 * side, side), rng.uniform(0.15, 0.5) * side
        end = (round(x + slant * length), round(y + length))
        cv2.line(canvas, (round(x), round(y)), end, rng.uniform(76, 204), max(1, side // 64), cv2.LINE_AA)
    return unit(canvas)


def watermark(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A logo or a word of one colour, alpha 0.3..0.7."""
    names: tuple[str, ...] = ()
    if rng.random() < 0.3:
        word = WORDS[rng.integers(len(WORDS))]
        mark, phrase = lettering(word, side), f"the word {word.lower()}"
    else:
        asset = assets.pick(rng, "mark")
        mark, names, phrase = asset.picture, (asset.name,), f"a {asset.phrase} logo"
    colour = np.ones(3) if rng.random() < 0.5 else rng.random(3)
    small = fade(tint(fit(mark, rng, side, 0.5, 1.0), colour, 1.0), rng.uniform(0.3, 0.7))
    return Foreground(place(small, rng, side), "over", {}, names, f"a watermark of {phrase}")


def lettering(word: str, side: int) -> UInt8[np.ndarray, "h w 4"]:
    """A word in white, alpha 255 inside the letters, cut to its size."""
    scale = max(side, 64) / 64
    (width, height), base = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, round(2 * scale))
    canvas = np.zeros((height + base + 4, width + 4), np.uint8)
    origin = (2, height + 1)
    cv2.putText(canvas, word, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, round(2 * scale), cv2.LINE_AA)
    return rgba(np.full((*canvas.shape, 3), 255, np.uint8), canvas)


def glassware(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A glass, or a cut-out made of glass: nearly clear, a little tinted, refracting by k px at 64 px."""
    asset = assets.pick(rng, "glass", "cutout") if rng.random() < 0.5 else assets.pick(rng, "cutout")
    body = place(tint(turned(asset.picture, rng, side, 0.6, 1.0), rng.uniform(0.8, 1.0, 3), 0.7), rng, side)
    soft = cv2.stackBlur(alpha_of(body), (2 * (side // 24) + 1,) * 2)
    picture = rgba(colour_of(body), soft * np.float32(rng.uniform(0.3, 0.7)))
    params = {"k": round(rng.uniform(1, 4), 3), "s": round(rng.uniform(0.1, 0.4), 3)}
    return Foreground(picture, "glass", params, (asset.name,), f"a glass {asset.phrase}")


def cells(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """Three to seven overlapping translucent cells, alpha 0.2..0.6 each."""
    flat, names = np.zeros((side, side, 4), np.float32), []
    dye = rng.uniform(0.3, 1.0, 3)
    for _ in range(rng.integers(3, 8)):
        asset = assets.pick(rng, "cell", "cutout")
        small = tint(turned(asset.picture, rng, side, 0.25, 0.6), dye, 0.6)
        cell = premultiply(fade(small, rng.uniform(0.2, 0.6)))
        where, a = spot(cell, rng, side), alpha_of(cell)
        flat[where] = cell + (1 - cv2.merge((a, a, a, a))) * flat[where]
        names.append(asset.name)
    picture = unpremultiply(flat)
    picture = rgba(colour_of(picture), np.minimum(alpha_of(picture), 0.6))
    return Foreground(picture, "over", {}, tuple(dict.fromkeys(names)), "semi-transparent cells")


def xray(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A thing that absorbs: dark, blue, orange or green as in baggage scanners, alpha 0.5..0.95."""
    asset = assets.pick(rng, "cutout")
    small = turned(asset.picture, rng, side, 0.5, 0.95)
    shade = 0.375 * cv2.cvtColor(small, cv2.COLOR_RGBA2GRAY) + np.float32(0.325)
    hue = HUES[rng.integers(len(HUES))]
    tinted = cv2.merge((*(shade * np.float32(part) for part in hue), alpha_of(small)))
    picture = place(fade(tinted, rng.uniform(0.5, 0.95)), rng, side)
    return Foreground(picture, "multiply", {}, (asset.name,), f"a {asset.phrase} under X-rays")


SUBTASKS: Mapping[str, Callable[[Assets, np.random.Generator, int, float], Foreground]] = {
    "flare": flare,
    "occlusion": occlusion,
    "watermark": watermark,
    "glassware": glassware,
    "cells": cells,
    "xray": xray,
}
