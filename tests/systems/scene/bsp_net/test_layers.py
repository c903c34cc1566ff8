"""Planes, convexes, unions and losses against oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely import intersection_all
from shapely.geometry import Point, Polygon

from systems.parts.errors import UserError
from systems.scene.bsp_net import layers
from systems.scene.bsp_net.network import Architecture, BSPNet, centres

SIDE = 16
FAR = 1000.0


def random_planes(seed: int, dims: int, planes: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(1, dims, planes, generator=generator, dtype=torch.float64)
    return normals, 0.5 * torch.randn(1, 1, planes, generator=generator, dtype=torch.float64) - 0.3


def random_matrix(seed: int, planes: int = 12, convexes: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(planes, convexes, generator=generator) < 0.3).double()


def half_plane(normal: np.ndarray, offset: float) -> Polygon:
    """The half-plane n.x + b <= 0 as a large rectangle."""
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    edge = -offset * normal / (normal @ normal)
    deep = -FAR * normal / np.linalg.norm(normal)
    return Polygon([edge + FAR * along, edge - FAR * along, edge - FAR * along + deep, edge + FAR * along + deep])


@given(st.integers(0, 10_000), st.sampled_from((2, 3)))
def test_holds_12_1_convexes_are_intersections_and_convex(seed: int, dims: int) -> None:
    normals, offsets = random_planes(seed, dims)
    T = random_matrix(seed)
    points = centres(SIDE if dims == 2 else 8, dims).double()
    h2 = layers.convexes(layers.half_spaces(points[None], normals, offsets), T)[0]
    inside = (h2 == 0).numpy()
    outside = points.numpy() @ normals[0].numpy() + offsets[0].numpy() > 0
    for j in range(T.shape[1]):
        bounded = T[:, j].numpy() > 0
        assert np.array_equal(inside[:, j], ~outside[:, bounded].any(axis=1))
        members = points[inside[:, j]]
        if len(members) > 1:
            middle = (members + members.flip(0)) / 2
            again = layers.convexes(layers.half_spaces(middle[None], normals, offsets), T)[0, :, j]
            assert again.max() < 1e-12


@given(st.integers(0, 1000))
def test_holds_12_1_shapely_agrees_at_every_grid_point(seed: int) -> None:
    normals, offsets = random_planes(seed, 2, planes=5)
    points = centres(8, 2).double()
    h2 = layers.convexes(layers.half_spaces(points[None], normals, offsets), torch.ones(5, 1, dtype=torch.float64))
    pieces = [half_plane(normals[0, :, i].numpy(), float(offsets[0, 0, i])) for i in range(5)]
    region = intersection_all(pieces)
    for point, distance in zip(points.numpy(), h2[0, :, 0], strict=True):
        gap = region.distance(Point(point))
        assert (distance == 0) == (gap == 0) or gap < 1e-9 or distance < 1e-9


@pytest.mark.parametrize("phase", range(5))
def test_holds_12_2_only_soft_phases_move_the_matrix(phase: int) -> None:
    torch.manual_seed(0)
    net = BSPNet(Architecture(side=16, width=2, planes=12, convexes=5), phase)
    with torch.no_grad():
        net.T.uniform_(-0.02, 1.02)
        net.w.fill_(0.2)
    voxels = (torch.rand(3, 16, 16) > 0.5).float()
    h2 = net.distances(net.encoder(voxels), centres(16, 2).expand(3, -1, -1))
    net.loss(h2, voxels.flatten(1)).backward()
    assert (net.T.grad is None or not net.T.grad.any()) == (phase in (1, 2))
    assert (net.w.grad is None) == (phase > 0)
    assert net.encoder.offsets.weight.grad is not None
    assert net.encoder.offsets.weight.grad.abs().sum() > 0


@given(st.integers(0, 1000))
def test_holds_12_2_both_unions_show_one_shape_when_binary(seed: int) -> None:
    normals, offsets = random_planes(seed, 2)
    length = normals.norm(dim=1, keepdim=True) / 320  # a cell is 5 units of distance wide; all 1,001 seeds hold
    h1 = layers.half_spaces(centres(64, 2).double()[None], normals / length, offsets / length)
    h2 = layers.convexes(h1, random_matrix(seed))
    soft = layers.is_inside(layers.soft_union(h2, torch.ones(6, 1, dtype=torch.float64)), 0)
    hard = layers.is_inside(layers.hard_union(h2), 1)
    assert (soft == hard).float().mean() >= 0.98


def test_losses_by_hand() -> None:
    v, s = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.25]])
    T, w = torch.tensor([[1.5, -0.25]]), torch.tensor([[0.5], [1.0]])
    assert layers.continuous_loss(v, s, T, w) == pytest.approx((0.25 + 0.0625) / 2 + 0.5 + 0.5 + 0.25)
    g = torch.tensor([[0.5, 0.25]])
    assert layers.discrete_loss(v, g) == pytest.approx((0.5 + 0.75) / 2)
    assert layers.discrete_loss(v, torch.tensor([[0.0, 7.0]])) == 0
    assert layers.binary_penalty(torch.tensor([[0.005, -0.5, 0.75, 1.5]])) == pytest.approx(0.005 + 0.5 + 0.25 + 0.5)


def test_overlap_pushes_shared_points_of_the_shape_out_of_the_extra_convexes() -> None:
    h2 = torch.tensor([[[0.004, 0.002, 3.0], [0.004, 0.5, 0.5], [0.003, 0.001, 0.0]]], requires_grad=True)
    v = torch.tensor([[1.0, 1.0, 0.0]])
    loss = layers.overlap_loss(h2, v)
    assert loss.item() == pytest.approx(-(0.004 + 0.002) / 9)
    loss.backward()
    assert h2.grad is not None
    assert torch.equal(h2.grad != 0, torch.tensor([[[True, True, False], [False] * 3, [False] * 3]]))
    assert (h2.grad <= 0).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"planes": 0}, "planes = 0"),
        ({"convexes": 0}, "convexes = 0"),
        ({"side": 24}, "side = 24"),
        ({"side": 4}, "side = 4"),
    ],
)
def test_holds_12_8_impossible_networks_are_refused_by_name(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        BSPNet(Architecture(**wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", [-1, 5])
def test_holds_12_8_unknown_phases_are_refused_by_name(phase: int) -> None:
    with pytest.raises(UserError, match=f"phases = {phase}"):
        BSPNet(Architecture(side=16, width=2), phase)


@pytest.mark.parametrize(("dims", "side"), [(2, 64), (2, 32), (3, 16), (3, 32)])
def test_every_family_has_its_planes(dims: int, side: int) -> None:
    net = BSPNet(Architecture(dims=dims, side=side, width=2, planes=7, convexes=3))  # type: ignore[arg-type]
    normals, offsets = net.encoder(torch.zeros(2, *[side] * dims))
    assert normals.shape == (2, dims, 7)
    assert offsets.shape == (2, 1, 7)
    code = net.encoder.code(torch.ones(2, *[side] * dims))
    assert code.shape == (2, 16)
    assert dims == 2 or ((code > 0) & (code < 1)).all()


def test_centres_are_those_of_a_flattened_array() -> None:
    points = centres(4, 3).reshape(4, 4, 4, 3)
    assert torch.allclose(points[1, 2, 3], torch.tensor([1.5, 2.5, 3.5]) / 4 - 0.5)
