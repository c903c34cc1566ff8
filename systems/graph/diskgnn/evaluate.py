"""evaluate@diskgnn: every batch byte for byte, pages counted by storage level, accuracy of reused samples.

python -m stages evaluate diskgnn
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field, field_validator

from systems.graph.diskgnn import pictures
from systems.graph.diskgnn.accounting import PAGE, cache_pages, naive_pages, packed_pages, pages_of_rows
from systems.graph.diskgnn.dataset import Dataset, open_dataset
from systems.graph.diskgnn.loader import MiniBatch, StoredBatches, gathered
from systems.graph.diskgnn.networks import SavedModel, accuracy, load_network, mean, read_model, variant_of
from systems.graph.diskgnn.plan import UNLIMITED, Placement, Plan, check_blowup, make_plan
from systems.graph.diskgnn.storage import Layers, open_layers
from systems.parts.graph_sampling import Nodes, sample_blocks
from systems.parts.run import SCORE, Run, Strict

SEEDS = 3
"""Orders of the disk caches that check 39.4 averages over."""
SPACE = 3.0
"""Limit of disk space of check 39.4."""


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set, as diskgnn")
    model: str = Field(description="trained networks, as diskgnn")
    layers: str = Field(description="packed mini-batches, as diskgnn")
    seed: int = Field(default=0, ge=0, description="seed of the samples that networks are tested on")
    memory_share: float = Field(
        default=0.1, ge=0, le=1, description="share of the features in memory in checks 3 and 4"
    )
    shares: tuple[float, ...] = Field(min_length=1, description="shares in memory that amplification is drawn over")
    blowups: tuple[float, ...] = Field(min_length=1, description="limits of disk space, a line each")

    @field_validator("blowups")
    @classmethod
    def _limits(cls, blowups: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(map(check_blowup, blowups))


@dataclass(frozen=True)
class Epoch:
    """The node lists of one epoch's stored batches, and what can be planned for them."""

    lists: Sequence[Nodes]
    nodes: int
    dim: int
    ranges: int

    def plan(self, share: float, blowup: float, rng: np.random.Generator) -> Plan:
        """The four levels for another budget or limit of space; nothing is packed."""
        rows = int(share * self.nodes)
        return make_plan(self.lists, self.nodes, (rows // 2, rows - rows // 2), blowup, self.ranges, rng)

    def naive(self, plan: Plan) -> list[int]:
        """Pages a batch of the raw layout under the same memory."""
        return [naive_pages(some, at, self.dim) for some, at in zip(self.lists, plan.batches, strict=True)]

    def pages(self, plan: Plan) -> int:
        """Pages an epoch of the planned layout."""
        return sum(cache_pages(at, self.dim) + packed_pages(at, self.dim) for at in plan.batches)

    def needed(self, plan: Plan) -> int:
        """Bytes an epoch that memory does not hold."""
        return sum(4 * self.dim * (len(at.cache_at) + len(at.packed_at)) for at in plan.batches)


def evaluate(run: Run[Params]) -> None:
    """Measure the stored layout, other layouts for the same batches, and the networks."""
    data, layers = open_dataset(run.inputs["data"]), open_layers(run.inputs["layers"])
    saved = layers.saved
    lists = [layers.nodes(batch) for batch in range(saved.batches)]
    epoch = Epoch(lists, saved.nodes, saved.dim, saved.ranges)
    record_bytes(run, data, layers)
    record_pages(run, epoch, [layers.placement(batch) for batch in range(saved.batches)], saved.accelerated)
    record_layouts(run, epoch)
    record_orders(run, epoch)
    draw_amplification(run, epoch)
    record_accuracy(run, data, read_model(run.inputs["model"]), saved.batch)


def record_bytes(run: Run[Params], data: Dataset, layers: Layers) -> None:
    """Bring every stored batch through the loader threads and hold it against the raw file."""
    batches = StoredBatches(layers, data.labels, torch.device("cpu"))
    numbers = range(layers.saved.batches)
    loaded = run.track(batches.load(numbers), "bytes", layers.saved.batches)
    exact = [
        np.array_equal(batch.x.numpy(), data.features[layers.nodes(number)])
        for number, batch in zip(numbers, loaded, strict=True)
    ]
    run.metric("headline/batches assembled byte for byte, share", mean(list(map(float, exact))))
    run.metric("pages read an epoch, counted by the reader", batches.cache_reader.pages + batches.packed_reader.pages)


def record_pages(run: Run[Params], epoch: Epoch, placements: Sequence[Placement], accelerated: int) -> None:
    """Pages and bytes of every stored batch by storage level."""
    dim = epoch.dim
    naive = [naive_pages(some, at, dim) for some, at in zip(epoch.lists, placements, strict=True)]
    pages = [[cache_pages(at, dim) for at in placements], [packed_pages(at, dim) for at in placements]]
    rows = [
        [int((at.memory_slot < accelerated).sum()) for at in placements],
        [int((at.memory_slot >= accelerated).sum()) for at in placements],
        [len(at.cache_at) for at in placements],
        [len(at.packed_at) for at in placements],
    ]
    names = dict(zip(pictures.LEVELS, rows, strict=True))
    columns = {f"rows, level {level}": counts for level, counts in names.items()}
    columns |= {f"pages, level {level}": counts for level, counts in zip(pictures.LEVELS[2:], pages, strict=True)}
    run.table("pages", pa.table({"batch": list(range(len(naive))), **columns, "pages, raw layout": naive}))
    run.metric("pages read an epoch, stored layout", sum(map(sum, pages)))
    run.metric("pages read an epoch, raw layout with the same memory", sum(naive))
    by_level = dict(zip(pictures.LEVELS[2:], pages, strict=True))
    caption = "Pages of 4 KiB that each stored mini-batch reads from level 3 and 4, and from the raw layout."
    run.figure("pages", pictures.pages_a_batch(by_level, naive), caption=caption)
    megabytes = {level: [count * 4 * dim / 1e6 for count in counts] for level, counts in names.items()}
    caption = "Features that each stored mini-batch takes from the four levels."
    run.figure("bytes", pictures.bytes_a_batch(megabytes), caption=caption)


def record_layouts(run: Run[Params], epoch: Epoch) -> None:
    """Check 39.3: packed files without a limit of space against the raw layout, both under the same memory."""
    plan = epoch.plan(run.params.memory_share, UNLIMITED, run.generator("order"))
    ours, naive, needed = epoch.pages(plan), sum(epoch.naive(plan)), epoch.needed(plan)
    run.metric("headline/pages read, as a share of the raw layout's", ratio(ours, naive))
    run.metric("unlimited layout/rows on disk, as a multiple of all nodes", plan.disk_rows / epoch.nodes)
    run.metric("unlimited layout/pages an epoch", ours)
    run.metric("unlimited layout/pages an epoch, raw layout", naive)
    run.hold("39.3", ratio(ours, naive), "<=", 0.25, "pages read as a share of the raw layout's, no limit of space")
    run.hold("39.3", ratio(ours * PAGE, needed), "<=", 1.1, "bytes of packed files as a multiple of those needed")


def record_orders(run: Run[Params], epoch: Epoch) -> None:
    """Check 39.4: rows on disk under a limit of space, and what min-hash order saves over a random one."""
    rows, shares = [], []
    for seed in range(SEEDS):
        plan = epoch.plan(run.params.memory_share, SPACE, run.generator("order", seed))
        rows.append(plan.disk_rows / (SPACE * epoch.nodes))
        sorted_pages = sum(cache_pages(at, epoch.dim) for at in plan.batches)
        shares.append(ratio(sorted_pages, random_pages(plan, epoch.dim, run.generator("random", seed))))
    run.metric(f"limit of {SPACE:g} N/batches a segment", plan.segment)
    run.metric(f"limit of {SPACE:g} N/rows on disk, as a multiple of all nodes", SPACE * mean(rows))
    run.metric(f"limit of {SPACE:g} N/pages an epoch", epoch.pages(plan))
    run.hold("39.4", mean(rows), "<=", 1.15, "rows on disk as a share of a limit of 3 N", SEEDS)
    run.hold("39.4", mean(shares), "<=", 0.75, "disk-cache pages in min-hash order as a share of a random one's", SEEDS)


def random_pages(plan: Plan, dim: int, rng: np.random.Generator) -> int:
    """Pages of the disk caches an epoch, were their rows in random order."""
    orders = [rng.permutation(len(cached)) for cached in plan.caches]
    return sum(
        pages_of_rows(orders[number // plan.segment][at.cache_row], dim) for number, at in enumerate(plan.batches)
    )


def ratio(part: float, whole: float) -> float:
    """Their quotient; 1 where both are nothing."""
    return part / whole if whole else 1.0


def draw_amplification(run: Run[Params], epoch: Epoch) -> None:
    """Bytes read over bytes needed, over shares in memory and limits of space."""
    shares = run.params.shares
    plans = {
        blowup: [epoch.plan(share, blowup, run.generator("sweep")) for share in shares] for blowup in run.params.blowups
    }
    factors = {
        blowup: [ratio(PAGE * epoch.pages(plan), epoch.needed(plan)) for plan in several]
        for blowup, several in plans.items()
    }
    any_limit = next(iter(plans.values()))
    naive = [ratio(PAGE * sum(epoch.naive(plan)), epoch.needed(plan)) for plan in any_limit]
    rows = [
        {
            "layout": pictures.limit(blowup),
            "share in memory": share,
            "amplification": factor,
            "rows on disk": plan.disk_rows,
        }
        for blowup in plans
        for share, factor, plan in zip(shares, factors[blowup], plans[blowup], strict=True)
    ]
    rows += [
        {"layout": "raw", "share in memory": share, "amplification": factor, "rows on disk": epoch.nodes}
        for share, factor in zip(shares, naive, strict=True)
    ]
    run.table("amplification", pa.Table.from_pylist(rows))
    caption = "Read amplification over the share of the features in memory, a line a limit of disk space."
    run.figure("amplification", pictures.amplification(shares, factors, naive), caption=caption)


def held_out(run: Run[Params], data: Dataset, saved: SavedModel, batch: int) -> Iterator[MiniBatch]:
    """The test nodes with sampled neighbours, the same for every network."""
    nodes, rng = data.of("test"), run.generator("test")
    for start in range(0, len(nodes), batch):
        yield gathered(
            sample_blocks(data.graph, nodes[start : start + batch], saved.fanouts, rng), data.features, data.labels
        )


def record_accuracy(run: Run[Params], data: Dataset, saved: SavedModel, batch: int) -> None:
    """Check 39.6, the score, and the curves of all seeds."""
    found: dict[str, list[float]] = {}
    for label in run.track(saved.networks, "accuracy", len(saved.networks)):
        network = load_network(run.inputs["model"], saved, label)
        found.setdefault(variant_of(label), []).append(accuracy(network, held_out(run, data, saved, batch)))
    run.table("accuracy", accuracy_table(saved, found))
    for variant, values in found.items():
        run.metric(f"test accuracy/{variant}", mean(values))
    run.metric("headline/test accuracy, reused samples", mean(found[saved.best]))
    run.metric(SCORE, 1 - mean(found[saved.best]))
    record_check(run, found)
    curves = {variant: [saved.accuracies[label] for label in saved.labels(variant)] for variant in saved.variants}
    caption = "Accuracy on the same validation nodes after each epoch, a line a seed."
    run.figure("accuracy", pictures.accuracies(curves), caption=caption)


def accuracy_table(saved: SavedModel, found: Mapping[str, Sequence[float]]) -> pa.Table:
    """A row a network."""
    labels = [label for variant in found for label in saved.labels(variant)]
    values = [round(value, 5) for several in found.values() for value in several]
    return pa.table(
        {"network": labels, "kind": [saved.networks[label].kind for label in labels], "test accuracy": values}
    )


def record_check(run: Run[Params], found: Mapping[str, Sequence[float]]) -> None:
    """Check 39.6, where all that it compares was trained."""
    if not {"stored", "fresh", "confined"} <= found.keys():
        return
    stored, fresh, confined = (100 * mean(found[name]) for name in ("stored", "fresh", "confined"))
    run.metric("headline/test accuracy, samples drawn anew", fresh / 100)
    seeds = len(found["stored"])
    run.hold("39.6", abs(stored - fresh), "<=", 1.0, "points of test accuracy between reused and new samples", seeds)
    run.hold("39.6", confined - stored, "<=", 0.0, "points by which a graph cut into parts is better", seeds)
