"""The small providers and their training on tiny made-up scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.run import StageRun
from stages.training import fit
from systems.image_layers.mulan import examples, fitting, networks, rehearsal, small, views
from systems.image_layers.mulan.eye import Eye
from systems.image_layers.mulan.makers import providers_for
from systems.image_layers.mulan.providers import Box
from systems.image_layers.mulan.scenes import read_scenes
from systems.image_layers.mulan.train import Params, train
from systems.parts.errors import UserError
from systems.parts.run import Training
from tests.systems.image_layers.mulan.sources import data, sources

__all__ = ["data", "sources"]

TINY = networks.Architecture(widths=(8, 16), order_widths=(8, 16), cut=16, sharpness=1)


def trained(data: Path, folder: Path) -> Path:
    training = Training(steps=4, batch=4, accelerator="cpu")
    params = Params(
        data="mulan",
        seeds=(0, 1),
        architecture=TINY,
        segment=training,
        scene=training,
        order=training,
        crossed=1,
        held_out=2,
    )
    run = StageRun("train", "mulan", params, {"data": data}, folder / "model", folder / "r", fitter=fit, quiet=True)
    run.work = folder / "work"
    run.begin()
    train(run)
    assert "seed 1/IoU of visible masks" in run.metrics
    run.finish([folder / "model", folder / "r" / "metrics.json", folder / "r" / "plots"])
    return folder / "model"


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(data, tmp_path_factory.mktemp("trained"))


def test_networks_are_saved_for_every_seed_and_read_back(model: Path) -> None:
    names = [
        "eye.safetensors",
        "model.json",
        *(f"{kind}-{seed}.safetensors" for kind in ("order", "scene", "segment") for seed in (0, 1)),
    ]
    assert sorted(path.name for path in model.iterdir()) == names
    first, second = (small.load(model, seed).segmenter.unet.head.weight for seed in (0, 1))
    assert not torch.equal(first, second)
    with pytest.raises(UserError, match=r"seed = 5: .* has networks of the seeds 0, 1"):
        small.load(model, 5)
    with pytest.raises(UserError, match=r"holds no model\.json"):
        small.read_saved(model.parent)


def test_learned_providers_answer_at_the_size_of_any_picture(model: Path) -> None:
    providers = providers_for("learned", model)
    picture = np.random.default_rng(0).integers(0, 256, (75, 130, 3), np.uint8)
    mask = providers.segmenter.segment(picture, Box(10, 20, 60, 70, 1.0, "x"), np.array([[30, 40]]))
    assert mask.shape == (75, 130)
    assert not mask[:, 60:].any()
    assert not mask[:20].any()
    depth = providers.depth.depth(picture)
    assert depth.shape == (75, 130)
    assert 0 <= depth.min() <= depth.max() <= 1
    assert all(box.x0 < box.x1 <= 131 and box.y0 < box.y1 <= 76 for box in providers.detector.detect(picture))


def test_exchanging_two_masks_exchanges_the_answers(model: Path, data: Path) -> None:
    order = providers_for("learned", model).order
    scene = read_scenes(data, "test", 1)[0]
    there = order.occludes(scene.image, scene.visible[1], scene.visible[2])
    assert order.occludes(scene.image, scene.visible[2], scene.visible[1]) == pytest.approx(there[::-1], abs=1e-5)
    assert there[0] != there[1]


@pytest.mark.parametrize("kind", [small.TeleaInpainter, small.BiharmonicInpainter])
def test_inpainters_change_the_hole_alone_and_continue_a_plain_colour(kind: type[small.TeleaInpainter]) -> None:
    picture = np.full((20, 30, 3), 90, np.uint8)
    picture[:, :4] = np.random.default_rng(0).integers(0, 256, (20, 4, 3), np.uint8)
    region = np.zeros((20, 30), bool)
    region[6:12, 14:20] = True
    holed = np.where(region[..., None], 255, picture).astype(np.uint8)
    painted = kind().inpaint(holed, region, "")
    assert np.array_equal(painted[~region], holed[~region])
    assert np.abs(painted[region].astype(int) - 90).max() <= 2
    assert np.array_equal(kind().inpaint(holed, np.ones_like(region), ""), holed)


def test_captions_have_articles() -> None:
    picture, mask = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool)
    said = [small.ClassCaptioner().caption(picture, mask, label) for label in ("dog", "owl", "a cat", "background", "")]
    assert said == ["a dog", "an owl", "a cat", "background", ""]


class BoxItself(torch.nn.Module):
    """Answers with the box it is asked about."""

    def forward(self, part: views.View, prompt: torch.Tensor) -> torch.Tensor:
        assert part.pixels.shape[2:] == prompt.shape[2:]
        return prompt[:, :1] - 0.5


@given(st.integers(0, 30), st.integers(0, 40), st.integers(4, 18), st.integers(4, 18))
def test_a_mask_lies_in_the_picture_where_it_was_seen_in_the_crop(left: int, top: int, width: int, height: int) -> None:
    segmenter = networks.Segmenter(networks.Architecture(widths=(8, 16), cut=32))
    segmenter.unet = BoxItself()
    saved = small.Saved(side=64, architecture=TINY, seeds=(0,))
    found = small.Networks(saved, Eye.random(), segmenter, networks.SceneNet(TINY), networks.OrderNet(TINY))
    picture, truth = np.zeros((64, 48, 3), np.uint8), np.zeros((64, 48), bool)
    truth[top : top + height, left : left + width] = True
    box = Box(left, top, left + width, top + height, 1.0, "x")
    assert np.array_equal(small.UNetProvider(found).segment(picture, box, None), truth)


def test_pictures_are_looked_at_once_and_not_mistaken_for_each_other(model: Path) -> None:
    found = small.load(model, 0)
    first, second = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    view, _ = found.look(first)
    assert found.look(first.copy())[0] is view
    assert not torch.equal(found.look(second)[0].pixels, view.pixels)
    assert found.look(first)[0] is view
    assert len(found.views) == small.KEPT


def test_examples_are_the_visible_masks_and_the_whole_of_what_is_uncovered(data: Path) -> None:
    scenes = read_scenes(data, "train", 5)
    cuts, uncovered = examples.cuts_of(scenes, small.TeleaInpainter())
    assert set(cuts.pictures.tolist()) == set(range(len(scenes) + len(uncovered)))
    for picture, points, mask in zip(cuts.pictures.tolist(), cuts.points.numpy(), cuts.masks.numpy(), strict=True):
        there = points[points[:, 0] != examples.AWAY]
        if picture < len(scenes):
            assert any(np.array_equal(mask, visible) for visible in scenes[picture].visible[1:])
            assert not len(there)
        else:
            assert all(mask[int(y), int(x)] for x, y in there)
            assert len(there)
    maps = examples.maps_of(scenes)
    assert np.allclose(maps.depth[0].numpy()[scenes[0].visible[1]], scenes[0].depth[1])
    assert not (maps.objects[0].numpy() & scenes[0].visible[0]).any()


def test_pairs_say_who_is_seen_where_the_other_would_be(data: Path) -> None:
    scenes = read_scenes(data, "train")
    for scene in scenes:
        hides = examples.occlusions(scene)
        assert not hides.diagonal().any()
        for lower, upper in scene.mutual:
            assert hides[lower, upper]
            assert hides[upper, lower]
        both = {(i, j) for i, j in np.argwhere(hides & hides.T) if i < j}
        assert both == set(scene.mutual)
    crossed = examples.with_crossings(scenes, 1.0)
    assert crossed
    assert not examples.with_crossings(scenes, 0.0)
    depths = [np.zeros(scene.image.shape[:2], np.float32) for scene in scenes]
    plain = examples.pairs_of(scenes, list(map(examples.known, scenes)), depths)
    assert len(plain.facts) == sum(len(list(examples.scene_pairs(scene, examples.known(scene)))) for scene in scenes)
    anew = examples.pairs_of(crossed, list(map(examples.known, crossed)), depths[: len(crossed)])
    assert len(anew.facts) == len(crossed)
    assert anew.occludes.all()


def test_what_is_found_in_training_scenes_is_disjoint_and_lies_in_its_box(data: Path) -> None:
    scenes = read_scenes(data, "train", 4)
    segmenter = networks.Segmenter(TINY)
    segmenter.unet = BoxItself()
    seen = views.album([scene.image for scene in scenes], Eye.random(), 32, 1, 8)
    found = rehearsal.found_in(
        scenes, range(4), seen, rehearsal.seen_depth(seen, networks.SceneNet(TINY)), segmenter, 0
    )
    for scene, masks in zip(scenes, found, strict=True):
        assert set(masks) <= set(range(1, len(scene.layers)))
        assert np.stack(list(masks.values())).sum(0).max() == 1
        for layer, mask in masks.items():
            left, top, right, bottom = scene.boxes[layer]
            rows, columns = mask.nonzero()
            assert rows.min() >= top - 4
            assert rows.max() < bottom + 4
            assert columns.min() >= left - 4
            assert columns.max() < right + 4
    assert sum(map(len, found)) > len(scenes)


def test_losses_are_least_for_the_right_answer() -> None:
    mask = torch.zeros(2, 8, 8)
    mask[:, 2:5, 2:6] = 1
    right, wrong = 20 * (mask - 0.5), 20 * (0.5 - mask)
    assert (fitting.mask_loss(right, mask) < 0.01).all()
    assert (fitting.mask_loss(wrong, mask) > 1).all()


def test_every_network_gives_its_answer_where_it_was_asked_when_all_is_mirrored(data: Path) -> None:
    """The loss of a network that is as symmetric as its question does not depend on mirroring."""
    scenes = read_scenes(data, "train", 4)
    seen = views.album([scene.image for scene in scenes], Eye.random(), 32, 1, 8)
    cuts, _ = examples.cuts_of(scenes, small.TeleaInpainter())
    rows = torch.arange(len(cuts.pictures))[cuts.pictures < 4]
    segmenter = networks.Segmenter(TINY)
    segmenter.unet = BoxItself()
    training = fitting.SegmenterTraining(segmenter, seen, cuts, fitting.Optimisation(), 1, 0)
    losses = [
        training.loss(rows, torch.full((len(rows),), mirror), torch.Generator().manual_seed(0))
        for mirror in (False, True)
    ]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
