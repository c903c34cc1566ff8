"""The small providers and their training on tiny made-up scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.run import StageRun
from stages.training import fit
from systems.image_layers.mulan import examples, fitting, networks, small
from systems.image_layers.mulan.makers import providers_for
from systems.image_layers.mulan.providers import Box
from systems.image_layers.mulan.scenes import read_scenes
from systems.image_layers.mulan.train import Params, train
from systems.parts.errors import UserError
from systems.parts.run import Training
from tests.systems.image_layers.mulan.sources import data, sources

__all__ = ["data", "sources"]

TINY = networks.Architecture(widths=(8, 16), order_widths=(8, 16), crop=16)


def trained(data: Path, folder: Path) -> Path:
    training = Training(steps=4, batch=4, accelerator="cpu")
    params = Params(data="mulan", seeds=(0, 1), architecture=TINY, unet=training, order=training, crossed=1, held_out=2)
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
    names = ["model.json", *(f"{kind}-{seed}.safetensors" for kind in ("order", "unet") for seed in (0, 1))]
    assert sorted(path.name for path in model.iterdir()) == names
    first, second = (small.load(model, seed).unet.head.weight for seed in (0, 1))
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


@settings(max_examples=20)
@given(st.integers(10, 3000), st.integers(10, 3000))
def test_pictures_are_shown_at_sizes_the_network_takes(height: int, width: int) -> None:
    shown = small.network_size((height, width, 3), 96, 16)
    assert all(side % 16 == 0 and 16 <= side <= 112 for side in shown)
    assert max(shown) == 96


def test_examples_are_the_visible_masks_and_the_whole_of_what_is_uncovered(data: Path) -> None:
    scenes = read_scenes(data, "train", 5)
    cuts = examples.cuts_of(scenes, small.TeleaInpainter())
    for cut in cuts.cuts:
        if cut.picture < len(scenes):
            scene = scenes[cut.picture]
            assert any(np.array_equal(cut.mask, visible) for visible in scene.visible[1:])
            assert not len(cut.points)
        else:
            assert all(cut.mask[y, x] for x, y in cut.points)
            assert len(cut.points)
    depth = cuts.depth[0].numpy()
    assert np.allclose(depth[scenes[0].visible[1]], scenes[0].depth[1])
    assert not (cuts.objects[0].numpy() & scenes[0].visible[0]).any()


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
    plain, crossed = (examples.pairs_of(scenes, 16, crossed=count) for count in (0, 1))
    assert len(crossed.crops) > len(plain.crops)
    assert crossed.occludes[len(plain.crops) :].all()


def test_losses_are_least_for_the_right_answer() -> None:
    mask = torch.zeros(2, 8, 8)
    mask[:, 2:5, 2:6] = 1
    right, wrong = 20 * (mask - 0.5), 20 * (0.5 - mask)
    assert (fitting.mask_loss(right, mask) < 0.01).all()
    assert (fitting.mask_loss(wrong, mask) > 1).all()
    assert fitting.mean_over(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 0.0])) == 1
    assert fitting.mean_over(torch.tensor([1.0, 5.0]), torch.zeros(2)) == 0


def test_roughened_masks_keep_the_picture_and_move_edges_by_a_pixel() -> None:
    crops = torch.zeros(16, 5, 12, 12)
    crops[:, :3] = torch.rand(16, 3, 12, 12)
    crops[:, 3:, 4:8, 4:8] = 1
    rough = fitting.roughened(crops, torch.Generator().manual_seed(0))
    assert torch.equal(rough[:, :3], crops[:, :3])
    assert set(rough[:, 3:].sum((2, 3)).flatten().tolist()) == {4.0, 16.0, 36.0}
