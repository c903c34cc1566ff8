"""Facts about two masks: exact numbers of rectangles, and what exchanging does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.image_layers.mulan import facts

SIDE = 20


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


blocks = st.builds(block, st.integers(0, 10), st.integers(0, 10), st.integers(2, 9), st.integers(2, 9))


@given(blocks, blocks, st.integers(0, 2**32))
def test_exchanging_two_masks_exchanges_their_facts(first: np.ndarray, second: np.ndarray, seed: int) -> None:
    depth = np.random.default_rng(seed).random((SIDE, SIDE), np.float32)
    there, back = facts.facts_of(first, second, depth), facts.facts_of(second, first, depth)
    assert there.shape == (2, facts.COUNT)
    assert np.array_equal(there, back[::-1])


def test_facts_of_a_mask_that_another_cuts_a_piece_out_of() -> None:
    """A block of 10 x 8 pixels without a corner of 4 x 4, where a block of 4 x 6 lies and sticks out by 2."""
    whole, other = block(2, 3, 10, 8), block(8, 7, 4, 6)
    mask = whole & ~other
    depth = np.where(mask, 0.75, 0.25).astype(np.float32)
    own, others = facts.facts_of(mask, other, depth)
    middle = (80 * 7.5 - 16 * 10.5) / 64
    assert own[:4] == pytest.approx([0.75, middle / SIDE, 12 / SIDE, np.sqrt(64 / 400)])
    assert own[4] == own[5] == 0
    assert 64 / 80 < own[6] < 1
    assert own[7] == np.float32(0.75)
    assert others[:4] == pytest.approx([0.25, 10.5 / SIDE, 12 / SIDE, np.sqrt(24 / 400)])
    assert others[4] ** 2 * 64 == pytest.approx(others[5] ** 2 * 24)
    assert others[5] > 0
    assert others[6] == 1
    assert others[7] == np.float32(0.25)


@given(blocks)
def test_the_hull_of_a_block_is_itself_and_holds_what_is_left_of_it(mask: np.ndarray) -> None:
    assert np.array_equal(facts.hull(mask), mask)
    part = mask.copy()
    part[tuple(np.argwhere(mask)[0])] = False
    assert not (part & ~facts.hull(part)).any()
    assert not (facts.hull(part) & ~mask).any()
