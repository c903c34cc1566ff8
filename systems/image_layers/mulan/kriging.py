"""Colours that cannot be seen, predicted from those that can: simple kriging (Matheron 1963), the best linear guess.

Colours are taken for a field whose values are alike with exp(-distance / length) around their mean, with noise. Near
what is seen the guess follows it, far away it is the mean; an inpainter would go on with what stands at the rim.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.providers import Mask, Picture

SAMPLES = 400
"""Pixels looked at, at most; the work grows with their cube."""
LENGTH = 0.8
"""Length of likeness, as a share of the square root of the area that is seen."""
NOISE = 0.3
RIM = 1
"""So many px at the rim of what is seen are mixed with others and not trusted."""
ENOUGH = 20


def kriged(image: Picture, seen: Mask, wanted: Mask) -> Picture:
    """Colours where they are wanted, black elsewhere, by those that are seen, of which there must be some."""
    inner = ~masks.dilate(~seen, RIM)
    known = inner if np.count_nonzero(inner) >= ENOUGH else seen
    here, there = np.argwhere(known), np.argwhere(wanted)
    here = here[:: -(-len(here) // SAMPLES)]
    length = LENGTH * np.sqrt(np.count_nonzero(seen))
    mean = image[seen].mean(0)
    values = image[here[:, 0], here[:, 1]] - mean
    weights = np.linalg.solve(likeness(here, here, length) + NOISE * np.eye(len(here)), values)
    out = np.zeros_like(image)
    out[wanted] = np.rint(np.clip(mean + likeness(there, here, length) @ weights, 0, 255))
    return out


def likeness(first: Int[np.ndarray, "n 2"], second: Int[np.ndarray, "m 2"], length: float) -> Float[np.ndarray, "n m"]:
    """exp(-distance / length) of all pairs of places."""
    apart = (first[:, None] - second).astype(np.float64)
    alike: Float[np.ndarray, "n m"] = np.exp(-np.hypot(apart[..., 0], apart[..., 1]) / length)
    return alike
