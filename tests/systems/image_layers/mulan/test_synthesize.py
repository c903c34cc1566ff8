"""Scenes with known layers: they flatten to their picture, keep their order, and hide what they say they hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from systems.image_layers.mulan import assets, placing
from systems.image_layers.mulan.scenes import HALF, box_of, flatten, read_scenes, row_of, scene_of, seen
from systems.image_layers.mulan.synthesize import Params
from systems.parts.errors import UserError
from tests.systems.image_layers.mulan.sources import cutout, data, make_data, make_sources, noise, sources

__all__ = ["data", "sources"]


def test_scenes_flatten_to_their_picture_and_mutual_ones_only_with_altered_alpha(data: Path) -> None:
    scenes = [*read_scenes(data, "train"), *read_scenes(data, "test")]
    assert len(scenes) == 18
    assert any(scene.mutual for scene in scenes)
    assert not all(scene.mutual for scene in scenes)
    for scene in scenes:
        assert np.array_equal(flatten(scene.layers, scene.switched), scene.image)
        assert np.array_equal(flatten(scene.layers), scene.image) == (not scene.mutual)


def test_layers_stand_from_far_to_near_over_an_opaque_background(data: Path) -> None:
    for scene in read_scenes(data, "train"):
        assert (scene.layers[0, ..., 3] == 255).all()
        assert scene.depth[0] == placing.BACKDROP
        assert (np.diff(scene.depth) < 0).all()
        assert 3 <= len(scene.layers) - 1 <= 4
        assert len(scene.labels) == len(scene.layers)


def test_visible_masks_are_disjoint_cover_the_picture_and_show_their_layer(data: Path) -> None:
    for scene in read_scenes(data, "train"):
        assert (scene.visible.sum(0) == 1).all()
        for layer, visible in zip(scene.layers, scene.visible, strict=True):
            assert (layer[visible, 3] >= HALF).all()
            solid = visible & (layer[..., 3] == 255)
            above = (scene.layers[..., 3] * ~scene.switched)[
                int(scene.visible[:, *np.argwhere(visible)[0]].argmax()) + 1 :
            ]
            clear = solid & ~above.any(0)
            assert np.array_equal(scene.image[clear], layer[clear, :3])


def test_of_a_mutual_pair_each_hides_a_part_of_the_other(data: Path) -> None:
    pairs = [(scene, pair) for scene in read_scenes(data, "train") for pair in scene.mutual]
    assert pairs
    for scene, (lower, upper) in pairs:
        assert lower < upper
        assert (scene.visible[lower] & scene.amodal[upper]).any()
        assert (scene.visible[upper] & scene.amodal[lower]).any()
        assert np.array_equal(scene.switched[upper].any(), scene.switched.any())


def test_a_scene_is_stored_and_read_back_whole(data: Path) -> None:
    for scene in read_scenes(data, "test"):
        again = scene_of(row_of(scene, 0, "background", []))
        for name in ("image", "layers", "visible", "switched", "depth"):
            assert np.array_equal(getattr(again, name), getattr(scene, name)), name
        assert (again.labels, tuple(again.mutual)) == (scene.labels, tuple(scene.mutual))


def test_one_seed_gives_the_same_bytes_for_any_number_of_workers(sources: Path, data: Path, tmp_path: Path) -> None:
    again = make_data(sources, tmp_path, workers=2)
    files = sorted(path.name for path in data.iterdir())
    assert files == sorted(path.name for path in again.iterdir())
    assert all((data / name).read_bytes() == (again / name).read_bytes() for name in files)
    other = make_data(sources, tmp_path / "other", seed=1)
    assert (other / "train-00000.parquet").read_bytes() != (data / "train-00000.parquet").read_bytes()


def test_a_scene_does_not_depend_on_how_many_there_are(sources: Path, data: Path, tmp_path: Path) -> None:
    fewer = make_data(sources, tmp_path, train=3)
    for ours, theirs in zip(read_scenes(fewer, "train"), read_scenes(data, "train", 3), strict=True):
        assert np.array_equal(ours.image, theirs.image)


def test_no_asset_serves_both_splits_and_photographs_are_held_out(data: Path) -> None:
    used = {
        split: {
            name
            for path in data.glob(f"{split}-*.parquet")
            for row in pq.read_table(path, columns=["background", "cutouts"]).to_pylist()
            for name in (row["background"], *row["cutouts"])
        }
        for split in ("train", "test")
    }
    assert not used["train"] & used["test"]
    photographs = pq.read_table(data / "photographs.parquet").to_pylist()
    assert photographs
    assert not {row["id"] for row in photographs} & used["train"]
    assert set(pq.read_table(data / "assets.parquet")["asset_id"].to_pylist()) == used["train"] | used["test"]


def soft(number: int) -> np.ndarray:
    picture = cutout(number)
    picture[..., 3] = np.where(picture[..., 3] > 0, 140, 0)
    return picture


def pieces(number: int) -> np.ndarray:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[2:18, 2:38], picture[22:38, 2:38] = 255, 255
    return picture


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (cutout(0, 8, 12), "only 1. px long, 16 are wanted"),
        (cutout(0, 8, 90), "px long and only . broad"),
        (soft(1), "neither clear nor solid"),
        (pieces(1), "in 2 pieces"),
        (np.zeros((40, 40, 4), np.uint8), "nothing in it is solid"),
        (noise(1, 40, 40), "no alpha channel"),
    ],
)
def test_bad_cutouts_are_set_aside_with_the_reason(picture: np.ndarray, reason: str, tmp_path: Path) -> None:
    many = {"cutout": [picture, *(cutout(n) for n in range(1, 20))], "photo": [noise(n, 48, 64) for n in range(20)]}
    folder = make_sources(tmp_path / "images", many)
    aside = [
        one
        for split in ("train", "test")
        for one in assets.load(folder, split, 0.3, 32).aside  # type: ignore[arg-type]
    ]
    assert [one.name for one in aside] == ["made/cutout0"]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(aside[0].reason)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (noise(1, 64, 48), "not in landscape format (48 x 64 px)"),
        (noise(1, 20, 64), "only 20 px high, 32 are wanted"),
        (cutout(1), "has an alpha channel"),
    ],
)
def test_photographs_that_are_no_background_are_set_aside(picture: np.ndarray, reason: str) -> None:
    assert assets.photo_fault(picture, 32) == reason
    assert assets.photo_fault(noise(1, 40, 64), 32) == ""


def test_a_picture_that_cannot_be_read_is_set_aside() -> None:
    row = {"asset_id": "a", "kind": "photo", "phrase": "p", "image": {"bytes": b"RIFF no picture"}}
    found = assets.examine(row, 32)
    assert isinstance(found, assets.SetAside)
    assert "truncated or not a picture" in found.reason


def test_too_few_assets_are_named(tmp_path: Path) -> None:
    few = {"cutout": [cutout(n) for n in range(6)], "photo": [noise(n, 48, 64) for n in range(20)]}
    folder = make_sources(tmp_path / "images", few)
    with pytest.raises(UserError, match="1 assets of kind cutout serve test, at least 4 are wanted"):
        assets.load(folder, "test", 0.2, 32)


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(UserError, match="parameter least = 5: at most 4"):
        Params(sources="images", least=5, most=4)
    with pytest.raises(UserError, match="parameter least = 1: at least 2"):
        Params(sources="images", least=1)
    with pytest.raises(ValidationError, match="side"):
        Params(sources="images", side=33)


@given(st.integers(0, 2**32 - 1), st.integers(4, 24), st.integers(4, 24))
def test_a_part_of_a_region_and_the_rest_are_large_enough_or_there_is_none(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    region = np.zeros((32, 32), bool)
    region[2 : 2 + height, 3 : 3 + width] = True
    part = placing.part_of(region, rng)
    assert not (part & ~region).any()
    if part.any():
        least = placing.CROSSING * region.size
        assert min(part.sum(), (region & ~part).sum()) >= least


@given(st.integers(0, 2**32 - 1))
def test_the_uppermost_solid_layer_is_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = rng.integers(0, 256, (4, 5, 6, 4), np.uint8)
    layers[0, ..., 3] = 255
    switched = rng.random((4, 5, 6)) < 0.3
    switched[0] = False
    visible = seen(layers, switched)
    for row in range(5):
        for column in range(6):
            solid = [k for k in range(4) if layers[k, row, column, 3] >= HALF and not switched[k, row, column]]
            assert np.flatnonzero(visible[:, row, column]).tolist() == [max(solid)]


def test_the_box_of_a_mask_ends_past_it() -> None:
    mask = np.zeros((6, 9), bool)
    mask[1:3, 4:8] = True
    assert box_of(mask).tolist() == [4, 1, 8, 3]
    assert box_of(np.zeros((3, 3), bool)).tolist() == [0, 0, 0, 0]


def test_nearer_instances_are_larger_and_lower() -> None:
    asset = assets.Asset("a", "cutout", "a", cutout(0))
    rng = np.random.default_rng(0)
    near, far = (
        np.mean([np.argwhere(placing.placed(asset, depth, rng, 64)[..., 3] > 0).mean(0)[0] for _ in range(20)])
        for depth in (0.05, 0.9)
    )
    assert near > far
    sizes = [np.count_nonzero(placing.placed(asset, depth, rng, 64)[..., 3]) for depth in (0.05, 0.9)]
    assert sizes[0] > 2 * sizes[1]
