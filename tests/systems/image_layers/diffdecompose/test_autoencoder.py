"""Part B as a module: every term by hand, who learns from what, and exact resumption with all terms on."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.run import StageRun
from stages.training import fit
from systems.image_layers.diffdecompose.autoencoder import (
    Autoencoder,
    AutoencoderParams,
    cosine_with_warmup,
    gradient_error,
)
from systems.parts import rgba_vae
from systems.parts.conv_vae import ConvVAE
from systems.parts.errors import UserError
from systems.parts.perceptual import STLPIPS
from systems.parts.rgba_vae import LEAST_SIDE, PatchDiscriminator, hinge_loss, kl_to_standard, reconstruction_loss
from systems.parts.run import Training
from systems.parts.step_batches import StepBatches, own, step_generator
from tests.systems.image_layers.diffdecompose.mortal import KilledError, Mortal, Seeded

SIDE, STEPS = LEAST_SIDE, 6
TRAINING = Training(steps=STEPS, batch=2, accelerator="cpu", checkpoint_every=2, sample_every=STEPS)
ALL = {"perceptual": 0.5, "adversarial_start": 0, "kl_reference": 0.3, "kl": 0.1, "gradient": 0.2, "warmup": 0}


def lpips() -> STLPIPS:
    """The perceptual network with random weights, frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return STLPIPS().eval().requires_grad_(False)


