"""The order solver against the enumeration of all orders (check 08.2), and pairs that hide each other."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.image_layers.mulan.order import RUNGS, Occlusion, arrange, observe, resolve, without_cycles

SOME = settings(max_examples=60, deadline=None)


def occlusion_of(pairs: dict[tuple[int, int], tuple[float, float]], count: int) -> Occlusion:
    probability = np.zeros((count, count))
    for (i, j), (there, back) in pairs.items():
        probability[i, j], probability[j, i] = there, back
    return Occlusion(probability > 0, probability, np.tri(count, dtype=bool).T)


def violated(order: list[int], edges: list[tuple[int, int]]) -> set[tuple[int, int]]:
    place = {number: rank for rank, number in enumerate(order)}
    return {(i, j) for i, j in edges if place[i] < place[j]}


def valid_orders(count: int, edges: list[tuple[int, int]]) -> np.ndarray:
    """Every order of `count` numbers, from far to near, that violates no edge: by trying all of them."""
    orders = np.array(list(permutations(range(count))))
    place = orders.argsort(1)
    right = np.ones(len(orders), bool)
    for i, j in edges:
        right &= place[:, i] > place[:, j]
    return orders[right]


@st.composite
def graphs(draw: st.DrawFn, most: int = 8) -> tuple[int, list[tuple[int, int]], list[float]]:
    """Any one-way pairs of up to eight instances, with their depths; cycles happen."""
    count = draw(st.integers(1, most))
    edges = []
    for i in range(count):
        for j in range(i):
            way = draw(st.sampled_from([None, None, (i, j), (j, i)]))
            edges += [way] if way else []
    depths = draw(st.permutations([float(rank) for rank in range(count)]))
    return count, draw(st.permutations(edges)), depths


@st.composite
def acyclic(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[float]]:
    count, edges, depths = draw(graphs())
    hidden = draw(st.permutations(range(count)))
    return count, [(i, j) if hidden[i] > hidden[j] else (j, i) for i, j in edges], depths


@SOME
@given(acyclic())
def test_holds_08_2_an_acyclic_graph_is_obeyed_and_the_depth_order_kept_where_it_can_be(
    graph: tuple[int, list[tuple[int, int]], list[float]],
) -> None:
    count, edges, depths = graph
    found = arrange(depths, occlusion_of(dict.fromkeys(edges, (0.9, 0.1)), count))
    right = valid_orders(count, edges).tolist()
    assert found in right
    by_depth = sorted(range(count), key=lambda number: -depths[number])
    if by_depth in right:
        assert found == by_depth


@SOME
@given(graphs())
def test_holds_08_2_a_cyclic_graph_costs_only_the_least_certain_edges_of_its_cycles(
    graph: tuple[int, list[tuple[int, int]], list[float]],
) -> None:
    count, edges, depths = graph
    sure = {edge: 0.95 - 0.01 * rank for rank, edge in enumerate(edges)}
    found = arrange(depths, occlusion_of({edge: (p, 1 - p) for edge, p in sure.items()}, count))
    front, left_out = without_cycles(count, edges)
    assert violated(found, edges) <= set(left_out)
    assert len(valid_orders(count, [(i, j) for i, j in edges if front[i, j]]))
    for edge in left_out:  # with the edges that are surer than itself it has no valid order: it closes a cycle of them
        surer = [other for other in edges if front[other] and sure[other] > sure[edge]]
        assert not len(valid_orders(count, [*surer, edge]))


@SOME
@given(acyclic())
def test_nothing_moves_but_what_must(graph: tuple[int, list[tuple[int, int]], list[float]]) -> None:
    count, edges, depths = graph
    front, _ = without_cycles(count, edges)
    by_depth = sorted(range(count), key=lambda number: -depths[number])
    in_front_of_nothing = [number for number in by_depth if not front[number].any()]
    kept = [number for number in resolve(by_depth, front) if number in in_front_of_nothing]
    assert kept == in_front_of_nothing


def test_one_instance_is_moved_to_directly_in_front_of_what_it_hides() -> None:
    depths = [5.0, 4.0, 3.0, 2.0]
    assert arrange(depths, occlusion_of({(0, 2): (0.9, 0.1)}, 4)) == [1, 2, 0, 3]
    assert arrange(depths, occlusion_of({(0, 2): (0.9, 0.1)}, 4), "depth") == [0, 1, 2, 3]
    assert arrange(depths, occlusion_of({(0, 2): (0.4, 0.1)}, 4)) == [0, 1, 2, 3]


def test_the_least_certain_edge_of_a_cycle_goes() -> None:
    pairs = {(0, 1): (0.9, 0.1), (1, 2): (0.8, 0.3), (2, 0): (0.7, 0.3)}
    assert without_cycles(3, occlusion_of(pairs, 3).edges("occlusion"))[1] == [(2, 0)]
    assert arrange([0.0, 0.0, 0.0], occlusion_of(pairs, 3)) == [2, 1, 0]


def test_a_mutual_pair_is_ordered_by_what_hides_more_and_only_on_its_rung() -> None:
    visible = np.zeros((2, 8, 12), bool)
    visible[0, 1:7, 1:8] = True
    visible[0, 3:5, 6:8] = False  # the second reaches into the first
    visible[1, 3:5, 6:11] = True
    visible[1, 1, 9] = visible[1, 6, 9] = True

    whole = visible.copy()
    whole[0, 1:7, 1:8] = True

    class Both:
        def occludes(self, *_: object) -> tuple[float, float]:
            return 0.9, 0.8

    occlusion = observe(np.zeros((8, 12, 3), np.uint8), list(visible), Both(), 1, lambda first, _: whole[first])
    assert occlusion.mutual[0, 1]
    assert occlusion.mutual[1, 0]
    assert {rung: arrange([1.0, 2.0], occlusion, rung) for rung in RUNGS} == {
        "depth": [1, 0],
        "occlusion": [1, 0],
        "mutual": [0, 1],
    }


def test_pairs_apart_are_not_asked_about() -> None:
    visible = np.zeros((2, 8, 20), bool)
    visible[0, 2:6, 1:5] = visible[1, 2:6, 12:18] = True

    class Never:
        def occludes(self, *_: object) -> tuple[float, float]:
            raise AssertionError("asked about a pair that does not touch")

    assert not observe(np.zeros((8, 20, 3), np.uint8), list(visible), Never(), 3, lambda *_: visible[0]).hides.any()
