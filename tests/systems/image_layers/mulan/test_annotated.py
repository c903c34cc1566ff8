"""The truth with errors: none at level 0, the same for one seed, larger for a larger level; and U2-Net's provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.annotated import Annotated, Noise
from systems.image_layers.mulan.makers import providers_for
from systems.image_layers.mulan.pretrained import SalientProvider, u2net
from systems.image_layers.mulan.providers import Box
from systems.parts.errors import UserError
from tests.systems.image_layers.mulan.made import scene


def test_without_noise_the_answers_are_the_truth() -> None:
    made = scene(0, mutual=True)
    truth = Annotated(made, Noise())
    for layer, box in enumerate(truth.detect(made.image), 1):
        assert [box.x0, box.y0, box.x1, box.y1] == made.boxes[layer].tolist()
        assert box.label == made.labels[layer]
        assert np.array_equal(truth.segment(made.image, box, None), made.visible[layer])
        assert np.array_equal(truth.segment(made.image, box, np.array([[1, 1]])), made.amodal[layer])
    assert np.array_equal(np.unique(truth.depth(made.image)), np.unique(made.depth))
    assert truth.occludes(made.image, made.visible[1], made.visible[2]) == (1.0, 1.0)
    assert truth.occludes(made.image, made.visible[2], made.visible[3]) == (0.0, 1.0)
    assert truth.occludes(made.image, made.visible[3], made.visible[2]) == (1.0, 0.0)


def test_errors_grow_with_their_level_and_depend_on_the_seed_alone() -> None:
    made = scene(1)
    box = Annotated(made, Noise()).detect(made.image)[0]
    agreement = []
    for level in (0.0, 0.5, 3.0):
        found = [Annotated(made, Noise(mask=level), seed).segment(made.image, box, None) for seed in (0, 0, 1)]
        assert np.array_equal(found[0], found[1])
        assert level == 0 or not np.array_equal(found[0], found[2])
        agreement.append(masks.iou(found[0], made.visible[1]))
    assert agreement == sorted(agreement, reverse=True)
    assert agreement[0] == 1
    assert agreement[2] < agreement[1]
    rough = Annotated(made, Noise(box=0.2, depth=0.5, order=0.49), 3)
    assert rough.detect(made.image) != Annotated(made, Noise(), 3).detect(made.image)
    assert not np.array_equal(rough.depth(made.image), Annotated(made, Noise()).depth(made.image))
    there = rough.occludes(made.image, made.visible[1], made.visible[2])
    assert rough.occludes(made.image, made.visible[2], made.visible[1]) == there[::-1]


def salient(picture: np.ndarray) -> SalientProvider:
    """A network that takes redness for what stands out."""
    return SalientProvider(lambda batch: batch[0, 0])


def test_pieces_that_stand_out_are_found_and_cut_out() -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[10:30, 10:30, 0], picture[35:55, 50:85, 0] = 255, 255
    provider = salient(picture)
    boxes = sorted(provider.detect(picture), key=lambda box: box.x0)
    assert len(boxes) == 2
    for box, (top, left, bottom, right) in zip(boxes, ((10, 10, 30, 30), (35, 50, 55, 85)), strict=True):
        assert np.abs(np.array([box.y0, box.x0, box.y1, box.x1]) - (top, left, bottom, right)).max() <= 1
        assert provider.segment(picture, box, None)[top + 2 : bottom - 2, left + 2 : right - 2].all()
    whole = Box(0, 0, 90, 60, 1.0, "all")
    assert provider.segment(picture, whole, None).sum() > 1000
    meant = provider.segment(picture, whole, np.array([[20, 20]]))
    assert meant[20, 20]
    assert not meant[45, 60]
    alpha = provider.alpha(picture, provider.segment(picture, whole, None))
    assert alpha[20, 20] > 0.9
    assert alpha[5, 80] < 0.1
    blank = np.full((20, 20, 3), 7, np.uint8)
    assert SalientProvider(lambda batch: np.zeros(batch.shape[2:], np.float32)).detect(blank) == []


def test_what_a_kind_cannot_do_without_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="providers of kind annotated need a scene"):
        providers_for("annotated")
    with pytest.raises(UserError, match="providers of kind learned need a model"):
        providers_for("learned")
    with pytest.raises(UserError, match="run `python -m stages fetch matting`"):
        u2net(tmp_path / "u2net.onnx")
    with pytest.raises(UserError, match="one of learned, annotated"):
        providers_for("other")  # type: ignore[arg-type]
