"""The full scale's own parameters through the real stages, on tiny random networks of the true classes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from flows import scale
from stages import discover
from stages.closure import PROJECT
from stages.run import StageRun
from stages.settings import block, check, read_params
from stages.training import fit
from systems.image_layers.diffdecompose import flux, storage
from systems.image_layers.diffdecompose.flux import FluxBackbone
from systems.image_layers.diffdecompose.positions import position_ids
from systems.parts.errors import UserError
from systems.parts.perceptual import STLPIPS, EfficientNetLite0Features
from systems.parts.pictures import decode
from systems.parts.rgba_vae import PatchDiscriminator
from systems.parts.triplets import read_triplets
from tests.systems.image_layers.alphablend.conftest import make_data
from tests.systems.image_layers.alphablend.sources import make_sources
from tests.systems.image_layers.diffdecompose.tiny_checkpoint import write_tiny_checkpoint

SIDE, TESTED = 24, 6
FULL = scale.merged(read_params(PROJECT / "params.yaml"), scale.overrides(PROJECT, "full"))
VARIANTS = FULL["image_layers"]["train"]["diffdecompose"]["variants"]
LABELS = [f"{name}-{seed}" for name, variant in VARIANTS.items() for seed in variant.get("seeds", [0])]
ONCE = {"steps": 1, "batch": 1, "accelerator": "cpu"}
RANK, SECOND_RANK = 4, 2


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others put in, at any depth."""
    inner = {
        key: changed(values[key], change)
        for key, change in changes.items()
        if isinstance(change, Mapping) and key in values
    }
    return {**values, **changes, **inner}


def train_changes(folder: Path) -> dict[str, Any]:
    """What makes the full scale's training small: the networks' folder, sizes and steps."""
    short = {name: {"steps": 1, **({"rank": SECOND_RANK} if "rank" in VARIANTS[name] else {})} for name in VARIANTS}
    return {
        "flux": {"model": str(folder / "flux"), "vae": "", "rank": RANK, "prompt_tokens": 16},
        "autoencoder": {"rgba": ONCE, "adversarial_start": 0},
        "transformer": ONCE,
        "optimisation": {"lr": 0.3},
        "variants": short,
    }


