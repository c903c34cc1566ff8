"""Perceptual measures: properties that need no weights, and regressions on the fetched ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from systems.parts.perceptual import STLPIPS, BlurPool, EfficientNetLite0Features, SameConv, frechet_distance

WEIGHTS = Path("data/sources/weights")
fetched = pytest.mark.skipif(
    not (WEIGHTS / "stlpips_alex.safetensors").is_file(),
    reason="weights are not fetched: python -m stages fetch weights",
)


def picture() -> np.ndarray:
    from skimage.data import chelsea

    return chelsea()[:160, 100:260].astype(np.float32) / 255


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


def test_blur_pool_equals_the_binomial_sum() -> None:
    x = torch.randn(1, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect").numpy()[0]
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    wanted = [
        [[(padded[c, i : i + 3, j : j + 3] * kernel).sum() for j in range(0, 9, 2)] for i in range(0, 11, 2)]
        for c in range(2)
    ]
    np.testing.assert_allclose(BlurPool(2)(x)[0].numpy(), np.array(wanted), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before"), [(8, 3, 2, 0), (7, 3, 2, 1), (8, 5, 1, 2), (8, 5, 2, 1)]
)
def test_same_conv_pads_as_tensorflow(size: int, kernel: int, stride: int, before: int) -> None:
    conv = SameConv(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(conv.weight)
    impulse = torch.zeros(1, 1, size, size)
    impulse[0, 0, 0, 0] = 1
    out = conv(impulse)[0, 0]
    reached = sum(1 for index in range(len(out)) if index * stride - before <= 0)
    assert out.shape[0] == -(-size // stride)
    assert out.sum() == reached**2


def test_untrained_distance_is_zero_on_equal_pictures_and_symmetric() -> None:
    torch.manual_seed(0)
    metric = STLPIPS().eval()
    a, b = torch.rand(2, 3, 24, 32), torch.rand(2, 3, 24, 32)
    assert metric(a, a).abs().max() == 0
    torch.testing.assert_close(metric(a, b), metric(b, a))
    assert (metric(a, b) != 0).all()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="efficientnet_lite0"):
        EfficientNetLite0Features.load(tmp_path)


def test_frechet_distance_equals_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 5)), rng.normal(1, 2, size=(50, 5)) @ rng.normal(size=(5, 5))
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(axis=0) - b.mean(axis=0)
    wanted = gap @ gap + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b, shrinkage=0) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 3) == pytest.approx(5 * 9, rel=1e-6)


def test_frechet_distance_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((9, 3)))


@fetched
def test_perceptual_distance_grows_with_blur() -> None:
    metric, sharp = STLPIPS.load(WEIGHTS), picture()
    blurred = [tensor(gaussian_filter(sharp, (sigma, sigma, 0))) for sigma in (0, 0.5, 1.5, 4)]
    distances = [float(metric(tensor(sharp), other)) for other in blurred]
    assert distances[0] == 0
    assert distances[1] < 0.05 < 0.15 < distances[2] < distances[3] < 1


@fetched
def test_classifier_sees_a_cat() -> None:
    network = EfficientNetLite0Features.load(WEIGHTS)
    features = network(tensor(picture()))
    assert features.shape == (1, 1280)
    assert 281 <= int(network.classify(tensor(picture())).argmax()) <= 285  # ImageNet's five domestic cats
