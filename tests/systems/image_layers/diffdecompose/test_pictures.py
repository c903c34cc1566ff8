"""Models on disk, and the layers of one picture of any size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from systems.image_layers.diffdecompose import pictures, storage
from systems.image_layers.diffdecompose.module import Decomposer
from systems.image_layers.diffdecompose.release import release
from systems.image_layers.diffdecompose.tiny import TinyParams
from systems.parts.conv_vae import ConvVAE
from systems.parts.errors import UserError

TINY = TinyParams(vae_width=8, latents=4, width=24, depth=1, heads=1)
VARIANTS = {
    "cloned-0": storage.SavedVariant(),
    "plain-0": storage.SavedVariant(regression=True),
    "adapted-0": storage.SavedVariant(start="cloned-0", rank=2),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `train` writes it, with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    vae = ConvVAE(4, TINY.vae_width, TINY.latents)
    saved = storage.Saved(size=16, tiny=TINY, variants=VARIANTS, best="cloned-0")
    storage.save(folder, saved, vae)
    for label, variant in VARIANTS.items():
        decomposer = storage.rebuild(saved, vae, variant, folder)
        for weight in decomposer.parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, std=0.1)
        storage.save_transformer(decomposer, folder / f"{label}.safetensors")
    return folder


def answer(decomposer: Decomposer) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    composite = torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    layers = decomposer.decompose(composite, ["any"] * 2, [""] * 2, 2, generator)
    return torch.cat((layers["x"], layers["y"]), dim=1)


def test_what_is_loaded_is_what_was_saved(model: Path) -> None:
    again = storage.load(model, "cloned-0")[0]
    assert torch.equal(answer(storage.load(model)[0]), answer(again))
    assert not torch.allclose(answer(again), answer(storage.load(model, "plain-0")[0]))
    assert not torch.allclose(answer(again), answer(storage.load(model, "adapted-0")[0]))


def test_adapters_alone_are_saved(model: Path) -> None:
    names = set(storage.read_weights(model / "adapted-0.safetensors"))
    assert names
    assert all(".lora_" in name for name in names)


def test_a_regression_has_one_answer_and_a_sampler_many(model: Path) -> None:
    batch = np.random.default_rng(0).random((1, 16, 16, 4), dtype=np.float32)
    composite = torch.from_numpy(batch).movedim(-1, 1)
    for label, same in (("plain-0", True), ("cloned-0", False)):
        decomposer, _ = storage.load(model, label)
        drawn = [
            decomposer.decompose(composite, ["any"], [""], 2, torch.Generator().manual_seed(seed))["y"]
            for seed in (0, 1)
        ]
        assert torch.equal(*drawn) == same


@pytest.mark.parametrize("size", [(40, 70), (16, 16), (9, 200)])
def test_layers_have_the_size_of_the_picture_and_blend_to_it(model: Path, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(60, 200, (*size, 3), np.uint8)
    layers = pictures.decompose_image(picture, model)
    fg, bg = layers["foreground"].astype(float), layers["background"].astype(float)
    assert fg.shape == (*size, 4)
    assert bg.shape == (*size, 3)
    alpha = fg[..., 3:] / 255
    # Where the colour that blends to the picture is a colour at all, the layers blend to the picture.
    inside = (fg[..., :3] > 0) & (fg[..., :3] < 255) & (alpha > 0.1)
    again = alpha * fg[..., :3] + (1 - alpha) * bg
    assert inside.any()
    assert np.abs(again - picture)[inside].max() <= 1.5 + 255 * 0.5 / 255 / 0.1


def test_the_same_seed_gives_the_same_layers(model: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    first, again, other = (pictures.decompose_image(picture, model, seed) for seed in (0, 0, 1))
    assert all((first[layer] == again[layer]).all() for layer in first)
    assert any((first[layer] != other[layer]).any() for layer in first)


def test_served_batches_have_the_shapes_that_the_model_names(model: Path) -> None:
    saved = storage.read_saved(model)
    out = pictures.predict(model, np.zeros((3, *saved.input_shape[1:]), np.float32))
    assert out.shape == (3, *saved.output_shape[1:])


def test_what_is_no_model_is_refused_in_one_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model.json"):
        storage.load(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(UserError, match="not a diffdecompose model"):
        storage.load(tmp_path)
    (tmp_path / "model.json").write_text((model / "model.json").read_text())
    (tmp_path / "autoencoder.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        storage.load(tmp_path)
    with pytest.raises(UserError, match="no variant other"):
        storage.load(model, "other")


@pytest.mark.parametrize(("best", "needed"), [("cloned-0", ()), ("adapted-0", ("cloned-0",))])
def test_a_released_model_answers_like_the_one_it_came_from(
    model: Path, tmp_path: Path, best: str, needed: tuple[str, ...]
) -> None:
    whole, released = Path(shutil.copytree(model, tmp_path / "whole")), tmp_path / "released"
    described = json.loads((whole / "model.json").read_text())
    (whole / "model.json").write_text(json.dumps({**described, "best": best}))
    release(whole, released)
    weights = {f"{name}.safetensors" for name in ("autoencoder", best, *needed)}
    assert {path.name for path in released.iterdir()} == {"model.json", *weights}
    assert torch.equal(answer(storage.load(released)[0]), answer(storage.load(model, best)[0]))
