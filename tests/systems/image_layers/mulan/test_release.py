"""What is released: one seed, and all it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from systems.image_layers.mulan import release, small
from systems.parts.errors import UserError


def test_one_seed_is_released_with_what_all_seeds_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "read_saved", lambda _: Saved(seeds=(10, 0, 1)))
    model = tmp_path / "model"
    model.mkdir()
    for name in ("unet-0", "unet-1", "unet-10", "eye", "order-10"):
        (model / f"{name}.safetensors").write_text(name)
    release.release(model, tmp_path / "released")
    assert {path.name: path.read_text() for path in (tmp_path / "released").glob("*.safetensors")} == {
        f"{name}.safetensors": name for name in ("unet-10", "eye", "order-10")
    }
    assert json.loads((tmp_path / "released" / "model.json").read_text()) == {"seeds": [10]}


class Saved(small.Strict):
    seeds: tuple[int, ...]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model\.json"):
        release.release(tmp_path, tmp_path / "released")
    assert not (tmp_path / "released").exists()
