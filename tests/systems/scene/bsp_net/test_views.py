"""Single views: what a picture shows, and that an encoder of pictures learns the codes of a network that stays."""

from __future__ import annotations

import pytest
import torch

from systems.parts.run import Training
from systems.parts.step_batches import step_generator
from systems.scene.bsp_net import views
from systems.scene.bsp_net.module import FromView
from systems.scene.bsp_net.network import Architecture, BSPNet
from systems.scene.bsp_net.views import SingleView, ViewEncoder

SMALL = Architecture(dims=3, side=8, width=2, planes=6, convexes=3)
FLAT = Architecture(dims=2, side=16, width=2, planes=6, convexes=3)
GIVEN = SingleView(training=Training(steps=1, batch=4), lr=1e-2, noise=0.05)


def some(given: Architecture, count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(count, *(given.side,) * given.dims, generator=generator) > 0.7).float()


def test_the_front_of_a_solid_shows_its_nearest_cells_and_the_nearer_the_brighter() -> None:
    solid = torch.zeros(1, 5, 5, 5)
    solid[0, 0, 1, 2] = solid[0, 4, 1, 2] = solid[0, 4, 3, 3] = 1
    front = views.front(solid)[0]
    assert front[1, 2] == 1
    assert front[3, 3] == pytest.approx(views.FARTHEST)
    assert (front > 0).sum() == 2
    flat = some(FLAT)
    assert torch.equal(views.front(flat), flat)


@pytest.mark.parametrize("given", [SMALL, FLAT])
def test_a_picture_is_its_front_in_other_greys_with_the_noise_that_was_asked(given: Architecture) -> None:
    front = views.front(some(given)).flatten(1)
    clean, noisy = (views.seen(some(given), noise, step_generator(0, 5)).flatten(1) for noise in (0.0, 0.5))
    for a, b in zip(front, clean, strict=True):
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] == pytest.approx(1, abs=1e-4)
    assert (noisy - clean).std() == pytest.approx(0.5, rel=0.2)
    assert torch.equal(noisy, views.seen(some(given), 0.5, step_generator(0, 5)).flatten(1))
    assert not torch.equal(noisy, views.seen(some(given), 0.5, step_generator(0, 6)).flatten(1))


@pytest.mark.parametrize("given", [SMALL, FLAT])
def test_an_encoder_of_pictures_learns_the_codes_and_nothing_else_changes(given: Architecture) -> None:
    torch.manual_seed(0)
    net, encoder = BSPNet(given, 1), ViewEncoder(given)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    module = FromView(encoder, net, GIVEN, 0, some(given).byte())
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    optimizer = module.configure_optimizers()
    losses = []
    for _ in range(60):
        loss = module.training_step({"voxels": some(given).byte()}, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_shape_of_a_voxels_code_is_the_networks_own() -> None:
    torch.manual_seed(0)
    net, voxels = BSPNet(SMALL, 1), some(SMALL)
    assert torch.equal(views.shapes_of(net, net.encoder.code(voxels)).flatten(1), net.shapes(voxels))
