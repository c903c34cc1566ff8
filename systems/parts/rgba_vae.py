"""From an RGB to an RGBA autoencoder, and the loss that trains it: AlphaVAE, part B of card 04.

Pictures are [-1, 1] in all four channels and of straight alpha; alpha proper is (channel 4 + 1) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

MEAN_B = (-0.0357, -0.0811, -0.1797)
"""E[b] of natural backgrounds in [-1, 1], a value a colour channel (AlphaVAE)."""

SECOND_MOMENT_B = (0.3163, 0.3060, 0.3634)
"""E[b^2] of the same backgrounds."""

LARGEST_WEIGHT = 1e4

LEAST_SIDE = 24
"""Side, px, of the smallest picture of which the discriminator sees a patch."""


def widen_conv_in(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with a fourth input channel that it does not look at yet."""
    wide = _like(conv, 4, conv.out_channels)
    with torch.no_grad():
        wide.weight.zero_()[:, :3] = conv.weight
        _bias(wide).copy_(_bias(conv))
    return wide


def widen_conv_out(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with a fourth output channel that is 1, opaque, whatever comes in."""
    wide = _like(conv, conv.in_channels, 4)
    with torch.no_grad():
        wide.weight.zero_()[:3] = conv.weight
        _bias(wide).fill_(1.0)[:3] = _bias(conv)
    return wide


def _like(conv: nn.Conv2d, channels_in: int, channels_out: int) -> nn.Conv2d:
    """A convolution of the same kernel, stride, padding, device and type."""
    kernel, stride, padding = conv.kernel_size, conv.stride, conv.padding
    place = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding, **place)  # type: ignore[arg-type]


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise ValueError("a convolution with a bias is wanted: the bias is what makes a fresh alpha opaque")
    return conv.bias


def widen_autoencoder(vae: AutoencoderKL) -> None:
    """Give a diffusers RGB autoencoder a fourth channel in and out, in place; its configuration says so too."""
    vae.encoder.conv_in = widen_conv_in(vae.encoder.conv_in)
    vae.decoder.conv_out = widen_conv_out(vae.decoder.conv_out)
    vae.register_to_config(in_channels=4, out_channels=4)  # type: ignore[no-untyped-call]


def on_black_and_white(rgba: Float[Tensor, "b 4 h w"]) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
    """Composites over a black and over a white background, in [-1, 1]."""
    alpha = (rgba[:, 3:] + 1) / 2
    colour = rgba[:, :3] * alpha
    return colour - (1 - alpha), colour + (1 - alpha)


def reconstruction_loss(
    rgba: Float[Tensor, "b 4 h w"],
    rgba_hat: Float[Tensor, "b 4 h w"],
    mean_b: Sequence[float] = MEAN_B,
    second_moment_b: Sequence[float] = SECOND_MOMENT_B,
) -> Float[Tensor, ""]:
    """Expected squared error of the composite over a random background b, summed over pixels, divided by the batch.

    The composites differ by d - b e with d = alpha c - alpha^ c^ and e = alpha - alpha^, hence
    d^2 - 2 E[b] d e + E[b^2] e^2 for every colour channel.
    """
    alpha, alpha_hat = (rgba[:, 3:] + 1) / 2, (rgba_hat[:, 3:] + 1) / 2
    d = rgba[:, :3] * alpha - rgba_hat[:, :3] * alpha_hat
    e = alpha - alpha_hat
    mean, second = (d.new_tensor(moment)[:, None, None] for moment in (mean_b, second_moment_b))
    return (d.square() - 2 * mean * d * e + second * e.square()).sum() / len(rgba)


def kl_to_standard(mean: Float[Tensor, "b c h w"], logvar: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """KL of a Gaussian posterior to N(0, I) in nats, summed over latents, divided by the batch."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / len(mean)


def kl_between(
    posterior: tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]],
    reference: tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]],
) -> Float[Tensor, ""]:
    """KL of one Gaussian (mean, logvar) to another, in nats, summed over latents, divided by the batch."""
    (mean, logvar), (mean_ref, logvar_ref) = posterior, reference
    spread = ((mean - mean_ref).square() + logvar.exp()) / logvar_ref.exp()
    return 0.5 * (spread - 1 - logvar + logvar_ref).sum() / len(mean)


class PatchDiscriminator(nn.Sequential):
    """PatchGAN: a logit for every patch of a picture, three strided layers deep (pix2pix, weights from N(0, 0.02))."""

    def __init__(self, channels: int = 4, width: int = 64, layers: int = 3) -> None:
        """`width` channels in the first layer, twice as many in each further one, at most eight times."""
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        stages: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            stages += [nn.Conv2d(widths[layer - 1], widths[layer], 4, stride, 1, bias=False)]
            stages += [nn.BatchNorm2d(widths[layer]), nn.LeakyReLU(0.2)]
        super().__init__(*stages, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_pix2pix_init)


def _pix2pix_init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def hinge_loss(real: Float[Tensor, "b 1 h w"], fake: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """What the discriminator minimises, from its logits of true and of reconstructed pictures."""
    return 0.5 * (nn.functional.relu(1 - real).mean() + nn.functional.relu(1 + fake).mean())


def adaptive_weight(
    reconstruction: Float[Tensor, ""], adversarial: Float[Tensor, ""], last_layer: Tensor
) -> Float[Tensor, ""]:
    """|grad rec| / (|grad adv| + 1e-4) at the decoder's last convolution, at most 1e4 and without gradient (VQGAN)."""
    losses = (reconstruction, adversarial)
    ours, theirs = (torch.autograd.grad(loss, last_layer, retain_graph=True)[0].detach().norm() for loss in losses)
    weight: Tensor = ours / (theirs + 1e-4)
    return weight.clamp(max=LARGEST_WEIGHT)
