"""Layers of one picture of any size: taken apart at the model's size, then lifted to the picture's own pixels.

The network says what the light or veil changed; detail comes from the picture itself. With z the picture, and a and y
the sampled alpha and background at the model's size: the background is z + up(y - z), and the foreground's colour is
the one that blends (over) to z again: F = (z - (1 - a) y) / a.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from systems.image_layers.diffdecompose import storage
from systems.image_layers.diffdecompose.module import Decomposer
from systems.parts.pictures import quantise, resize, unpremultiply
from systems.parts.step_batches import step_generator

STEPS, SAMPLES = 10, 8
LEAST_ALPHA = 1 / 255


def decompose_image(
    picture: UInt8[np.ndarray, "h w 3"], model: Path, seed: int = 0
) -> Mapping[str, UInt8[np.ndarray, "h w c"]]:
    """`foreground` (RGBA, straight alpha) and `background` (RGB) of a picture, at its size.

    `model` is a folder that `train` wrote. The layers are the mean of several samples.
    """
    decomposer, saved = storage.load(model)
    z = picture.astype(np.float32) / 255
    small = resize(z, saved.size, saved.size)
    fg, bg = mean_layers(decomposer, small, seed)
    background = (z + enlarge(bg - small, z)).clip(0, 1)
    alpha = enlarge(fg[..., 3:], z).clip(0, 1)
    colour = np.where(alpha > LEAST_ALPHA, (z - (1 - alpha) * background) / alpha.clip(LEAST_ALPHA), 0)
    return {"foreground": quantise(np.concatenate((colour, alpha), axis=2)), "background": quantise(background)}


def mean_layers(
    decomposer: Decomposer, small: Float[np.ndarray, "s s 3"], seed: int
) -> tuple[Float[np.ndarray, "s s 4"], Float[np.ndarray, "s s 3"]]:
    """Mean foreground, averaged premultiplied, and mean background of several samples."""
    opaque = torch.from_numpy(np.dstack((small, np.ones_like(small[..., :1])))).movedim(-1, 0)
    batch = opaque.expand(SAMPLES, -1, -1, -1)
    unnamed = ["any"] * SAMPLES
    layers = decomposer.decompose(batch, unnamed, unnamed, STEPS, step_generator(seed, 0))
    fg, bg = (layers[layer].movedim(1, -1).numpy() for layer in ("x", "y"))
    flat = np.concatenate((fg[..., :3] * fg[..., 3:], fg[..., 3:]), axis=3).mean(axis=0)
    return unpremultiply(flat), bg[..., :3].mean(axis=0)


def enlarge(small: Float[np.ndarray, "s s c"], like: Float[np.ndarray, "h w k"]) -> Float[np.ndarray, "h w c"]:
    """Smooth interpolation to the size of `like`."""
    out = cv2.resize(small, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_CUBIC)
    return out.reshape(*like.shape[:2], -1)


def predict(folder: Path, batch: Float[np.ndarray, "n s s 4"]) -> Float[np.ndarray, "n s s 8"]:
    """Foreground RGBA and background RGBA, one sample each, of composites at the model's size, all in 0..1."""
    decomposer, _ = storage.load(folder)
    unnamed = ["any"] * len(batch)
    composites = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)).movedim(-1, 1)
    layers = decomposer.decompose(composites, unnamed, unnamed, STEPS, step_generator(0, 0))
    return torch.cat((layers["x"], layers["y"]), dim=1).movedim(1, -1).numpy()
