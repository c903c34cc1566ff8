"""Position codes: y shares z's, x stands apart."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from systems.image_layers.diffdecompose.positions import additive_codes, position_ids
from systems.parts.dit import rotary_angles, rotate

SIDES = st.integers(1, 6)


@given(SIDES, SIDES)
def test_holds_4_3_rotary_ids_of_y_equal_those_of_z_and_x_differs_in_the_layer_axis(rows: int, columns: int) -> None:
    z, x, y = (position_ids(layer, rows, columns) for layer in ("z", "x", "y"))
    assert torch.equal(y, z)
    assert torch.equal(x[:, 1:], z[:, 1:])
    assert (x[:, 0] != z[:, 0]).all()
    assert z[:, 1:].tolist() == [[row, column] for row in range(rows) for column in range(columns)]


@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 1000))
def test_holds_4_3_additive_codes_keep_the_difference_of_y_and_z_and_are_orthogonal(
    rows: int, columns: int, seed: int
) -> None:
    width = 96
    codes = {layer: additive_codes(position_ids(layer, rows, columns), width) for layer in ("z", "x", "y")}
    generator = torch.Generator().manual_seed(seed)
    z, y = (torch.randn(rows * columns, width, generator=generator, dtype=torch.float64) for _ in range(2))
    difference = (y + codes["y"]) - (z + codes["z"])
    assert (difference - (y - z)).abs().max() < 1e-6
    inner = (codes["x"] @ codes["z"].T).abs().max()
    assert inner < 0.1 * codes["x"].norm(dim=1).max() * codes["z"].norm(dim=1).max()
    assert codes["x"].norm(dim=1).min() > 0.5 * codes["z"].norm(dim=1).min()


def test_permuted_codes_of_the_layers_are_unrelated() -> None:
    ids = {layer: position_ids(layer, 4, 4, "permuted") for layer in ("z", "x", "y")}
    assert len({float(code[0, 0]) for code in ids.values()}) == 3
    assert not torch.equal(ids["y"][:, 1:], ids["z"][:, 1:])
    assert sorted(ids["y"][:, 1:].tolist()) == sorted(ids["z"][:, 1:].tolist())


@given(st.integers(0, 1000))
def test_rotary_products_depend_on_differences_of_positions_alone(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(1, 1, 1, 24, generator=generator, dtype=torch.float64) for _ in range(2))
    places = torch.randint(0, 8, (2, 3), generator=generator).double()
    moved = places + torch.tensor([[1.0, 2.0, 3.0]])

    def product(ids: torch.Tensor) -> float:
        angles = rotary_angles(ids, (8, 8, 8), 10.0)
        return float((rotate(q, angles[:1]) * rotate(k, angles[1:])).sum())

    assert abs(product(places) - product(moved)) < 1e-5
