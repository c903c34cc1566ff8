"""Measures of neural collapse on features of known shape, and NC1 against its definition with full matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from systems.parts import collapse

COUNTS = st.lists(st.integers(2, 9), min_size=2, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


def labels_of(counts: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def by_definition(features: np.ndarray, labels: np.ndarray, keep: list[int]) -> float:
    """NC1 as the card writes it."""
    inside = np.isin(labels, keep)
    features, labels = features[:, inside], labels[inside]
    middle = features.mean(1)
    within, between = np.zeros((len(features),) * 2), np.zeros((len(features),) * 2)
    for number in keep:
        own = features[:, labels == number]
        mean = own.mean(1)
        within += (own - mean[:, None]) @ (own - mean[:, None]).T / len(labels)
        between += np.outer(mean - middle, mean - middle) / len(keep)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(keep))


@given(COUNTS, SEEDS, st.booleans())
def test_nc1_equals_its_definition(counts: list[int], seed: int, drop: bool) -> None:
    features = np.random.default_rng(seed).standard_normal((7, sum(counts)))
    labels = labels_of(counts)
    keep = list(range(len(counts)))[1 if drop and len(counts) > 2 else 0 :]
    found = collapse.nc1(torch.from_numpy(features), labels, keep)
    assert found == pytest.approx(by_definition(features, labels.numpy(), keep), rel=1e-6)


@given(COUNTS, SEEDS, st.floats(0.1, 10))
def test_nc1_is_zero_for_collapsed_features_and_knows_no_scale(counts: list[int], seed: int, scale: float) -> None:
    rng, labels = torch.Generator().manual_seed(seed), labels_of(counts)
    means = torch.randn(7, len(counts), generator=rng, dtype=torch.float64)
    spread = torch.randn(7, len(labels), generator=rng, dtype=torch.float64)
    keep = range(len(counts))
    assert collapse.nc1(means[:, labels], labels, keep) < 1e-20
    noisy = means[:, labels] + spread
    assert collapse.nc1(scale * noisy, labels, keep) == pytest.approx(collapse.nc1(noisy, labels, keep), rel=1e-9)


@given(COUNTS, SEEDS)
def test_class_means_are_means(counts: list[int], seed: int) -> None:
    features = torch.randn(7, sum(counts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = collapse.class_means(features, labels_of(counts), len(counts))
    torch.testing.assert_close(found, torch.stack([part.mean(1) for part in torch.split(features, counts, 1)], 1))
    assert collapse.centred(found, torch.tensor(counts)) @ torch.tensor(counts, dtype=torch.float64) == pytest.approx(
        0, abs=1e-9
    )


@given(st.integers(2, 12))
def test_frame_and_simplex_have_norm_one_and_the_angles_they_are_named_for(classes: int) -> None:
    frame, simplex = collapse.frame(classes), collapse.simplex(classes)
    assert float(frame.norm()) == pytest.approx(1)
    assert float(simplex.norm()) == pytest.approx(1)
    cosine = simplex[0, 1] / simplex[0, 0]
    assert float(cosine) == pytest.approx(-1 / (classes - 1))
    assert float(simplex.sum(0).abs().max()) < 1e-12


@given(SEEDS, st.floats(0.01, 100))
def test_distance_knows_directions_only(seed: int, scale: float) -> None:
    a, b = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(seed))
    assert collapse.distance(a, scale * a) == pytest.approx(0, abs=1e-6)
    assert collapse.distance(a, -a) == pytest.approx(2)
    assert 0 < collapse.distance(a, b) == pytest.approx(collapse.distance(scale * b, a), rel=1e-5)


def test_rows_that_vanished_are_found() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 1e-3], [0.0, 6e-3], [0.0, 0.0]])
    assert collapse.vanished(rows).tolist() == [False, True, False, True]
    assert collapse.vanished(torch.zeros(3, 2)).all()
