"""The small autoencoder: its shapes, its calibration, and what widening leaves alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from systems.parts.conv_vae import ConvVAE, Residual

DOWN = 4
WIDTH, LATENTS = 8, 3


def vae(channels: int = 3) -> ConvVAE:
    torch.manual_seed(0)
    return ConvVAE(channels, WIDTH, LATENTS)


def pictures(count: int = 2, channels: int = 3, height: int = 8, width: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, channels, height, width, generator=generator) - 1


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), channels=st.sampled_from([3, 4]))
def test_latents_are_a_quarter_of_the_height_and_width(rows: int, columns: int, channels: int) -> None:
    network, x = vae(channels), pictures(2, channels, DOWN * rows, DOWN * columns)
    mean, logvar = network.posterior(x)
    assert mean.shape == logvar.shape == (2, LATENTS, rows, columns)
    assert network.decode(mean).shape == x.shape


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    network, x = vae(), pictures(3)
    mean, _ = network.posterior(x)
    assert torch.allclose(network.posterior(x[1:2])[0], mean[1:2], atol=1e-6)
    assert torch.allclose(network.decode(mean)[1:2], network.decode(mean[1:2]), atol=1e-6)


def test_every_pixel_reaches_the_latents_and_every_latent_the_picture() -> None:
    network = vae()
    x = pictures(1).requires_grad_()
    mean, logvar = network.posterior(x)
    for out in (mean, logvar):
        (gradient,) = torch.autograd.grad(out.sum(), x, retain_graph=True)
        assert gradient.ne(0).all()
    latents = mean.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.decode(latents).square().sum(), latents)
    assert gradient.ne(0).all()


def test_the_spread_of_the_posterior_stays_in_bounds() -> None:
    network = vae()
    last = network.encoder[-1]
    nn.init.zeros_(last.weight)
    for value, wanted in ((1e3, 20.0), (-1e3, -30.0), (0.5, 0.5)):
        nn.init.constant_(last.bias, value)
        assert network.posterior(pictures())[1].eq(wanted).all()


def test_calibrated_latents_have_mean_0_and_spread_1_in_every_channel() -> None:
    network, x = vae(), pictures(6)
    with torch.no_grad():
        network.encoder[-1].bias[:LATENTS] += torch.tensor([5.0, -2.0, 0.0])
        network.encoder[-1].weight[:LATENTS] *= torch.tensor([10.0, 0.1, 1.0])[:, None, None, None]
    assert torch.equal(network.shift, torch.zeros(LATENTS))
    assert torch.equal(network.scale, torch.ones(LATENTS))
    network.calibrate(x)
    with torch.no_grad():
        mean, _ = network.posterior(x)
    scaled = (mean - network.shift[:, None, None]) * network.scale[:, None, None]
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(LATENTS), atol=1e-4)
    assert torch.allclose(scaled.std((0, 2, 3)), torch.ones(LATENTS), atol=1e-4)


def test_calibration_is_saved_and_changes_no_weight() -> None:
    network = vae()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.calibrate(pictures())
    after = network.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {"shift", "scale"}
    assert not any(weight.grad is not None for weight in network.parameters())


def test_widening_adds_an_alpha_that_is_opaque_and_ignored_and_keeps_the_colours() -> None:
    network, x = vae(), pictures()
    with torch.no_grad():
        before = network.decode(network.posterior(x)[0])
        network.widen()
        means = [
            network.posterior(torch.cat((x, alpha.expand(2, 1, 8, 12)), 1))[0] for alpha in torch.tensor([-1.0, 1.0])
        ]
        after = network.decode(means[0])
    assert torch.equal(means[0], means[1])
    assert torch.allclose(after[:, :3], before, atol=1e-6)
    assert after[:, 3].eq(1).all()
    assert network.last_layer is network.conv_out.weight
    assert network.last_layer.shape[0] == 4


def test_a_residual_layer_starts_from_its_input() -> None:
    layer, x = Residual(8), pictures(1, 8)
    assert not torch.allclose(layer(x), x)
    nn.init.zeros_(layer.conv2.weight)
    nn.init.zeros_(layer.conv2.bias)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("channels", [3, 4])
def test_it_learns_to_give_back_a_picture(channels: int) -> None:
    network, x = vae(channels), pictures(1, channels, 4, 4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    errors = []
    for _ in range(40):
        optimizer.zero_grad()
        error = (network.decode(network.posterior(x)[0]) - x).square().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.2 * errors[0]