def run(folder: Path, stage: str, changes: Mapping[str, Any], **inputs: Path) -> StageRun[Any]:
    """Run a stage with the full scale's parameters and some changes; the data stay in their files, as if large."""
    found, call, kind = discover.function(stage, "diffdecompose")
    params = check(kind, changed(block(FULL, found.track, stage, "diffdecompose"), changes), stage)
    final, reports = folder / stage / "out", folder / stage / "reports"
    made: StageRun[Any] = StageRun(stage, "diffdecompose", params, inputs, final, reports, fitter=fit)
    made.work = folder / "work"
    made.begin()
    with mock.patch(f"{found.module}.{stage}.read_triplets", partial(read_triplets, memory=0)):
        call(made)
    made.finish([final, reports / "metrics.json", reports / "plots"])
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint, perceptual networks with random weights, and a data set."""
    folder = tmp_path_factory.mktemp("full")
    write_tiny_checkpoint(folder / "flux")
    make_data(make_sources(folder / "images"), folder, side=SIDE, train=2, test=1)
    (folder / "weights").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for network in (STLPIPS, EfficientNetLite0Features):
            save_file(network().state_dict(), folder / "weights" / f"{network.NAME}.safetensors")
    yield folder
    torch.use_deterministic_algorithms(False)  # the trainer switched it on for the whole process


@pytest.fixture(scope="module")
def calls() -> dict[str, mock.Mock]:
    """Watches over what the training must have used."""
    return {}


@pytest.fixture(scope="module")
def model(folder: Path, calls: dict[str, mock.Mock]) -> Path:
    """What the stage `train` leaves."""
    watched = {
        "perceptual": (STLPIPS, "forward"),
        "discriminator": (PatchDiscriminator, "forward"),
        "autoencoder": (flux, "load_autoencoder"),
    }
    with ExitStack() as stack:
        for name, (owner, function) in watched.items():
            spy = mock.patch.object(owner, function, autospec=True, side_effect=getattr(owner, function))
            calls[name] = stack.enter_context(spy)
        return run(folder, "train", train_changes(folder), data=folder / "data", weights=folder / "weights").final


def load(model: Path, label: str) -> FluxBackbone:
    backbone = storage.load(model, label)[0].backbone
    assert isinstance(backbone, FluxBackbone)
    return backbone


def test_both_extra_terms_were_on_and_the_autoencoder_was_read_once(model: Path, calls: dict[str, mock.Mock]) -> None:
    assert calls["perceptual"].call_count == 2  # on black and on white
    assert calls["discriminator"].call_count == 3  # the autoencoder's loss, and its own on a true and a made picture
    assert calls["autoencoder"].call_count == 1
    assert {path.name for path in model.iterdir()} == {
        "model.json",
        *(f"{name}.safetensors" for name in ("autoencoder", *LABELS)),
    }


def test_the_autoencoder_learned_and_is_rgba(model: Path, folder: Path) -> None:
    saved = load_file(model / "autoencoder.safetensors")
    fresh = flux.FluxAutoencoder(flux.load_autoencoder(storage.read_saved(model).flux)).state_dict()
    moved = {name for name, value in saved.items() if not torch.equal(value, fresh[name])}
    assert set(saved) == set(fresh)
    assert moved == set(saved) - {"shift", "scale"}
    assert saved["net.encoder.conv_in.weight"].shape[1] == saved["net.decoder.conv_out.weight"].shape[0] == 4


@pytest.mark.parametrize("label", LABELS)
def test_adapters_alone_are_saved_learned_and_loaded_again(model: Path, label: str) -> None:
    saved = load_file(model / f"{label}.safetensors")
    backbone = load(model, label)
    loaded = {f"backbone.{name}": value for name, value in backbone.state_dict().items() if ".lora_" in name}
    assert set(saved) == set(loaded)
    assert all(torch.equal(saved[name], value) for name, value in loaded.items())
    assert any(value.ne(0).any() for name, value in saved.items() if ".lora_B." in name)
    wanted = SECOND_RANK if label.startswith("adapted") else RANK
    assert {value.shape[0] for name, value in saved.items() if ".lora_A." in name} == {wanted}
    assert not any(weight.requires_grad for weight in backbone.parameters())


def test_variants_keep_their_position_codes(model: Path) -> None:
    for label, position in (("cloned-0", "cloned"), ("permuted-0", "permuted")):
        for layer in "zxy":
            ids = load(model, label).position_ids(layer, 6, 6)
            assert torch.equal(ids, position_ids(layer, 3, 3, position))


def test_an_adapted_variant_stands_on_the_one_it_starts_from(model: Path) -> None:
    name = "transformer_blocks.0.attn.to_q"
    base, start = (load(model, label).transformer.get_submodule(name) for label in ("cloned-0", "pretrained-0"))
    update = start.lora_B["default"].weight @ start.lora_A["default"].weight
    again = load(model, "adapted-0").transformer.get_submodule(name)
    assert torch.equal(start.base_layer.weight, base.base_layer.weight)
    assert torch.allclose(again.base_layer.weight.float(), base.base_layer.weight + update, atol=2e-2)
    assert not torch.allclose(again.base_layer.weight.float(), base.base_layer.weight.float(), atol=0.1)


def test_the_layers_of_a_loaded_model_depend_on_seed_and_variant(model: Path) -> None:
    composite = torch.rand(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def layers(label: str, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        decomposer, _ = storage.load(model, label)
        out = decomposer.decompose(composite, ["cells", "any"], ["cells on a leaf"] * 2, 2, generator)
        assert {layer: tuple(value.shape) for layer, value in out.items()} == dict.fromkeys("xy", (2, 4, SIDE, SIDE))
        return torch.cat((out["x"], out["y"]))

    assert torch.equal(layers("cloned-0", 0), layers("cloned-0", 0))
    assert not torch.equal(layers("cloned-0", 0), layers("cloned-0", 1))
    assert torch.equal(layers("regression-0", 0), layers("regression-0", 1))
    assert not torch.equal(layers("cloned-0", 0), layers("permuted-0", 0))


def test_the_held_out_composites_are_taken_apart_and_scored(model: Path, folder: Path) -> None:
    small = {"steps": 2, "samples": 2, "accelerator": "cpu"}
    layers = run(folder, "decompose", small, data=folder / "data", model=model).final
    assert {path.stem for path in layers.iterdir()} == set(LABELS)
    for path in layers.iterdir():
        table = pq.read_table(path)
        assert len(table) == TESTED
        assert {decode(fg["bytes"]).shape for fg in table["fg"].to_pylist()} == {(SIDE, SIDE, 4)}
    inputs = {"data": folder / "data", "model": model, "layers": layers, "weights": folder / "weights"}
    scored = run(folder, "evaluate", {}, **inputs)
    assert {f"background RMSE/{name}/all" for name in VARIANTS} <= set(scored.metrics)
    assert any("ST-LPIPS" in name for name in scored.metrics)
    assert np.isfinite(list(scored.metrics.values())).all()
    assert [hold["id"] for hold in scored.holds] == ["4.6"] * 4


def test_another_best_variant_is_the_one_that_is_scored(model: Path, folder: Path, tmp_path: Path) -> None:
    saved = storage.read_saved(model)
    other = Path(shutil.copytree(model, tmp_path / "model"))
    variants = {label: saved.variants[label] for label in ("regression-0", "permuted-0")}
    changed = saved.model_copy(update={"variants": variants, "best": "permuted-0"})
    (other / "model.json").write_text(changed.model_dump_json())
    small = {"steps": 1, "samples": 2, "accelerator": "cpu"}
    layers = run(tmp_path, "decompose", small, data=folder / "data", model=other).final
    scored = run(tmp_path, "evaluate", {}, data=folder / "data", model=other, layers=layers)
    shown = scored.metrics["headline/background RMSE: one sample"]
    assert shown == scored.metrics["seeds/permuted-0/background RMSE: one sample"]
    assert [hold["id"] for hold in scored.holds] == ["4.6"] * 3


def test_a_gpu_that_is_not_there_is_refused(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="parameter accelerator = gpu: torch finds none"):
        run(tmp_path, "decompose", {}, data=folder / "data", model=model)


def test_additive_codes_are_refused_by_the_backbone_too(folder: Path) -> None:
    assert FULL["image_layers"]["train"]["diffdecompose"]["backbone"] == "flux"
    with pytest.raises(UserError, match="parameter position = additive"):
        FluxBackbone(storage.read_saved(folder / "train" / "out").flux, "additive")
