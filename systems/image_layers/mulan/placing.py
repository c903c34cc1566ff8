"""One scene: cut-outs set upon a photograph from far to near; two of them may each hide a part of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from systems.image_layers.mulan.assets import Asset, Assets
from systems.image_layers.mulan.scenes import HALF, Scene, flatten, seen
from systems.parts.errors import UserError
from systems.parts.pictures import quantise, resize, unit

ATTEMPTS = 500
"""A scene is drawn again while an instance is all but hidden, at most so often."""

NEAR, FAR = 0.62, 0.3
"""Longer side of the nearest and the farthest instance, as shares of the scene's."""
GROUND, HORIZON = 0.98, 0.55
"""Where the nearest and the farthest instance stand, from the top."""
STRAY = 0.15
"""How far size and place stray from what the depth says."""

SHOWN = 0.3
"""Least share of an instance that can be seen."""
LEAST = 0.005
"""Least share of the scene that an instance covers."""
CROSSING = 0.006
"""Least share of the scene on either side of a mutual occlusion."""
BACKDROP = 1.0
"""Depth of the background; instances are nearer."""


@dataclass(frozen=True)
class Made:
    """A scene and the assets in it."""

    scene: Scene
    background: str
    cutouts: tuple[str, ...]


def make(assets: Assets, rng: np.random.Generator, side: int, count: int, mutual: bool, name: str) -> Made:
    """A scene of `count` instances over a background, with one mutual pair if that is asked for."""
    for _ in range(ATTEMPTS):
        backdrop = assets.photos[int(rng.integers(len(assets.photos)))]
        chosen = [assets.cutouts[place] for place in rng.permutation(len(assets.cutouts))[:count].tolist()]
        depth = np.sort(stratified(rng, count))[::-1]
        layers = np.stack([crop(backdrop, rng, side), *map(lambda a, d: placed(a, d, rng, side), chosen, depth)])
        switched, pairs = cross(layers, rng) if mutual else (np.zeros(layers.shape[:3], bool), [])
        if (pairs or not mutual) and all_shown(layers, switched):
            break
    else:
        raise UserError(f"sources: in {ATTEMPTS} attempts no scene of {count} instances could be seen whole")
    scene = Scene(
        id=name,
        image=flatten(layers, switched),
        layers=layers,
        visible=seen(layers, switched),
        switched=switched,
        depth=np.array([BACKDROP, *depth], np.float32),
        labels=("background", *(asset.phrase for asset in chosen)),
        mutual=tuple(pairs),
    )
    return Made(scene, backdrop.name, tuple(asset.name for asset in chosen))


def stratified(rng: np.random.Generator, count: int) -> Float[np.ndarray, " n"]:
    """Depths in 0..0.95, one in each of as many equal parts, so that no two are alike."""
    return 0.95 * (np.arange(count) + rng.uniform(0.15, 0.85, count)) / count


def crop(photo: Asset, rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "s s 4"]:
    """A random square of a photograph, opaque, mirrored half of the time."""
    height, width = photo.picture.shape[:2]
    length = int(height * rng.uniform(0.7, 1))
    top, left = rng.integers(height - length + 1), rng.integers(width - length + 1)
    piece = resize(np.ascontiguousarray(photo.picture[top : top + length, left : left + length]), side, side)
    return cv2.cvtColor(cv2.flip(piece, 1) if rng.random() < 0.5 else piece, cv2.COLOR_RGB2RGBA)


def placed(asset: Asset, depth: float, rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "s s 4"]:
    """A cut-out on an empty canvas: the nearer, the larger and the lower."""
    length = side * (NEAR + (FAR - NEAR) * depth) * rng.uniform(1 - STRAY, 1 + STRAY)
    height, width = (max(2, round(size * length / max(asset.picture.shape[:2]))) for size in asset.picture.shape[:2])
    small = quantise(resize(unit(asset.picture), height, width))
    ground = side * (GROUND + (HORIZON - GROUND) * depth + rng.uniform(-STRAY, STRAY) / 2)
    top = int(np.clip(round(ground) - height, 0, side - height))
    left = int(rng.integers(side - width + 1))
    canvas = np.zeros((side, side, 4), np.uint8)
    canvas[top : top + height, left : left + width] = cv2.flip(small, 1) if rng.random() < 0.5 else small
    return canvas


def all_shown(layers: UInt8[np.ndarray, "n h w 4"], switched: Bool[np.ndarray, "n h w"]) -> bool:
    """Whether enough of every instance can be seen."""
    whole = np.count_nonzero(layers[1:, ..., 3] >= HALF, axis=(1, 2))
    visible = np.count_nonzero(seen(layers, switched)[1:], axis=(1, 2))
    return bool((visible >= SHOWN * whole).all() and (visible >= LEAST * switched[0].size).all())


def cross(
    layers: UInt8[np.ndarray, "n h w 4"], rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "n h w"], Sequence[tuple[int, int]]]:
    """Let the lower of two overlapping layers come in front of the upper one in a part of their overlap, if any can."""
    switched = np.zeros(layers.shape[:3], bool)
    for lower, upper in rng.permutation(list(combinations(range(1, len(layers)), 2))).tolist():
        part = part_of(overlap(layers, lower, upper), rng)
        if part.any():
            switched[upper] = part
            return switched, [(lower, upper)]
    return switched, []


def overlap(layers: UInt8[np.ndarray, "n h w 4"], lower: int, upper: int) -> Bool[np.ndarray, "h w"]:
    """Where `upper` and nothing else hides a solid part of `lower`: there, either of them may be in front."""
    alpha = layers[..., 3]
    others = np.delete(alpha[lower + 1 :], upper - lower - 1, axis=0)
    free: Bool[np.ndarray, "h w"] = (alpha[lower] == 255) & (alpha[upper] >= HALF) & ~others.any(0)
    return free


def part_of(region: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """What lies on one side of a random line through a region; empty where that or the rest is too small."""
    least = CROSSING * region.size
    nothing = np.zeros_like(region)
    if np.count_nonzero(region) < 2 * least:
        return nothing
    rows, columns = np.nonzero(region)
    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.indices(region.shape)
    beyond = np.cos(angle) * (down - rows.mean()) + np.sin(angle) * (right - columns.mean()) > 0
    pieces, stats = cv2.connectedComponentsWithStats((region & beyond).astype(np.uint8))[1:3]
    part: Bool[np.ndarray, "h w"] = pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if len(stats) > 1 else nothing
    enough = min(np.count_nonzero(part), np.count_nonzero(region & ~part)) >= least
    return part if enough else nothing
