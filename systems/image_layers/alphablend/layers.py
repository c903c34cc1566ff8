"""Foregrounds of the six sub-tasks and their backgrounds, as straight-alpha float pictures of one size.

Everything is cropped and resized before it is blended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from systems.image_layers.alphablend.assets import Assets
from systems.parts.pictures import resize, unpremultiply

RGBA = Float[np.ndarray, "s s 4"]
WORDS = ("SAMPLE", "DRAFT", "PROOF", "COPY", "2026", "PREVIEW", "NOT FOR SALE")


@dataclass(frozen=True)
class Foreground:
    """A foreground with what the table says of it; no asset names where it is made of numbers alone."""

    picture: RGBA
    tau: str
    params: Mapping[str, float]
    assets: tuple[str, ...]
    phrase: str


def background(assets: Assets, rng: np.random.Generator, side: int) -> tuple[np.ndarray, str, str]:
    """A random crop of a photograph, mirrored half of the time; with its asset and phrase."""
    asset = assets.pick(rng, "photo")
    return crop(asset.picture, rng, side, least=0.35), asset.name, asset.phrase


def crop(picture: np.ndarray, rng: np.random.Generator, side: int, least: float) -> np.ndarray:
    """A random square of at least `least` of the shorter side, resized to `side`, mirrored half of the time."""
    height, width = picture.shape[:2]
    length = int(min(height, width) * rng.uniform(least, 1))
    top, left = rng.integers(height - length + 1), rng.integers(width - length + 1)
    piece = resize(np.ascontiguousarray(picture[top : top + length, left : left + length]), side, side)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def place(picture: np.ndarray, rng: np.random.Generator, side: int, least: float, most: float) -> RGBA:
    """A cut-out on an empty canvas: its longer side is `least`..`most` of the canvas, its place random but inside."""
    length = side * rng.uniform(least, most)
    height, width = (max(1, round(size * length / max(picture.shape[:2]))) for size in picture.shape[:2])
    small = resize(picture, min(height, side), min(width, side))
    if rng.random() < 0.5:
        small = small[:, ::-1]
    canvas = np.zeros((side, side, 4), np.float32)
    top, left = rng.integers(side - small.shape[0] + 1), rng.integers(side - small.shape[1] + 1)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def fade(picture: RGBA, alpha: float) -> RGBA:
    """The picture with its alpha scaled."""
    return np.concatenate((picture[..., :3], picture[..., 3:] * np.float32(alpha)), axis=2)


def tint(picture: RGBA, colour: np.ndarray, strength: float) -> RGBA:
    """The picture with its colours drawn towards `colour`."""
    mixed = (1 - strength) * picture[..., :3] + strength * colour.astype(np.float32)
    return np.concatenate((mixed, picture[..., 3:]), axis=2)


def flare(assets: Assets, rng: np.random.Generator, side: int, additive_share: float) -> Foreground:
    """A real light on black, turned or mirrored; where it is dark it is transparent."""
    asset = assets.pick(rng, "light")
    light = crop(asset.picture, rng, side, least=0.5) * rng.uniform(0.6, 1.2)
    light = np.rot90(light, rng.integers(4)) * window(rng, side)[..., None]
    flat = np.concatenate((light, light.max(axis=2, keepdims=True)), axis=2).clip(0, 1).astype(np.float32)
    tau = "additive" if rng.random() < additive_share else "screen"
    return Foreground(unpremultiply(flat), tau, {}, (asset.name,), f"a lens flare like {asset.phrase}")


def window(rng: np.random.Generator, side: int) -> np.ndarray:
    """A soft round window about a random centre, so that a flare ends inside the picture."""
    rows, columns = np.indices((side, side)) / side
    distance = np.hypot(rows - rng.uniform(0.2, 0.8), columns - rng.uniform(0.2, 0.8))
    return (1 - distance / rng.uniform(0.5, 0.9)).clip(0, 1).astype(np.float32)


def occlusion(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """Rain or fog on glass over the whole frame: a low-frequency field with streaks, or photographed frost."""
    if rng.random() < 0.25 and "frost" in assets.by_kind:
        asset = assets.pick(rng, "frost")
        picture = fade(crop(asset.picture, rng, side, least=0.3), rng.uniform(0.4, 0.9))
        return Foreground(picture, "screen", {}, (asset.name,), asset.phrase)
    rainy = rng.random() < 0.5
    coarse = rng.random((4, 4)).astype(np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1) * rng.uniform(0.3, 0.7)
    alpha = np.maximum(field, streaks(rng, side)) if rainy else field
    colour = np.full((side, side, 3), rng.uniform(0.75, 1.0), np.float32)
    picture = np.concatenate((colour, alpha[..., None].clip(0.02, 0.9)), axis=2)
    return Foreground(picture, "screen", {}, (), "rain on a window" if rainy else "fog on a window")


def streaks(rng: np.random.Generator, side: int) -> np.ndarray:
    """Slanted bright lines of one direction, alpha 0..0.8."""
    canvas = np.zeros((side, side), np.float32)
    slant = rng.uniform(-0.4, 0.4)
    for _ in range(rng.integers(6, 16)):
        x, y, length = rng.uniform(0, side), rng.uniform(-0.2 * side, side), rng.uniform(0.15, 0.5) * side
        end = (round(x + slant * length), round(y + length))
        cv2.line(canvas, (round(x), round(y)), end, rng.uniform(0.3, 0.8), max(1, side // 64), cv2.LINE_AA)
    return canvas


def watermark(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A logo or a word of one colour, alpha 0.3..0.7."""
    if rng.random() < 0.3:
        word = WORDS[rng.integers(len(WORDS))]
        mark, names, phrase = lettering(word, side), (), f"the word {word.lower()}"
    else:
        asset = assets.pick(rng, "mark")
        mark, names, phrase = asset.picture, (asset.name,), f"a {asset.phrase} logo"
    colour = np.full(3, 1.0) if rng.random() < 0.5 else rng.random(3)
    picture = fade(tint(place(mark, rng, side, 0.5, 1.0), colour, 1.0), rng.uniform(0.3, 0.7))
    return Foreground(picture, "over", {}, names, f"a watermark of {phrase}")