def pictures(count: int = 4, channels: int = 4, side: int = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


Module = TypeVar("Module", bound=Autoencoder)


def make(
    kind: type[Module] = Autoencoder,  # type: ignore[assignment]
    channels: int = 4,
    network: STLPIPS | None = None,
    side: int = SIDE,
    **changes: Any,
) -> Module:
    """A module on a small network that is freshly widened where it has four channels."""
    torch.manual_seed(0)
    vae = ConvVAE(3, 8, 4)
    if channels == 4:
        vae.widen()
    params = AutoencoderParams(rgb=TRAINING, rgba=TRAINING, **changes)
    return kind(vae, params, STEPS, 0, pictures(2, channels, side), network)


def at_step(module: Autoencoder, step: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The loss of a step."""
    monkeypatch.setattr(Autoencoder, "global_step", property(lambda _: step))
    return module.training_step({"picture": pictures(2, module.show.shape[1])}, 0)


def forward(module: Autoencoder, step: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Picture, mean, logarithm of the variance, and reconstruction as the step makes them."""
    x = pictures(2, module.show.shape[1]).float() / 127.5 - 1
    mean, logvar = module.vae.posterior(x)
    noise = torch.randn(mean.shape, generator=step_generator(0, step))
    return x, mean, logvar, module.vae.decode(mean + (0.5 * logvar).exp() * noise)


@pytest.mark.parametrize("channels", [3, 4])
def test_two_processes_have_the_gradient_of_one(channels: int) -> None:
    module, x, found = make(channels=channels, kl=0.1), pictures(4, channels), []
    for rank, processes in ((0, 1), (0, 2), (1, 2)):
        module.zero_grad()
        with mock.patch("systems.parts.step_batches.piece", lambda where=(rank, processes): where):
            module.training_step({"picture": own(x)}, 0).backward()
        found.append(torch.cat([weight.grad.flatten() for weight in module.vae.parameters()]))
    whole, first, second = found
    assert ((first + second) / 2 - whole).norm() <= 1e-5 * whole.norm()


def flat(rgba: Tensor, ground: float) -> Tensor:
    """Composite over a grey ground, in -1..1."""
    alpha = (rgba[:, 3:] + 1) / 2
    return rgba[:, :3] * alpha + ground * (1 - alpha)


def norm(gradient: Tensor) -> Tensor:
    return gradient.square().sum().sqrt()


def test_differences_of_neighbours_are_those_of_a_loop() -> None:
    a, b = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    total, d = 0.0, (a - b).numpy()
    for sample, channel, row, column in np.ndindex(*d.shape):
        for down, right in ((1, 0), (0, 1)):
            if row + down < 4 and column + right < 5:
                total += (d[sample, channel, row + down, column + right] - d[sample, channel, row, column]) ** 2
    assert gradient_error(a, b) == pytest.approx(total / 2, rel=1e-5)


def test_step_sizes_rise_in_a_line_and_fall_in_half_a_cosine() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    schedule = cosine_with_warmup(optimizer, 10, 110)
    seen = []
    for _ in range(111):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert seen[:11] == pytest.approx([*((step + 1) / 10 for step in range(10)), 1.0])
    assert [seen[35], seen[60], seen[110]] == pytest.approx([(1 + math.sqrt(0.5)) / 2, 0.5, 0.0], abs=1e-9)


def test_the_rgba_loss_is_the_sum_of_its_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make(network=lpips(), **{**ALL, "adversarial_start": None})
    for weight in module.vae.parameters():  # away from the frozen copy
        weight.data += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    loss = at_step(module, 3, monkeypatch)
    x, mean, logvar, out = forward(module, 3)
    wanted = reconstruction_loss(x, out) + 0.1 * kl_to_standard(mean, logvar)
    for ground in (-1.0, 1.0):
        a, b = flat(x, ground), flat(out, ground)
        wanted = wanted + 0.5 * module.lpips((a + 1) / 2, (b + 1) / 2).mean() / 2 + 0.2 * gradient_error(a, b) / 2
        opaque = torch.cat((a, torch.ones_like(a[:, :1])), dim=1)
        (m, v), (m0, v0) = module.vae.posterior(opaque), module.reference.posterior(opaque)
        kl = 0.5 * (((m - m0).square() + v.exp()) / v0.exp() - 1 - v + v0).sum() / len(x)
        assert kl > 0.01
        wanted = wanted + 0.3 * kl / 2
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_rgb_loss_has_neither_perception_nor_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the RGB phase looked through the perceptual network")

    monkeypatch.setattr(STLPIPS, "forward", never)
    module = make(channels=3, network=lpips(), **ALL)
    assert module.adversary is None
    assert module.reference is None
    loss = at_step(module, 0, monkeypatch)
    x, mean, logvar, out = forward(module)
    wanted = (x - out).square().sum() / 2 + 0.2 * gradient_error(x, out) + 0.1 * kl_to_standard(mean, logvar)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_adversarial_term_has_vqgans_weight_at_the_last_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make(network=lpips(), **ALL)
    x, _, _, out = forward(module)
    reconstruction = module.reconstruction(x, out)
    adversarial = -module.adversary(out).mean()
    last = module.vae.conv_out.weight
    ours, theirs = (
        norm(torch.autograd.grad(loss, last, retain_graph=True)[0]) for loss in (reconstruction, adversarial)
    )
    weight = ours / (theirs + 1e-4)
    assert 0 < weight < 1e4
    own = hinge_loss(module.adversary(x), module.adversary(out))
    contest = module.contest(x, out, reconstruction, module.adversary)
    assert contest.item() == pytest.approx((weight * adversarial + own).item(), rel=1e-4)
    without = at_step(make(network=lpips(), **{**ALL, "adversarial_start": None}), 0, monkeypatch)
    assert at_step(module, 0, monkeypatch).item() == pytest.approx((without + contest).item(), rel=1e-4)


def gradients(network: nn.Module) -> list[Tensor]:
    return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]


def test_each_side_learns_from_its_own_loss_alone() -> None:
    module = make(**ALL)
    x, _, _, out = forward(module)
    reconstruction = module.reconstruction(x, out)
    weight = rgba_vae.adaptive_weight(reconstruction, -module.adversary(out).mean(), module.vae.conv_out.weight)

    def after(loss: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        module.zero_grad(set_to_none=True)
        loss.backward(retain_graph=True)
        return gradients(module.vae), gradients(module.adversary)

    together = after(module.contest(x, out, reconstruction, module.adversary))
    of_autoencoder, _ = after(-weight * module.adversary(out).mean())
    nothing, of_discriminator = after(hinge_loss(module.adversary(x), module.adversary(out.detach())))
    assert nothing == []
    for ours, wanted in zip(together, (of_autoencoder, of_discriminator), strict=True):
        assert len(ours) == len(wanted) > 0
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(ours, wanted, strict=True))
        assert any(a.ne(0).any() for a in ours)


@pytest.mark.parametrize(("start", "step", "judged"), [(2, 0, False), (2, 1, False), (2, 2, True), (0, 0, True)])
def test_before_its_start_the_discriminator_gets_no_gradient(
    start: int, step: int, judged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make(adversarial_start=start, kl_reference=1.0)
    at_step(module, step, monkeypatch).backward()
    assert bool(gradients(module.adversary)) == judged
    assert gradients(module.vae)
    assert gradients(module.reference) == []


def test_the_optimiser_has_the_autoencoder_and_its_adversary_and_nothing_frozen() -> None:
    module = make(network=lpips(), **ALL)
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    assert {id(weight) for weight in group["params"]} == {
        id(weight) for part in (module.vae, module.adversary) for weight in part.parameters()
    }
    assert group["betas"] == (0.5, 0.9)


def test_autoencoder_and_adversary_are_clipped_each_by_its_own_norm() -> None:
    module = make(**ALL)
    for part, size in ((module.vae, 1e5), (module.adversary, 1e-3)):
        for weight in part.parameters():
            weight.grad = torch.full_like(weight, size)
    before = gradients(module.adversary)
    module.configure_gradient_clipping(module.configure_optimizers()["optimizer"], 5.0)
    total = torch.stack([norm(gradient) for gradient in gradients(module.vae)]).norm()
    assert total == pytest.approx(5.0, rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(gradients(module.adversary), before, strict=True))


def test_pictures_too_small_to_be_judged_are_refused() -> None:
    assert make(side=LEAST_SIDE - 8).adversary is None
    with pytest.raises(UserError, match=r"adversarial_start = 0: pictures of 16 x 16 px are too small.*at least 24 px"):
        make(side=16, adversarial_start=0)
    assert PatchDiscriminator(width=4)(torch.zeros(1, 4, LEAST_SIDE, LEAST_SIDE)).numel() == 1


def test_what_it_shows_are_pictures_above_their_reconstructions() -> None:
    shown = make().sample_picture()
    assert shown.dtype == np.uint8
    assert shown.shape[0] == shown.shape[1]
    assert shown.shape[2] == 3


class MortalAutoencoder(Mortal, Autoencoder):
    """The module under test, mortal."""


def trained(folder: Path, dies: int = -1) -> tuple[MortalAutoencoder, StageRun[Any]]:
    """All terms on, through the trainer of the stages; killed at step `dies` and begun again."""
    run: StageRun[Any] = StageRun("train", "diffdecompose", Seeded(), {}, folder / "out", folder / "reports")
    run.work = folder / "work"
    run.begin()
    for step in (dies, -1):
        module = make(MortalAutoencoder, network=lpips(), **{**ALL, "adversarial_start": 1})
        module.dies = step
        try:
            with mock.patch("stages.training.LOG_EVERY", 1):
                fit(run, module, StepBatches({"picture": pictures()}, 2, STEPS, 0), TRAINING, "autoencoder_rgba")
        except KilledError:
            run.curves.clear()
        else:
            return module, run
    raise AssertionError("killed twice")


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    yield trained(tmp_path / "whole")
    torch.use_deterministic_algorithms(False)  # the trainer switched it on for the whole process


@pytest.mark.parametrize("dies", [3, 4, 5])
def test_a_killed_training_ends_with_the_same_weights_as_a_whole_one(
    whole: tuple[MortalAutoencoder, StageRun[Any]], tmp_path: Path, dies: int
) -> None:
    module, run = trained(tmp_path / "killed", dies)
    assert module.began == dies // 2 * 2
    wanted, fresh = whole[0].state_dict(), make(network=lpips(), **ALL).state_dict()
    for name, value in module.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    moved = {name for name in wanted if not torch.equal(wanted[name], fresh[name])}
    assert {name.split(".")[0] for name in moved} == {"vae", "adversary"}
    assert len(run.curves["autoencoder_rgba/loss"]) == STEPS
    assert len(run.curves["autoencoder_rgba/discriminator"]) == STEPS - 1
    assert run.curves == whole[1].curves


def test_checkpoints_leave_out_what_is_frozen_and_keep_all_else(whole: tuple[MortalAutoencoder, StageRun[Any]]) -> None:
    module, run = whole
    stored = torch.load(run.work / "autoencoder_rgba" / "last.ckpt", weights_only=True)["state_dict"]
    frozen = {name for name in module.state_dict() if name.split(".")[0] in ("lpips", "reference")}
    assert frozen
    assert set(stored) == set(module.state_dict()) - frozen
    assert any("running_mean" in name for name in stored)


def test_the_frozen_copy_is_the_freshly_widened_network(whole: tuple[MortalAutoencoder, StageRun[Any]]) -> None:
    fresh = make(**ALL)
    wanted = copy.deepcopy(fresh.vae).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in whole[0].reference.state_dict().items())
