"""Layer position encoding cloning (LPEC): y gets exactly z's position code, x one of its own.

`cloned` is the rotary form used at both scales. `additive` is the paper's formula taken literally. `permuted` is the
ablation in which the three layers' codes are mutually unrelated.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from systems.image_layers.diffdecompose.backbone import Layer

Position = Literal["cloned", "additive", "permuted"]

PERMUTATION_SEED = 20250521
CLONED: dict[Layer, int] = {"z": 0, "x": 1, "y": 0}
UNRELATED: dict[Layer, int] = {"z": 0, "x": 1, "y": 2}


def position_ids(layer: Layer, rows: int, columns: int, position: Position = "cloned") -> Float[Tensor, "n 3"]:
    """(layer, row, column) of every token of a layer, row by row.

    ids_y = ids_z = (0, r, c) and ids_x = (1, r, c); permuted: each layer its own number and its own fixed order.
    """
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    number = CLONED[layer]
    if position == "permuted":
        number = UNRELATED[layer]
        generator = torch.Generator().manual_seed(PERMUTATION_SEED + number)
        grid = grid[torch.randperm(len(grid), generator=generator)]
    return torch.cat((torch.full((len(grid), 1), float(number)), grid), dim=1)


def additive_codes(ids: Float[Tensor, "m 3"], width: int) -> Float[Tensor, "m c"]:
    """The paper's codes to add to tokens: PE' (2-D sine and cosine) for z and y, PE = PE' Q for x, orthogonal to PE'.

    Q maps the span of PE' to directions outside it, so every inner product of a PE with a PE' is zero. PE' has rank at
    most rows + columns; `width` must leave room for twice that.
    """
    rows, columns = (int(last) + 1 for last in ids[:, 1:].amax(dim=0))
    shared = _grid_codes(rows, columns, width)
    own = shared @ _projection(shared)
    places = (ids[:, 1] * columns + ids[:, 2]).long()
    return torch.where(ids[:, :1] == CLONED["x"], own[places], shared[places])


def _grid_codes(rows: int, columns: int, width: int) -> Tensor:
    """Half of the channels tell the row, half the column, [rows * columns, width]."""
    by_row = _waves(torch.arange(rows), width // 2)[:, None].expand(rows, columns, -1)
    by_column = _waves(torch.arange(columns), width // 2)[None].expand(rows, columns, -1)
    return torch.cat((by_row, by_column), dim=-1).reshape(rows * columns, -1)


def _waves(places: Tensor, width: int) -> Tensor:
    """Sine and cosine of places at falling speeds, [places, width]."""
    speeds = 10.0 ** (-torch.arange(width // 2) / (width // 2))
    phases = places[:, None] * speeds
    return torch.cat((phases.sin(), phases.cos()), dim=1)


def _projection(shared: Tensor) -> Tensor:
    """A fixed random Q that keeps lengths on the span of `shared` and sends it wholly outside that span."""
    basis, values, _ = torch.linalg.svd(shared.double().T, full_matrices=True)
    rank = int((values > 1e-6 * values[0]).sum())
    if 2 * rank > shared.shape[1]:
        raise ValueError(f"width {shared.shape[1]} is too small: codes of rank {rank} need {2 * rank}")
    inside, outside = basis[:, :rank], basis[:, rank:]
    generator = torch.Generator().manual_seed(PERMUTATION_SEED)
    mix, _ = torch.linalg.qr(torch.randn(outside.shape[1], rank, generator=generator, dtype=torch.float64))
    projection: Tensor = (inside @ (outside @ mix).T).float()
    return projection
