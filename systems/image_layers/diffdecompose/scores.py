"""Scores of layers against the truth, on pictures in 0..255; a few pictures at a time are held as floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torchmetrics.functional.image import structural_similarity_index_measure

from systems.parts.tensors import pieces

Pictures = UInt8[np.ndarray, "n h w c"]
MOST = 64


def rmse(a: Pictures, b: Pictures) -> float:
    """Root of the mean squared difference over all pixels and channels, 0..255."""
    return float(np.sqrt(np.mean(squared_errors(a, b))))


def squared_errors(a: Pictures, b: Pictures) -> Float[np.ndarray, " n"]:
    """Mean squared difference of every picture."""
    return np.array([np.square(ours.astype(np.float64) - truth).mean() for ours, truth in zip(a, b, strict=True)])


def psnr(a: Pictures, b: Pictures) -> float:
    """20 log10(255 / RMSE), dB; 100 for equal pictures."""
    error = rmse(a, b)
    return 100.0 if error == 0 else min(100.0, float(20 * np.log10(255 / error)))


def ssim(a: Pictures, b: Pictures) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window of 11 px, mean over pictures."""
    values = []
    for some in pieces(len(a), a.shape[2], MOST):
        ours, truth = (torch.from_numpy(pictures[some]).movedim(-1, 1).double() for pictures in (a, b))
        values.append(structural_similarity_index_measure(ours, truth, reduction="none", data_range=255.0))
    return float(torch.cat(values).mean())  # type: ignore[arg-type]


def colour_rmse(a: Pictures, b: Pictures) -> float:
    """RMSE of RGBA foregrounds' colours weighted by the true alpha of `b`: where alpha is 0 there is no colour."""
    error = weights = 0.0
    for ours, truth in zip(a, b, strict=True):
        weight = truth[..., 3:] / 255.0
        error += (np.square(ours[..., :3].astype(np.float64) - truth[..., :3]) * weight).sum()
        weights += 3 * weight.sum()
    return float(np.sqrt(error / max(weights, 1e-9)))


def alpha_rmse(a: Pictures, b: Pictures) -> float:
    """RMSE of the alpha channels, 0..255."""
    return rmse(a[..., 3:], b[..., 3:])


def mean_colour(pictures: Pictures) -> Pictures:
    """Every picture filled with its own mean colour."""
    mean = np.rint(pictures.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    return np.broadcast_to(mean, pictures.shape).copy()


def by_group(
    score: Callable[[Pictures, Pictures], float], a: Pictures, b: Pictures, groups: Sequence[str]
) -> Mapping[str, float]:
    """A score for every group of samples, and for `all` together."""
    names = np.array(groups)
    scores = {group: score(a[names == group], b[names == group]) for group in dict.fromkeys(groups)}
    return {**scores, "all": score(a, b)}
