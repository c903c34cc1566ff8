"""In-context flow matching: sequence, target sets, loss and sampler of the card's part C, for any backbone.

The sequence is [z; x; y], z's tokens always clean. One noise level a sample is shared by x and y:
s_sigma = (1 - sigma) s + sigma eps; the velocity is eps - s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from systems.image_layers.diffdecompose.backbone import Backbone, Layer

TARGETS: tuple[tuple[tuple[Layer, ...], float], ...] = ((("x", "y"), 0.6), (("y",), 0.2), (("x",), 0.2))
"""Target sets and how often each is trained, so that either layer alone can be asked for."""

LEAST_SIGMA = 0.02


def shifted(sigma: Float[Tensor, " n"], shift: float) -> Float[Tensor, " n"]:
    """Noise levels moved towards 1: the odds sigma / (1 - sigma) times `shift` (Esser et al. 2024)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def logit_normal_sigma(count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Noise levels sigmoid(N(0, 1)), kept off zero where the velocity of an x0 prediction explodes."""
    return torch.randn(count, generator=generator).sigmoid().clamp(min=LEAST_SIGMA)


def uniform_sigma(count: int, generator: torch.Generator, values: int = 1000) -> Float[Tensor, " b"]:
    """Noise levels uniform over the scheduler's `values` steps: 1/values .. 1."""
    return (torch.randint(values, (count,), generator=generator) + 1) / values


def draw_targets(generator: torch.Generator) -> tuple[Layer, ...]:
    """One of the target sets, by its weight."""
    weights = torch.tensor([weight for _, weight in TARGETS])
    return TARGETS[int(torch.multinomial(weights, 1, generator=generator))][0]


def sequence_ids(backbone: Backbone, layers: Sequence[Layer], tokens: int) -> Float[Tensor, "m 3"]:
    """Position codes of a sequence of layers of `tokens` tokens each, z first; pictures are square."""
    side = backbone.patch * math.isqrt(tokens)
    return torch.cat([backbone.position_ids(layer, side, side) for layer in layers])


def flow_loss(
    backbone: Backbone,
    clean: Mapping[Layer, Float[Tensor, "b n d"]],
    targets: Sequence[Layer],
    noise: Float[Tensor, "b k d"],
    sigma: Float[Tensor, " b"],
    condition: Any,
) -> Float[Tensor, ""]:
    """Mean square over the tokens of the target layers alone, equal weight; z's tokens carry no loss.

    `noise` holds as many tokens as the targets together.
    """
    truth = torch.cat([clean[layer] for layer in targets], dim=1)
    level = sigma[:, None, None].to(truth.dtype)
    noised = (1 - level) * truth + level * noise
    tokens = torch.cat((clean["z"], noised), dim=1)
    out = backbone.predict(tokens, sequence_ids(backbone, ("z", *targets), clean["z"].shape[1]), condition, sigma)
    wanted = truth if backbone.prediction == "x0" else noise - truth
    return (out[:, clean["z"].shape[1] :] - wanted).square().mean()


def velocity(
    backbone: Backbone, tokens: Tensor, ids: Tensor, condition: Any, sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b m d"]:
    """Velocity of every token; from an x0 prediction v = (s_sigma - s) / sigma."""
    out = backbone.predict(tokens, ids, condition, sigma)
    return out if backbone.prediction == "velocity" else (tokens - out) / sigma[:, None, None]


@torch.no_grad()
def sample(
    backbone: Backbone,
    z: Float[Tensor, "b n d"],
    targets: Sequence[Layer],
    sigmas: Sequence[float],
    condition: Any,
    noise: Float[Tensor, "b k d"],
    watch: Callable[[Tensor], None] | None = None,
) -> dict[Layer, Float[Tensor, "b n d"]]:
    """Euler from `sigmas[0]` = 1 down to `sigmas[-1]` = 0; after every step z's tokens are the clean ones again.

    `watch` sees the whole sequence after each step.
    """
    ids = sequence_ids(backbone, ("z", *targets), z.shape[1])
    count = z.shape[1]
    tokens = torch.cat((z, noise), dim=1)
    for now, after in pairwise(sigmas):
        level = torch.full((z.shape[0],), now, dtype=z.dtype, device=z.device)
        tokens = tokens + (after - now) * velocity(backbone, tokens, ids, condition, level)
        tokens[:, :count] = z
        if watch is not None:
            watch(tokens)
    return {layer: tokens[:, count * (k + 1) : count * (k + 2)] for k, layer in enumerate(targets)}
