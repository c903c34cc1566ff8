"""The providers of the full scale on tiny random checkpoints of the classes they load; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from systems.image_layers.mulan import describing, full, painting
from systems.image_layers.mulan.providers import Box, Depth, Mask, Picture
from systems.parts.errors import UserError
from tests.systems.image_layers.mulan import tiny_models

BOX = Box(4, 6, 40, 34, 1.0, "dog")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


@pytest.fixture
def picture() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def mask_of(rows: slice, columns: slice) -> Mask:
    mask = np.zeros((40, 56), bool)
    mask[rows, columns] = True
    return mask


def test_grounding_dino_answers_with_boxes_inside_the_picture(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.grounding_dino(tmp_path / "g")
    detector = full.GroundingDino.load(tmp_path / "g", ("dog", "cat"))
    monkeypatch.setattr(full, "BOX_SCORE", 0.0)
    monkeypatch.setattr(full, "WORD_SCORE", 0.0)
    boxes = detector.detect(picture)
    assert len(boxes) == 5
    assert all(0 <= box.x0 <= box.x1 <= 56 and 0 <= box.y0 <= box.y1 <= 40 for box in boxes)
    assert {word for box in boxes for word in box.label.split()} <= {"dog", ".", "cat", "object"}
    monkeypatch.setattr(full, "BOX_SCORE", 1.0)
    assert detector.detect(picture) == []


def test_a_box_is_given_by_its_middle_and_its_size() -> None:
    assert full.as_box((0.5, 0.25, 0.5, 0.5), (40, 80), 0.7, "dog") == Box(20, 0, 60, 20, 0.7, "dog")


def test_sam_answers_with_a_mask_of_the_picture_that_depends_on_box_and_points(
    tmp_path: Path, picture: Picture
) -> None:
    tiny_models.sam(tmp_path / "s")
    sam = full.Sam.load(tmp_path / "s")
    with torch.no_grad():
        sam.model.mask_decoder.output_hypernetworks_mlps[0].proj_out.weight.mul_(50)
    alone = sam.segment(picture, BOX, None)
    assert alone.shape == (40, 56)
    assert alone.dtype == bool
    seen = []
    forward = sam.model.forward

    def recorded(**given: torch.Tensor) -> object:
        seen.append(given)
        return forward(**given)

    sam.model.forward = recorded
    sam.segment(picture, BOX, np.array([[7, 8], [28, 20]]))
    scale = 64 / 56
    assert torch.allclose(seen[0]["input_boxes"], torch.tensor([[[4.0, 6.0, 40.0, 34.0]]]) * scale)
    assert torch.allclose(seen[0]["input_points"], torch.tensor([[[[7.0, 8.0], [28.0, 20.0]]]]) * scale)
    assert (seen[0]["pixel_values"][..., round(40 * scale) :, :] == 0).all()


def test_dpt_answers_with_depth_which_is_less_where_it_sees_nearness(tmp_path: Path, picture: Picture) -> None:
    tiny_models.dpt(tmp_path / "d")
    estimator = full.DptDepth.load(tmp_path / "d")
    assert estimator.depth(picture).shape == (40, 56)
    square = np.ascontiguousarray(picture[:32, :32])
    with torch.no_grad():
        pixels = full.standardised(square, 32, 32, full.HALF, full.HALF)
        nearness = estimator.model(pixel_values=pixels).predicted_depth[0].numpy()
    np.testing.assert_allclose(estimator.depth(square), -nearness, atol=1e-6)


@dataclass(frozen=True)
class Slope(Depth):
    """Farther to the right."""

    def depth(self, image: Picture) -> np.ndarray:
        return np.broadcast_to(np.linspace(0, 1, image.shape[1], dtype=np.float32), image.shape[:2])


def test_what_is_nearer_where_two_meet_lies_in_front(picture: Picture) -> None:
    left, right = mask_of(slice(5, 35), slice(5, 25)), mask_of(slice(5, 35), slice(26, 50))
    there, back = full.ContactOrder(Slope()).occludes(picture, left, right)
    assert there > 0.5 > back
    assert there + back == pytest.approx(1)
    assert full.ContactOrder(Slope()).occludes(picture, right, left) == pytest.approx((back, there))


def test_writers_say_something_and_the_judge_chooses_among_what_is_said(tmp_path: Path, picture: Picture) -> None:
    for name in ("blip2", "llava", "clip"):
        getattr(tiny_models, name)(tmp_path / name)
    describer = describing.Describer.load(tmp_path)
    said = [writer.write(picture) for writer in describer.writers]
    assert all(set(phrase.split()) <= set(tiny_models.WORDS) for phrase in said)
    assert describer.caption(picture, mask_of(slice(0, 40), slice(0, 56)), "dog") in {*said, "dog"}
    fits = dict.fromkeys(("dog", "cat a ."), 0.0)
    for phrase in fits:
        words = describer.judge.tokenizer([phrase], return_tensors="pt")
        with torch.no_grad():
            fits[phrase] = float(
                describer.judge.model(pixel_values=describing.looked_at(picture, 32), **words).logits_per_image
            )
    assert describer.judge.best(picture, list(fits)) == max(fits, key=lambda phrase: fits[phrase])


def test_what_is_described_is_the_mask_with_a_margin(picture: Picture) -> None:
    crop = describing.around(picture, mask_of(slice(10, 30), slice(20, 40)))
    assert np.array_equal(crop, picture[8:32, 18:42])
    assert np.array_equal(describing.around(picture, mask_of(slice(0, 0), slice(0, 0))), picture)


def test_diffusion_paints_the_hole_and_nothing_else_and_twice_the_same(tmp_path: Path, picture: Picture) -> None:
    tiny_models.sdxl(tmp_path / "x")
    inpainter = painting.DiffusionInpainter.load(tmp_path / "x", side=64, steps=2)
    region = mask_of(slice(10, 20), slice(10, 30))
    painted = inpainter.inpaint(picture, region, "dog")
    assert np.array_equal(painted[~region], picture[~region])
    assert not np.array_equal(painted[region], picture[region])
    assert np.array_equal(painted, inpainter.inpaint(picture, region, "dog"))
    assert inpainter.inpaint(picture, np.zeros_like(region), "dog") is picture


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder grounding-dino"):
        full.full(tmp_path)


def test_concepts_are_read_from_a_file(tmp_path: Path) -> None:
    assert full.concepts(tmp_path) == full.CONCEPTS
    (tmp_path / "concepts.txt").write_text("lion\ntea pot\n")
    assert full.concepts(tmp_path) == ("lion", "tea pot")