def lettering(word: str, side: int) -> np.ndarray:
    """A word in white, alpha 1 inside the letters, cut to its size."""
    scale = max(side, 64) / 64
    (width, height), base = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, round(2 * scale))
    canvas = np.zeros((height + base + 4, width + 4), np.uint8)
    origin = (2, height + 1)
    cv2.putText(canvas, word, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, round(2 * scale), cv2.LINE_AA)
    return np.dstack((np.ones((*canvas.shape, 3), np.float32), canvas.astype(np.float32) / 255))


def glassware(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A glass, or a cut-out made of glass: nearly clear, a little tinted, refracting by k px at 64 px."""
    asset = assets.pick(rng, "glass", "cutout") if rng.random() < 0.5 else assets.pick(rng, "cutout")
    placed = place(asset.picture, rng, side, 0.6, 1.0)
    soft = cv2.GaussianBlur(placed[..., 3], (0, 0), max(0.6, side / 48))[..., None]
    body = tint(placed, rng.uniform(0.8, 1.0, 3), 0.7)
    picture = np.concatenate((body[..., :3], soft * np.float32(rng.uniform(0.3, 0.7))), axis=2)
    params = {"k": round(rng.uniform(1, 4), 3), "s": round(rng.uniform(0.1, 0.4), 3)}
    return Foreground(picture, "glass", params, (asset.name,), f"a glass {asset.phrase}")


def cells(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """Three to seven overlapping translucent cells, alpha 0.2..0.6 each."""
    flat, names = np.zeros((side, side, 4), np.float32), []
    dye = rng.uniform(0.3, 1.0, 3)
    for _ in range(rng.integers(3, 8)):
        asset = assets.pick(rng, "cell", "cutout")
        cell = fade(tint(place(asset.picture, rng, side, 0.25, 0.6), dye, 0.6), rng.uniform(0.2, 0.6))
        a = cell[..., 3:]
        flat = np.concatenate((cell[..., :3] * a, a), axis=2) + (1 - a) * flat
        names.append(asset.name)
    alpha = np.minimum(flat[..., 3:], 0.6)
    picture = np.concatenate((unpremultiply(flat)[..., :3], alpha), axis=2)
    return Foreground(picture, "over", {}, tuple(dict.fromkeys(names)), "semi-transparent cells")


def xray(assets: Assets, rng: np.random.Generator, side: int, _: float) -> Foreground:
    """A thing that absorbs: dark, blue-green to orange as in baggage scanners, alpha 0.5..0.95."""
    asset = assets.pick(rng, "cutout")
    placed = place(asset.picture, rng, side, 0.5, 0.95)
    grey = placed[..., :3].mean(axis=2, keepdims=True) * 0.5 + 0.1
    hue = np.array([[0.3, 0.6, 0.9], [0.9, 0.6, 0.3], [0.4, 0.8, 0.5]])[rng.integers(3)]
    picture = np.concatenate((grey * hue.astype(np.float32), placed[..., 3:]), axis=2)
    picture = fade(tint(picture, hue, 0.25), rng.uniform(0.5, 0.95))
    return Foreground(picture, "multiply", {}, (asset.name,), f"a {asset.phrase} under X-rays")


SUBTASKS: Mapping[str, Callable[[Assets, np.random.Generator, int, float], Foreground]] = {
    "flare": flare,
    "occlusion": occlusion,
    "watermark": watermark,
    "glassware": glassware,
    "cells": cells,
    "xray": xray,
}
