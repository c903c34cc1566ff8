"""The plan of the four levels against the card, step by step and by brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.graph.diskgnn import plan as plans
from systems.graph.diskgnn.accounting import cache_pages
from systems.graph.diskgnn.plan import Plan, check_blowup, make_plan, min_hash_order, rows_within, segment_length
from systems.parts.errors import UserError

Lists = list[np.ndarray]


@st.composite
def node_lists(draw: Callable[..., set[int]], nodes: int = 30) -> Lists:
    """Node lists of a few batches, each in an order of its own."""
    several = draw(st.lists(st.sets(st.integers(0, nodes - 1), min_size=1), min_size=1, max_size=7))
    return [np.array(sorted(some, key=lambda node: node * 7 % 31)) for some in several]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


limits = st.one_of(st.just(-1.0), st.floats(0.05, 4))


@given(node_lists(), st.integers(0, 12), st.integers(0, 12), limits, st.integers(1, 9))
def test_holds_39_2_the_levels_share_the_positions_of_a_batch_out(
    lists: Lists, first: int, second: int, blowup: float, ranges: int
) -> None:
    plan = make_plan(lists, 30, (first, second), blowup, ranges, rng())
    for number, (some, at) in enumerate(zip(lists, plan.batches, strict=True)):
        everywhere = np.concatenate([at.memory_at, at.cache_at, at.packed_at])
        assert sorted(everywhere.tolist()) == list(range(len(some)))
        assert np.array_equal(plan.memory[at.memory_slot], some[at.memory_at])
        assert np.array_equal(plan.caches[number // plan.segment][at.cache_row], some[at.cache_at])


@given(node_lists(), st.integers(0, 10), limits)
def test_a_disk_cache_has_only_nodes_that_several_batches_of_its_segment_lack(
    lists: Lists, rows: int, blowup: float
) -> None:
    plan = make_plan(lists, 30, (0, rows), blowup, 2, rng())
    assert len(plan.caches) == -(-len(lists) // plan.segment)
    _, most = segment_length([np.setdiff1d(some, plan.memory) for some in lists], 30, blowup)
    for number, cached in enumerate(plan.caches):
        segment = lists[number * plan.segment : (number + 1) * plan.segment]
        counts = Counter(np.concatenate(segment).tolist())
        left_out = set(counts) - set(cached.tolist()) - set(plan.memory.tolist())
        assert len(set(cached.tolist())) == len(cached) <= most
        assert all(counts[node] > 1 and node not in plan.memory for node in cached.tolist())
        if len(cached):
            assert min(counts[node] for node in cached.tolist()) >= max((counts[node] for node in left_out), default=0)
        else:
            assert most == 0 or all(counts[node] == 1 for node in left_out)


def estimate(cold: Lists, done: int) -> float:
    """Step 4 of the card, in its own words."""
    counts = Counter(np.concatenate(cold[:done]).tolist())
    several, once = (sum(test(count) for count in counts.values()) for test in (lambda c: c > 1, lambda c: c == 1))
    return (several + once) * len(cold) / done


@given(node_lists(), st.floats(0.05, 4))
def test_a_segment_is_the_shortest_that_keeps_to_the_limit(cold: Lists, blowup: float) -> None:
    length, most = segment_length(cold, 30, blowup)
    counts = Counter(np.concatenate(cold[:length]).tolist())
    assert most == sum(count > 1 for count in counts.values())
    assert all(estimate(cold, done) >= blowup * 30 for done in range(1, length))
    assert length == len(cold) or estimate(cold, length) < blowup * 30


def test_without_a_limit_there_is_one_segment_and_no_disk_cache() -> None:
    plan = make_plan([np.arange(5), np.arange(3, 9)], 10, (0, 1), -1, 1, rng())
    assert plan.segment == 2
    assert [len(cached) for cached in plan.caches] == [0]


def test_holds_39_5_no_other_nodes_in_memory_give_more_hits() -> None:
    draws = np.random.default_rng(3)
    for _ in range(5):
        lists = [draws.permutation(12)[: draws.integers(1, 9)] for _ in range(6)]
        for size in (0, 1, 3, 5, 12):
            plan = make_plan(lists, 12, (size // 2, size - size // 2), -1, 2, rng())
            best = max(sum(np.isin(some, held).sum() for some in lists) for held in combinations(range(12), size))
            assert sum(len(at.memory_at) for at in plan.batches) == best


def test_the_first_and_most_popular_part_of_memory_is_level_1() -> None:
    lists = [np.array([7, 1, 2]), np.array([7, 1]), np.array([7, 5])]
    plan = make_plan(lists, 9, (1, 2), -1, 1, rng())
    assert plan.memory.tolist() == [7, 1, 2]
    assert plan.accelerated == 1
    assert make_plan(lists, 9, (20, 20), -1, 1, rng()).accelerated == 9


def test_min_hash_order_is_that_of_the_card_and_puts_like_nodes_together() -> None:
    draws = np.random.default_rng(1)
    cold = [np.sort(draws.choice(400, 200, replace=False)) for _ in range(6)]
    ranks = np.random.default_rng(5)
    first, second = ranks.permutation(6), ranks.permutation(6)
    used = {node: [batch for batch, some in enumerate(cold) if node in some] for node in range(400)}
    chosen = np.array([node for node in range(400) if len(used[node]) > 1])
    keys = [6 * min(first[used[node]]) + min(second[used[node]]) for node in chosen.tolist()]
    ordered = min_hash_order(chosen, cold, 400, np.random.default_rng(5))
    assert ordered.tolist() == [node for _, node in sorted(zip(keys, chosen.tolist(), strict=True))]


def test_min_hash_order_saves_pages() -> None:
    draws = np.random.default_rng(1)
    groups = [draws.choice(2000, 200, replace=False) for _ in range(12)]
    lists = [np.unique(np.concatenate([groups[i], groups[(i + 1) % 12]])) for i in range(12)]
    plan = make_plan(lists, 2000, (0, 0), 0.01, 8, rng())
    random = Plan(plan.memory, 0, plan.segment, (draws.permutation(plan.caches[0]),), plan.batches)
    rows = np.empty(2000, np.int64)
    rows[random.caches[0]] = np.arange(len(random.caches[0]))
    ours = sum(cache_pages(at, 128) for at in plan.batches)
    moved = (plans.Placement(*at[:2], at[2], rows[plan.caches[0][at[3]]], at[4]) for at in map(fields, plan.batches))
    assert ours < 0.75 * sum(cache_pages(at, 128) for at in moved)


def fields(at: plans.Placement) -> tuple[np.ndarray, ...]:
    return at.memory_at, at.memory_slot, at.cache_at, at.cache_row, at.packed_at


@pytest.mark.parametrize("blowup", [0, -0.5, -2, float("nan")])
def test_holds_39_7_a_limit_of_space_that_means_nothing_is_refused(blowup: float) -> None:
    with pytest.raises(UserError, match=r"parameter blowup = \S+: a number above 0, or -1 for no limit, is wanted"):
        check_blowup(blowup)


def test_rows_are_whole() -> None:
    assert [rows_within(budget, 128, "cpu_bytes") for budget in (0, 511, 512, 1024)] == [0, 0, 1, 2]
    with pytest.raises(UserError, match="parameter cpu_bytes = -1: bytes, 0 or more, are wanted"):
        rows_within(-1, 128, "cpu_bytes")
