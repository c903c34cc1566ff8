"""Planes to convexes to shape, and the losses of the five phases, as pure functions.

Zero means inside and positive means outside, until `soft_union` turns the sign round.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from systems.parts.errors import UserError

Phase = Literal[0, 1, 2, 3, 4]
HARD: tuple[Phase, ...] = (1, 2)
"""Phases in which T is binary and constant."""
OVERLAP: tuple[Phase, ...] = (2, 4)
"""Phases that push convexes out of each other."""

INSIDE = 0.01
"""A convex contains a point where its sum of distances is below this; T's entries count above it."""
CONTINUOUS_THRESHOLD = 0.5
"""Phase 0 calls a point inside where the soft union is above this."""


def check_phase(phase: int) -> None:
    """Raise `UserError` unless the phase is one of the card's."""
    if phase not in get_args(Phase):
        raise UserError(f"parameter phases = {phase}: one of 0, 1, 2, 3, 4 is wanted")


def half_spaces(
    points: Float[Tensor, "b n d"], normals: Float[Tensor, "b d p"], offsets: Float[Tensor, "b 1 p"]
) -> Float[Tensor, "b n p"]:
    """How far each point is outside each half-space, in units of the normal's length; 0 inside."""
    return torch.relu(torch.baddbmm(offsets, points, normals))


def binary(T: Float[Tensor, "p c"]) -> Float[Tensor, "p c"]:
    """Which planes bound which convex: 1 or 0, a constant."""
    return (T > INSIDE).to(T.dtype)


def convexes(h1: Float[Tensor, "b n p"], T: Float[Tensor, "p c"]) -> Float[Tensor, "b n c"]:
    """Sum of the distances to each convex's planes; with a binary T, 0 exactly inside the convex."""
    return h1 @ T


def soft_union(h2: Float[Tensor, "b n c"], w: Float[Tensor, "c 1"]) -> Float[Tensor, "b n"]:
    """Phase 0: weighted sum of the convexes, clipped; 1 inside."""
    return ((1 - h2).clamp(0, 1) @ w).clamp(0, 1).squeeze(-1)


def hard_union(h2: Float[Tensor, "b n c"]) -> Float[Tensor, "b n"]:
    """Phases 1 to 4: the nearest convex counts; 0 inside."""
    return h2.amin(-1)


def is_inside(values: Float[Tensor, "b n"], phase: int) -> Bool[Tensor, "b n"]:
    """The shape that a union shows: S > 0.5 in phase 0, 1 - g > 0.99 after."""
    return values > CONTINUOUS_THRESHOLD if phase == 0 else values < INSIDE


def continuous_loss(
    v: Float[Tensor, "b n"], s: Float[Tensor, "b n"], T: Float[Tensor, "p c"], w: Float[Tensor, "c 1"]
) -> Float[Tensor, ""]:
    """Phase 0: a mean of squared errors, beside sums (not means) that keep w at 1 and T in 0..1."""
    return (v - s).square().mean() + (w - 1).abs().sum() + (T - 1).relu().sum() + (-T).relu().sum()


def discrete_loss(v: Float[Tensor, "b n"], g: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
    """Phases 1 to 4: points outside want g >= 1, points inside want g = 0."""
    return ((1 - v) * (1 - g.clamp(max=1)) + v * g.clamp(min=0)).mean()


def binary_penalty(T: Float[Tensor, "p c"]) -> Float[Tensor, ""]:
    """Phases 3 and 4: draws small entries of T to 0 and all others to 1."""
    return torch.where(T < INSIDE, T.abs(), (T - 1).abs()).sum()


def overlap_loss(h2: Float[Tensor, "b n c"], v: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
    """Phases 2 and 4: falls as shared points of the shape leave all convexes but one."""
    within = h2 < INSIDE
    shared = within & (within.sum(-1, keepdim=True) > 1)
    return -(h2 * v.unsqueeze(-1) * shared).mean()
