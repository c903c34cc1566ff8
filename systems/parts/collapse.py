"""Neural collapse measured: how far class features and the last layer's weights are from their symmetric shapes.

Distances are Frobenius norms between matrices that were scaled to norm 1 first. Everything is in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def class_means(features: Float[Tensor, "d n"], labels: Int64[Tensor, " n"], classes: int) -> Float[Tensor, "d k"]:
    """Mean feature of every class."""
    member = torch.nn.functional.one_hot(labels, classes).to(features)
    return features @ member / member.sum(0)


def nc1(features: Float[Tensor, "d n"], labels: Int64[Tensor, " n"], keep: Sequence[int]) -> float:
    """Spread within the classes `keep` over the spread between them: trace(Sigma_W pinv(Sigma_B)) / K.

    Classes that vanished are left out: their means say nothing, and Sigma_B would lose rank.
    """
    chosen = torch.tensor(list(keep), device=labels.device)
    inside = torch.isin(labels, chosen)
    x, groups = features[:, inside].double(), torch.searchsorted(chosen, labels[inside])
    means = class_means(x, groups, len(chosen))
    deviations = x - means[:, groups]
    between = means - x.mean(1, keepdim=True)
    # trace(A A^T pinv(B B^T)) = |pinv(B) A|^2: the pseudo-inverse of a thin matrix, not of a d x d one. K cancels.
    spread = torch.linalg.pinv(between, rtol=1e-6) @ deviations
    return float(spread.square().sum() / x.shape[1])


def distance(a: Float[Tensor, "r c"], b: Float[Tensor, "r c"]) -> float:
    """Norm of the difference of both matrices at norm 1: 0 for equal directions, at most 2; NaN where one is zero."""
    a, b = a.double(), b.double()
    return float((a / a.norm() - b / b.norm()).norm())


def frame(classes: int) -> Float[Tensor, "k k"]:
    """Gram matrix of an orthogonal frame, at norm 1."""
    result: Tensor = torch.eye(classes, dtype=torch.float64)
    result /= classes**0.5
    return result


def simplex(classes: int) -> Float[Tensor, "k k"]:
    """Gram matrix of a simplex equiangular tight frame (ETF), at norm 1."""
    result: Tensor = torch.eye(classes, dtype=torch.float64)
    result -= 1 / classes
    result /= (classes - 1) ** 0.5
    return result


def gram(rows: Float[Tensor, "k d"]) -> Float[Tensor, "k k"]:
    """Inner products of the rows."""
    return rows.double() @ rows.double().T


def centred(means: Float[Tensor, "d k"], counts: Int64[Tensor, " k"]) -> Float[Tensor, "d k"]:
    """Class means without the mean over samples."""
    weights = counts.to(means) / counts.sum()
    return means - (means @ weights)[:, None]


def vanished(rows: Float[Tensor, "k d"], share: float = 1e-3) -> Bool[Tensor, " k"]:
    """Rows shorter than `share` of the longest; all of them where everything is zero."""
    lengths = rows.double().norm(dim=1)
    gone: Tensor = lengths <= share * lengths.max()
    return gone
