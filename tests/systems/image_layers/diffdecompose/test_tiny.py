"""The small backbone: latents and tokens there and back, positions of both kinds, and what its adapters leave alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from systems.image_layers.diffdecompose.positions import additive_codes, position_ids
from systems.image_layers.diffdecompose.tiny import SUBTASKS, TinyBackbone, TinyParams
from systems.parts.errors import UserError

LATENTS, WIDTH, SIDE = 4, 48, 4
CHANNELS = LATENTS


def make(**changes: Any) -> TinyBackbone:
    """A backbone whose weights are all random, those that training starts from zero too."""
    torch.manual_seed(0)
    settings = {"vae_width": 8, "latents": LATENTS, "width": WIDTH, "depth": 2, "heads": 2, **changes}
    backbone = TinyBackbone(TinyParams(**settings))
    for weight in backbone.dit.parameters():
        nn.init.normal_(weight, std=0.2)
    return backbone


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 4, 4 * SIDE, 4 * SIDE, generator=torch.Generator().manual_seed(0))


def predict(backbone: TinyBackbone, tokens: Tensor, layers: str = "zxy", **changes: Any) -> Tensor:
    """The output for tokens at the positions of some layers."""
    ids = torch.cat([backbone.position_ids(layer, SIDE, SIDE) for layer in layers])  # type: ignore[arg-type]
    given = {"subtasks": ["cells"] * len(tokens), "sigma": 0.5, **changes}
    condition = backbone.condition([""] * len(tokens), given["subtasks"])
    with torch.no_grad():
        return backbone.predict(tokens, ids, condition, torch.full((len(tokens),), given["sigma"]))


@torch.no_grad()
def test_latents_are_the_calibrated_means_of_the_posterior() -> None:
    backbone, rgba = make(), pictures()
    backbone.vae.calibrate(2 * rgba - 1)
    latents = backbone.encode(rgba)
    mean, _ = backbone.vae.posterior(2 * rgba - 1)
    for channel in range(LATENTS):
        values = mean[:, channel]
        assert torch.allclose(latents[:, channel], (values - values.mean()) / values.std(), atol=1e-4)


@torch.no_grad()
def test_decoding_undoes_the_calibration_and_clips() -> None:
    backbone, rgba = make(), pictures()
    backbone.vae.calibrate(2 * rgba - 1)
    mean, _ = backbone.vae.posterior(2 * rgba - 1)
    out = backbone.decode(backbone.encode(rgba))
    assert torch.allclose(out, ((backbone.vae.decode(mean) + 1) / 2).clamp(0, 1), atol=1e-5)
    wild = backbone.decode(1e4 * torch.randn(2, LATENTS, SIDE, SIDE))
    assert wild.shape == rgba.shape
    assert (wild.min(), wild.max()) == (0, 1)


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 3))
def test_a_token_is_a_square_of_cells_and_unpacking_inverts_packing(rows: int, columns: int, patch: int) -> None:
    backbone, lh, lw = make(patch=patch), patch * rows, patch * columns
    latents = torch.arange(2 * LATENTS * lh * lw).view(2, LATENTS, lh, lw)
    tokens = backbone.pack(latents)
    assert tokens.shape == (2, rows * columns, LATENTS * patch**2)
    for token in range(rows * columns):
        row, column = (patch * place for place in divmod(token, columns))
        square = latents[:, :, row : row + patch, column : column + patch]
        assert torch.equal(tokens[:, token].sort().values, square.flatten(1).sort().values)
    assert torch.equal(backbone.unpack(tokens, lh, lw), latents)


@pytest.mark.parametrize("position", ["cloned", "additive", "permuted"])
@pytest.mark.parametrize("patch", [1, 2])
def test_positions_count_tokens_as_the_parameter_says(position: Any, patch: int) -> None:
    backbone = make(position=position, patch=patch)
    for layer in ("z", "x", "y"):
        wanted = position_ids(layer, 3, 2, position)  # type: ignore[arg-type]
        assert torch.equal(backbone.position_ids(layer, 3 * patch, 2 * patch), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["cloned", "additive"])
def test_equal_tokens_have_equal_outputs_in_z_and_y_and_others_in_x(position: str) -> None:
    content = torch.randn(1, SIDE**2, CHANNELS)
    z, x, y = predict(make(position=position), content.repeat(1, 3, 1)).chunk(3, dim=1)
    assert torch.allclose(z, y, atol=1e-5)
    assert not torch.allclose(z, x, atol=1e-3)


def test_with_unrelated_positions_equal_tokens_have_unequal_outputs() -> None:
    content = torch.randn(1, SIDE**2, CHANNELS)
    z, _, y = predict(make(position="permuted"), content.repeat(1, 3, 1)).chunk(3, dim=1)
    assert not torch.allclose(z, y, atol=1e-3)


def test_additive_codes_are_added_and_nothing_is_turned() -> None:
    rotary, additive = make(), make(position="additive")
    tokens = torch.randn(2, 3 * SIDE**2, CHANNELS)
    ids = torch.cat([position_ids(layer, SIDE, SIDE) for layer in ("z", "x", "y")])
    sigma, text = torch.full((2,), 0.5), rotary.text(torch.tensor([SUBTASKS.index("cells")] * 2))[:, None]
    with torch.no_grad():
        unturned = rotary.dit(tokens, torch.zeros_like(ids), text, sigma, additive_codes(ids, WIDTH))
        turned = rotary.dit(tokens, ids, text, sigma)
    assert torch.allclose(predict(additive, tokens), unturned, atol=1e-5)
    assert torch.allclose(predict(rotary, tokens), turned, atol=1e-5)
    assert not torch.allclose(turned, unturned, atol=1e-2)


def test_sub_task_and_noise_level_matter() -> None:
    backbone, tokens = make(), torch.randn(1, 3 * SIDE**2, CHANNELS)
    outs = [predict(backbone, tokens, subtasks=[name]) for name in SUBTASKS]
    outs += [predict(backbone, tokens, sigma=sigma) for sigma in (0.1, 0.9)]
    assert all(not torch.allclose(a, b, atol=1e-3) for k, a in enumerate(outs) for b in outs[:k])
    assert torch.equal(predict(backbone, tokens), outs[SUBTASKS.index("cells")])


def test_either_layer_may_be_left_out() -> None:
    backbone = make()
    for layers in ("zx", "zy", "z"):
        tokens = torch.randn(2, len(layers) * SIDE**2, CHANNELS)
        assert predict(backbone, tokens, layers).shape == tokens.shape


@given(steps=st.integers(1, 30), shift=st.floats(1, 10))
def test_sampling_levels_fall_from_1_to_0_with_their_odds_shifted(steps: int, shift: float) -> None:
    levels = make(depth=1, shift=shift).sigmas(steps, 48)
    assert len(levels) == steps + 1
    assert (levels[0], levels[-1]) == (pytest.approx(1, abs=1e-6), 0.0)
    for step in range(1, steps):
        plain = 1 - step / steps
        assert levels[step] / (1 - levels[step]) == pytest.approx(shift * plain / (1 - plain), rel=1e-3)


def test_training_levels_are_logit_normal_with_their_odds_shifted() -> None:
    levels = make(shift=4.0).levels(20_000, torch.Generator().manual_seed(0)).double()
    logit = (levels / (1 - levels) / 4).log()
    assert abs(logit.median()) < 0.03
    assert logit[logit > logit.min() + 1e-3].std() == pytest.approx(1, abs=0.03)
    assert levels.max() < 1


@pytest.mark.parametrize(("width", "heads"), [(96, 4), (24, 2), (6, 1)])
def test_a_head_is_split_in_three_even_parts(width: int, heads: int) -> None:
    parts = TinyParams(width=width, heads=heads).head_parts()
    assert sum(parts) * heads == width
    assert len(set(parts)) == 1
    assert parts[0] % 2 == 0


@pytest.mark.parametrize(("width", "heads"), [(100, 4), (36, 4), (24, 5)])
def test_a_width_that_cannot_be_split_is_named(width: int, heads: int) -> None:
    with pytest.raises(
        UserError, match=rf"parameter width = {width}: a multiple of 6 x heads \({6 * heads}\) is wanted"
    ):
        make(width=width, heads=heads)


def test_adapters_change_nothing_at_first_and_alone_learn() -> None:
    backbone, tokens = make(), torch.randn(1, 3 * SIDE**2, CHANNELS)
    before = predict(backbone, tokens)
    backbone.adapt(2)
    assert torch.allclose(predict(backbone, tokens), before, atol=1e-5)
    learning = {name for name, weight in backbone.named_parameters() if weight.requires_grad}
    adapters = {name for name in backbone.state_dict() if ".lora_" in name}
    assert learning == adapters
    layers = ("to_qkv", "to_out", "feed_in", "feed_out")
    assert {name.split(".lora_")[0] for name in adapters} == {
        f"dit.blocks.{block}.{layer}" for block in range(2) for layer in layers
    }
