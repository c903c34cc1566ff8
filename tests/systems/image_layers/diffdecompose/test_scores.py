"""Scores against scikit-image and against sums written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from systems.image_layers.diffdecompose import scores


def pictures(seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 24, 24, channels), np.uint8)


def test_rmse_and_psnr_agree_with_scikit_image() -> None:
    a, b = pictures(0), pictures(1)
    assert scores.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255))
    assert scores.rmse(a, a) == 0
    assert scores.psnr(a, a) == 100


def test_ssim_agrees_with_scikit_image() -> None:
    a, b = pictures(0), pictures(0) // 2
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    whole = [structural_similarity(x, y, channel_axis=2, full=True, **options)[1] for x, y in zip(a, b, strict=True)]
    inner = np.mean([maps[5:-5, 5:-5].mean() for maps in whole])
    assert scores.ssim(a, b) == pytest.approx(inner, abs=0.02)


def test_colours_count_by_the_true_alpha() -> None:
    truth, guess = pictures(0, 4), pictures(1, 4)
    truth[..., 3] = 0
    truth[0, 0, 0, 3] = 255
    error = guess[0, 0, 0, :3].astype(float) - truth[0, 0, 0, :3]
    assert scores.colour_rmse(guess, truth) == pytest.approx(np.sqrt(np.mean(error**2)))


def test_few_pictures_at_a_time_give_the_scores_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pictures(0, 4), pictures(1, 4)
    d, weight = a.astype(float) - b, b[..., 3:] / 255
    assert scores.rmse(a, b) == pytest.approx(np.sqrt(np.mean(d**2)), rel=1e-12)
    assert scores.squared_errors(a, b) == pytest.approx((d**2).mean(axis=(1, 2, 3)), rel=1e-12)
    coloured = np.sqrt((d[..., :3] ** 2 * weight).sum() / (3 * weight.sum()))
    assert scores.colour_rmse(a, b) == pytest.approx(coloured, rel=1e-12)
    whole = scores.ssim(a, b)
    monkeypatch.setattr(scores, "MOST", 2)
    assert scores.ssim(a, b) == pytest.approx(whole, rel=1e-12)


def test_groups_are_scored_apart_and_together() -> None:
    a, b = pictures(0), pictures(1)
    found = scores.by_group(scores.rmse, a, b, ["p", "q", "p"])
    assert found["q"] == scores.rmse(a[1:2], b[1:2])
    assert found["p"] == scores.rmse(a[[0, 2]], b[[0, 2]])
    assert found["all"] == scores.rmse(a, b)


def test_mean_colour_fills_each_picture_with_its_own() -> None:
    a = pictures(0)
    flat = scores.mean_colour(a)
    assert flat.shape == a.shape
    assert (flat[1] == np.rint(a[1].mean(axis=(0, 1)))).all()
