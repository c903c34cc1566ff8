"""The stage `train` at a toy scale: what it refuses, what it keeps, and that files or memory make no difference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.run import StageRun
from stages.settings import check
from stages.training import fit
from systems.image_layers.diffdecompose import storage, train
from systems.image_layers.diffdecompose.train import Params, named, saved_variants
from systems.parts.errors import UserError
from systems.parts.triplets import read_triplets
from tests.systems.image_layers.alphablend.conftest import make_data
from tests.systems.image_layers.alphablend.sources import make_sources

SHORT = {"steps": 3, "batch": 2, "accelerator": "cpu", "checkpoint_every": 2}
TOY = {
    "data": "alphablend",
    "tiny": {"vae_width": 8, "latents": 4, "width": 24, "depth": 1, "heads": 1},
    "autoencoder": {"rgb": SHORT, "rgba": SHORT, "warmup": 0},
    "transformer": SHORT,
    "optimisation": {"lr": 1e-2, "warmup": 0},
    "variants": {
        "cloned": {"seeds": [0, 1]},
        "pretrained": {"subtasks": ["watermark", "cells"]},
        "adapted": {"subtasks": ["xray"], "start": "pretrained-0", "rank": 2, "steps": 2},
    },
}


def params(**changes: Any) -> Params:
    return check(Params, {**TOY, **changes}, "train")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("train")
    yield make_data(make_sources(folder / "images"), folder, side=16, train=3, test=1)
    torch.use_deterministic_algorithms(False)  # the trainer switched it on for the whole process


def trained(folder: Path, data: Path, memory: int = 1 << 30, **changes: Any) -> Path:
    """The model that the stage leaves."""
    run: StageRun[Params] = StageRun(
        "train", "diffdecompose", params(**changes), {"data": data}, folder / "model", folder / "reports", fitter=fit
    )
    run.work = folder / "work"
    run.begin()
    with mock.patch.object(train, "read_triplets", partial(read_triplets, memory=memory)):
        train.train(run)
    run.finish([run.final])
    return run.final


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("whole"), data)


LABELS = ("cloned-0", "cloned-1", "pretrained-0", "adapted-0")


def test_the_variants_and_what_rebuilds_them_are_kept(model: Path) -> None:
    saved = storage.read_saved(model)
    assert (saved.size, saved.best, tuple(saved.variants)) == (16, "cloned-0", LABELS)
    assert saved.variants["adapted-0"] == storage.SavedVariant(start="pretrained-0", rank=2)
    assert saved.variants == saved_variants(params())
    assert {path.name for path in model.iterdir()} == {
        "model.json",
        *(f"{name}.safetensors" for name in ("autoencoder", *LABELS)),
    }


def test_seeds_give_networks_of_their_own_on_one_autoencoder(model: Path) -> None:
    first, second = (load_file(model / f"cloned-{seed}.safetensors") for seed in (0, 1))
    assert set(first) == set(second)
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
    autoencoder = load_file(model / "autoencoder.safetensors")
    assert autoencoder["conv_in.weight"].shape[1] == 4
    assert autoencoder["scale"].ne(1).all()


def test_a_network_is_saved_with_all_that_it_learned(data: Path, tmp_path: Path) -> None:
    learned: dict[str, dict[str, torch.Tensor]] = {}
    saving = storage.save_transformer

    def watch(decomposer: storage.Decomposer, path: Path) -> None:
        learned[path.stem] = {name: value.clone() for name, value in decomposer.state_dict().items()}
        saving(decomposer, path)

    with mock.patch.object(storage, "save_transformer", watch):
        model = trained(tmp_path, data)
    assert set(learned) == set(LABELS)
    for label, wanted in learned.items():
        loaded = storage.load(model, label)[0].state_dict()
        assert set(loaded) == set(wanted)
        for name, value in loaded.items():
            assert torch.equal(value, wanted[name]), (label, name)


@pytest.mark.parametrize("cached", [True, False])
def test_pictures_in_files_or_in_memory_make_the_same_networks(data: Path, tmp_path: Path, cached: bool) -> None:
    models = [trained(tmp_path / str(memory), data, memory, cache_latents=cached) for memory in (0, 1 << 30)]
    for path in models[0].iterdir():
        assert path.read_bytes() == (models[1] / path.name).read_bytes(), path.name


def test_a_share_of_the_sub_tasks_is_not_told() -> None:
    told = ["flare", "cells"] * 1000
    heard = named(told, 0.25, np.random.default_rng(0))
    assert abs(heard.count("any") / 2000 - 0.25) < 0.03
    assert all(a in (b, "any") for a, b in zip(heard, told, strict=True))
    assert named(told, 0, np.random.default_rng(0)) == told
    assert set(named(told, 1, np.random.default_rng(0))) == {"any"}


VARIANT = {"cloned": {}, "small": {"start": "cloned-0", "rank": 2}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"best": "cloned-7"}, r"best = cloned-7: one of cloned-0, cloned-1, pretrained-0, adapted-0 is wanted"),
        ({"variants": {**VARIANT, "a": {"start": "nobody-0"}}}, r"variants.a.start = nobody-0: .* \(cloned-0\)"),
        ({"variants": {**VARIANT, "a": {"start": "small-0"}}}, r"variants.a.start = small-0: .* \(cloned-0\)"),
        ({"variants": dict(reversed(VARIANT.items()))}, r"variants.small.start = cloned-0: .* \(none\)"),
        ({"variants": {"cloned": {"rank": 0}}}, r"rank = 0: adapters need a rank of at least 1"),
        (
            {"backbone": "flux", "variants": {"cloned": {}, "a": {"position": "additive"}}},
            r"variants.a.position = additive: FLUX takes cloned or permuted",
        ),
        ({"autoencoder": {**TOY["autoencoder"], "perceptual": 0.5}}, r"weights is empty: autoencoder.perceptual needs"),
    ],
)
def test_parameters_that_do_not_go_together_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"parameter {words}"):
        params(**changes)


def test_a_perceptual_network_that_was_not_fetched_is_named(data: Path, tmp_path: Path) -> None:
    given = params(autoencoder={**TOY["autoencoder"], "perceptual": 0.5}, weights="weights")
    run: StageRun[Params] = StageRun("train", "diffdecompose", given, {"weights": tmp_path}, tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"parameter autoencoder.perceptual = 0.5: .*stlpips_alex.* no weights"):
        train.perceptual(run)
