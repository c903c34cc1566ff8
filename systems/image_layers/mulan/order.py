"""Which instance lies in front of which: depth first, then what hides what, then those that hide each other.

Instances have numbers; an order lists them from far to near. `front[i, j]` says that i lies in front of j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.providers import Mask, Order, Picture

Rung = Literal["depth", "occlusion", "mutual"]
"""Steps of the ablation ladder, each with all before it."""
RUNGS: tuple[Rung, ...] = get_args(Rung)
SURE = 0.5


@dataclass(frozen=True)
class Occlusion:
    """`touch[i, j]` where two touch, `probability[i, j]` that i occludes j, `more[i, j]` where i hides more of j."""

    touch: Bool[np.ndarray, "n n"]
    probability: Float[np.ndarray, "n n"]
    more: Bool[np.ndarray, "n n"]

    @property
    def hides(self) -> Bool[np.ndarray, "n n"]:
        """Who is believed to occlude whom."""
        return self.probability > SURE

    @property
    def mutual(self) -> Bool[np.ndarray, "n n"]:
        """Pairs that occlude each other, both ways."""
        both: Bool[np.ndarray, "n n"] = self.hides & self.hides.T
        return both

    def renumbered(self, order: Sequence[int]) -> Occlusion:
        """The same, with instances numbered by their place in an order."""
        grid = np.ix_(order, order)
        return Occlusion(self.touch[grid], self.probability[grid], self.more[grid])

    def edges(self, rung: Rung) -> list[tuple[int, int]]:
        """Pairs (i, j), i in front of j, the most certain first; mutual pairs come after all others."""
        one_way = self.hides & ~self.mutual
        certainty = np.abs(self.probability - self.probability.T)
        found = [_by_certainty(one_way, certainty)] if rung != "depth" else []
        if rung == "mutual":
            found.append(_by_certainty(self.mutual & self.more, certainty))
        return [edge for part in found for edge in part]


def _by_certainty(edges: Bool[np.ndarray, "n n"], certainty: Float[np.ndarray, "n n"]) -> list[tuple[int, int]]:
    pairs = [(int(i), int(j)) for i, j in np.argwhere(edges)]
    return sorted(pairs, key=lambda pair: -certainty[pair])


Alone = Callable[[int, int], Mask]
"""The completed mask of the first of two instances, as if the second were not there."""


def observe(image: Picture, visible: Sequence[Mask], order: Order, reach: int, alone: Alone) -> Occlusion:
    """Ask about every pair whose masks touch once dilated by `reach` px; of mutual pairs, who hides more."""
    count = len(visible)
    touch, probability, area = (np.zeros((count, count), kind) for kind in (bool, float, int))
    for i in range(count):
        for j in range(i):
            if masks.touching(visible[i], visible[j], reach):
                touch[i, j] = touch[j, i] = True
                probability[i, j], probability[j, i] = order.occludes(image, visible[i], visible[j])
            if min(probability[i, j], probability[j, i]) > SURE:
                area[i, j] = np.count_nonzero(visible[i] & alone(j, i))
                area[j, i] = np.count_nonzero(visible[j] & alone(i, j))
    return Occlusion(touch, probability, area > area.T)


def arrange(depths: Sequence[float], occlusion: Occlusion, rung: Rung = "mutual") -> list[int]:
    """The order from far to near by `depths` (larger is farther), corrected by what occludes what up to a rung."""
    far_first = sorted(range(len(depths)), key=lambda number: -depths[number])
    front, _ = without_cycles(len(depths), occlusion.edges(rung))
    return resolve(far_first, front)


def without_cycles(
    count: int, edges: Sequence[tuple[int, int]]
) -> tuple[Bool[np.ndarray, "n n"], list[tuple[int, int]]]:
    """Edges from the most certain on, and those left out: one that closes a cycle is the least certain one of it."""
    front, above, left_out = np.zeros((count, count), bool), np.eye(count, dtype=bool), []
    for i, j in edges:
        if above[j, i]:
            left_out.append((i, j))
        else:
            front[i, j] = True
            above |= np.outer(above[:, i], above[j])
    return front, left_out


def resolve(order: Sequence[int], front: Bool[np.ndarray, "n n"]) -> list[int]:
    """Move whatever lies behind something it should lie in front of to directly in front of it.

    `front` has no cycles. What must lie beneath is settled first, so that nothing moves twice: at most n moves, where
    n squared would do. An order that is right already stays as it is.
    """
    settled = list(order)
    for number in _beneath_first(order, front):
        place = settled.index(number)
        highest = max((settled.index(int(j)) for j in np.flatnonzero(front[number])), default=-1)
        if highest > place:
            settled.insert(highest, settled.pop(place))
    return settled


def _beneath_first(order: Sequence[int], front: Bool[np.ndarray, "n n"]) -> list[int]:
    """Every number after all those it lies in front of."""
    left, done = list(order), list[int]()
    while left:
        ready = [number for number in left if not front[number, left].any()]
        done += ready
        left = [number for number in left if number not in ready]
    return done
