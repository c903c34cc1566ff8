"""Flow matching in context: what is clean stays clean, and the loss and the sampler are what the equations say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from systems.image_layers.diffdecompose import flow
from systems.image_layers.diffdecompose.positions import position_ids

N, D = 4, 6
TARGET_SETS = [("x", "y"), ("y",), ("x",)]


class Mixing(nn.Module):
    """A backbone whose every output token depends on every input token, and that remembers its outputs."""

    patch = 2

    def __init__(self, prediction: str) -> None:
        super().__init__()
        self.prediction = prediction
        self.mix = nn.Linear(D, D)
        self.outputs: list[Tensor] = []

    def position_ids(self, layer: Any, lh: int, lw: int) -> Tensor:
        return position_ids(layer, lh // 2, lw // 2)

    def predict(self, tokens: Tensor, ids: Tensor, condition: Any, sigma: Tensor) -> Tensor:
        assert len(ids) == tokens.shape[1]
        out: Tensor = self.mix(tokens) + tokens.mean(dim=1, keepdim=True) * sigma[:, None, None]
        out.retain_grad() if out.requires_grad else None
        self.outputs.append(out)
        return out


def layers(seed: int = 0) -> dict[Any, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(3, N, D, generator=generator) for layer in ("z", "x", "y")}


@pytest.mark.parametrize("prediction", ["x0", "velocity"])
@pytest.mark.parametrize("targets", TARGET_SETS)
def test_holds_4_4_after_every_step_the_tokens_of_z_are_the_inputs_bit_for_bit(
    prediction: str, targets: Sequence[Any]
) -> None:
    backbone, clean, seen = Mixing(prediction), layers(), []
    noise = torch.randn(3, N * len(targets), D)
    out = flow.sample(
        backbone, clean["z"], targets, [1.0, 0.7, 0.3, 0.0], None, noise, lambda tokens: seen.append(tokens.clone())
    )
    assert len(seen) == 3
    assert all(torch.equal(tokens[:, :N], clean["z"]) for tokens in seen)
    assert all(torch.equal(out[layer], seen[-1][:, N * (k + 1) : N * (k + 2)]) for k, layer in enumerate(targets))


@pytest.mark.parametrize("prediction", ["x0", "velocity"])
@pytest.mark.parametrize("targets", TARGET_SETS)
def test_holds_4_4_no_gradient_of_the_loss_reaches_the_output_at_the_tokens_of_z(
    prediction: str, targets: Sequence[Any]
) -> None:
    backbone, clean = Mixing(prediction), layers()
    noise, sigma = torch.randn(3, N * len(targets), D), torch.tensor([0.2, 0.5, 0.9])
    flow.flow_loss(backbone, clean, targets, noise, sigma, None).backward()
    gradient = backbone.outputs[0].grad
    assert gradient is not None
    assert torch.equal(gradient[:, :N], torch.zeros_like(gradient[:, :N]))
    assert (gradient[:, N:] != 0).any()


@pytest.mark.parametrize("prediction", ["x0", "velocity"])
def test_the_loss_is_the_one_written_by_hand(prediction: str) -> None:
    backbone, clean = Mixing(prediction), layers(1)
    noise, sigma = torch.randn(3, 2 * N, D), torch.tensor([0.1, 0.4, 0.8])
    loss = flow.flow_loss(backbone, clean, ("x", "y"), noise, sigma, None)
    out = backbone.outputs[0].detach()
    total = 0.0
    for sample in range(3):
        for k, layer in enumerate(("x", "y")):
            for token in range(N):
                s, eps = clean[layer][sample, token], noise[sample, k * N + token]
                wanted = s if prediction == "x0" else eps - s
                total += float((out[sample, (k + 1) * N + token] - wanted).square().sum())
    assert float(loss) == pytest.approx(total / (3 * 2 * N * D), rel=1e-5)


class KnowsTheAnswer(Mixing):
    """Predicts the same clean tokens, or their velocity, whatever it sees."""

    def __init__(self, prediction: str, answer: Tensor) -> None:
        super().__init__(prediction)
        self.answer = answer

    def predict(self, tokens: Tensor, ids: Tensor, condition: Any, sigma: Tensor) -> Tensor:
        clean = torch.cat((tokens[:, :N], self.answer), dim=1)
        # With the answer known, (s_sigma - s) / sigma is the velocity at any level.
        return clean if self.prediction == "x0" else (tokens - clean) / sigma[:, None, None]


@pytest.mark.parametrize("prediction", ["x0", "velocity"])
def test_a_network_that_knows_the_answer_is_sampled_exactly(prediction: str) -> None:
    answer = torch.randn(3, 2 * N, D)
    backbone = KnowsTheAnswer(prediction, answer)
    out = flow.sample(backbone, layers()["z"], ("x", "y"), [1.0, 0.6, 0.1, 0.0], None, torch.randn(3, 2 * N, D))
    assert torch.allclose(torch.cat((out["x"], out["y"]), dim=1), answer, atol=1e-5)


def test_target_sets_are_drawn_by_their_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [flow.draw_targets(generator) for _ in range(4000)]
    for targets, weight in flow.TARGETS:
        assert abs(drawn.count(targets) / len(drawn) - weight) < 0.03


def test_noise_levels_stay_in_their_range() -> None:
    generator = torch.Generator().manual_seed(0)
    logit = flow.logit_normal_sigma(10_000, generator)
    assert float(logit.min()) == pytest.approx(flow.LEAST_SIGMA)
    assert float(logit.max()) < 1
    assert abs(float(logit.median()) - 0.5) < 0.02
    uniform = flow.uniform_sigma(10_000, generator)
    assert float(uniform.min()) >= 0.001
    assert float(uniform.max()) == 1.0
    assert abs(float(uniform.mean()) - 0.5) < 0.02


@pytest.mark.parametrize("shift", [1.0, 2.5, 4.0])
def test_a_shift_multiplies_the_odds_of_noise_and_keeps_both_ends(shift: float) -> None:
    levels = torch.linspace(0, 1, 11, dtype=torch.float64)
    moved = flow.shifted(levels, shift)
    assert moved[0] == 0
    assert moved[-1] == 1
    inner, before = moved[1:-1], levels[1:-1]
    assert torch.allclose(inner / (1 - inner), shift * before / (1 - before))
