import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from systems.image_layers.diffdecompose.flux import FluxAutoencoder
from systems.parts import rgba_vae
from systems.parts.conv_vae import ConvVAE
from tests.systems.image_layers.diffdecompose import tiny_checkpoint

BACKGROUNDS = 20_000


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pictures(count: int = 2, side: int = 4) -> Tensor:
    return 2 * torch.rand(count, 4, side, side) - 1


def two_point_backgrounds(mean: Tensor, second: Tensor) -> Tensor:
    """Colours [n, 3, 1, 1] that take two values a channel, half of the time each, with exactly these moments."""
    spread = (second - mean**2).sqrt()
    signs = torch.cat((torch.ones(BACKGROUNDS // 2, 3), -torch.ones(BACKGROUNDS // 2, 3)))
    signs = torch.stack([column[torch.randperm(BACKGROUNDS)] for column in signs.T], dim=1)
    return (mean + spread * signs)[:, :, None, None]


def uniform_backgrounds(mean: Tensor, second: Tensor) -> Tensor:
    """Colours [n, 3, 1, 1] of a uniform distribution with these moments."""
    spread = (3 * (second - mean**2)).sqrt()
    return (mean + spread * (2 * torch.rand(BACKGROUNDS, 3) - 1))[:, :, None, None]


def over(rgba: Tensor, backgrounds: Tensor) -> Tensor:
    alpha = (rgba[3:] + 1) / 2
    return alpha * rgba[:3] + (1 - alpha) * backgrounds


@pytest.mark.parametrize("draw", [two_point_backgrounds, uniform_backgrounds])
def test_holds_4_5_loss_is_the_mean_squared_composite_error_over_random_backgrounds(draw):
    rgba, rgba_hat = pictures(), pictures()
    backgrounds = draw(torch.tensor(rgba_vae.MEAN_B), torch.tensor(rgba_vae.SECOND_MOMENT_B))

    errors = [over(a, backgrounds) - over(b, backgrounds) for a, b in zip(rgba, rgba_hat, strict=True)]
    monte_carlo = sum(error.square().sum((1, 2, 3)).mean() for error in errors) / len(rgba)

    assert rgba_vae.reconstruction_loss(rgba, rgba_hat) == pytest.approx(monte_carlo.item(), rel=0.02)


def test_loss_uses_the_moments_it_is_given():
    rgba, rgba_hat = pictures(), pictures()
    white = torch.ones(3, 1, 1)
    error = sum((over(a, white) - over(b, white)).square().sum() for a, b in zip(rgba, rgba_hat, strict=True))
    loss = rgba_vae.reconstruction_loss(rgba, rgba_hat, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert loss == pytest.approx(error.item() / 2, rel=1e-5)


def test_colour_under_zero_alpha_costs_nothing():
    rgba = pictures()
    rgba[:, 3] = -1
    other = rgba.clone()
    other[:, :3] = pictures()[:, :3]
    assert rgba_vae.reconstruction_loss(rgba, other) == 0


def diffusers_pair() -> tuple[nn.Module, nn.Module]:
    """An RGB autoencoder of diffusers' class and the same one widened."""
    narrow = tiny_checkpoint.autoencoder(3)
    wide = AutoencoderKL.from_config(narrow.config)
    wide.load_state_dict(narrow.state_dict())
    rgba_vae.widen_autoencoder(wide)
    assert (wide.config["in_channels"], wide.config["out_channels"]) == (4, 4)
    return FluxAutoencoder(narrow), FluxAutoencoder(wide)


def small_pair() -> tuple[nn.Module, nn.Module]:
    """The small RGB autoencoder and the same one widened."""
    narrow, wide = ConvVAE(3, width=8, latents=4), ConvVAE(3, width=8, latents=4)
    wide.load_state_dict(narrow.state_dict())
    wide.widen()
    return narrow, wide


@pytest.mark.parametrize("pair", [diffusers_pair, small_pair])
def test_holds_4_5_fresh_widening_keeps_colours_and_is_opaque(pair):
    narrow, wide = pair()
    rgba = pictures(side=16)
    with torch.no_grad():
        (mean, logvar), (wide_mean, wide_logvar) = narrow.posterior(rgba[:, :3]), wide.posterior(rgba)
        rgb, out = narrow.decode(mean), wide.decode(wide_mean)
    assert torch.allclose(wide_mean, mean, atol=1e-5)
    assert torch.allclose(wide_logvar, logvar, atol=1e-5)
    assert torch.allclose(out[:, :3], rgb, atol=1e-5)
    assert torch.allclose((out[:, 3] + 1) / 2, torch.ones(2, 16, 16), atol=1e-5)


@pytest.mark.parametrize("pair", [diffusers_pair, small_pair])
def test_widened_channels_learn(pair):
    _, wide = pair()
    rgba = pictures(side=16)
    weights = [weight for weight in wide.parameters() if 4 in weight.shape[:2] and weight.dim() == 4]
    mean, _ = wide.posterior(rgba)
    rgba_vae.reconstruction_loss(rgba, wide.decode(mean)).backward()
    assert any(weight.shape[1] == 4 and weight.grad[:, 3].abs().sum() > 0 for weight in weights)
    assert any(weight.shape[0] == 4 and weight.grad[3].abs().sum() > 0 for weight in weights)


@given(stride=st.integers(1, 2), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=4, deadline=None)
def test_widening_keeps_kernel_stride_and_type(stride, dtype):
    x = pictures(side=8).to(dtype)
    conv_in = nn.Conv2d(3, 5, 4, stride, 1).to(dtype)
    conv_out = nn.Conv2d(4, 3, 4, stride, 1).to(dtype)
    assert torch.allclose(rgba_vae.widen_conv_in(conv_in)(x), conv_in(x[:, :3]), atol=1e-5)
    wide = rgba_vae.widen_conv_out(conv_out)(x)
    assert torch.allclose(wide[:, :3], conv_out(x), atol=1e-5)
    assert wide[:, 3].eq(1).all()


def test_widening_wants_a_bias():
    with pytest.raises(ValueError, match="bias"):
        rgba_vae.widen_conv_out(nn.Conv2d(4, 3, 3, bias=False))


def test_composites_on_black_and_white():
    rgba = pictures(1)
    black, white = rgba_vae.on_black_and_white(rgba)
    assert torch.allclose(black[0], over(rgba[0], -torch.ones(3, 1, 1)), atol=1e-6)
    assert torch.allclose(white[0], over(rgba[0], torch.ones(3, 1, 1)), atol=1e-6)


def test_kl_terms_equal_those_of_diffusers():
    ours, reference = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    a, b = DiagonalGaussianDistribution(ours), DiagonalGaussianDistribution(reference)
    assert rgba_vae.kl_to_standard(*ours.chunk(2, 1)) == pytest.approx(a.kl().mean().item(), rel=1e-5)
    between = rgba_vae.kl_between(tuple(ours.chunk(2, 1)), tuple(reference.chunk(2, 1)))
    assert between == pytest.approx(a.kl(b).mean().item(), rel=1e-5)


def test_discriminator_judges_patches_of_70_pixels():
    critic = rgba_vae.PatchDiscriminator(width=4).eval()
    x = torch.zeros(1, 4, 256, 256, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


def test_discriminator_learns_to_tell_by_the_hinge():
    critic = rgba_vae.PatchDiscriminator(width=4)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    real, fake = pictures(4, 32), pictures(4, 32) * 0.1
    start = rgba_vae.hinge_loss(critic(real), critic(fake)).item()
    for _ in range(20):
        optimizer.zero_grad()
        rgba_vae.hinge_loss(critic(real), critic(fake)).backward()
        optimizer.step()
    assert rgba_vae.hinge_loss(critic(real), critic(fake)) < 0.5 * start


def test_hinge_is_flat_beyond_the_margin():
    sure, unsure = torch.full((1, 1, 2, 2), 1.5), torch.zeros(1, 1, 2, 2)
    assert rgba_vae.hinge_loss(sure, -sure) == 0
    assert rgba_vae.hinge_loss(unsure, unsure) == 1


def test_adaptive_weight_balances_gradients_at_the_last_layer():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    ratio = rgba_vae.adaptive_weight((weight**2).sum(), 0.5 * weight.sum(), weight)
    assert ratio == pytest.approx(10 / (0.5 * 2**0.5 + 1e-4), rel=1e-5)
    assert not ratio.requires_grad
    assert rgba_vae.adaptive_weight(1e6 * weight.sum(), 0 * weight.sum(), weight) == 1e4
