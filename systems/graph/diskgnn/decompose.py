"""decompose@diskgnn: all mini-batches of an epoch sampled ahead, and the features packed for them in four levels.

python -m stages decompose diskgnn
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from systems.graph.diskgnn import pictures
from systems.graph.diskgnn.dataset import Dataset, open_dataset
from systems.graph.diskgnn.packing import pack
from systems.graph.diskgnn.plan import Plan, check_blowup, make_plan, popularity, rows_within
from systems.graph.diskgnn.storage import Saved, write_placement, write_sample, write_saved
from systems.parts.errors import UserError
from systems.parts.graph_sampling import Nodes, sample_blocks, shuffled_batches
from systems.parts.run import Run, Strict


class Params(Strict):
    """Parameters of the sampling and packing."""

    data: str = Field(description="data set, as diskgnn")
    seed: int = Field(default=0, ge=0, description="seed of the samples and of the order of the disk caches")
    batch: int = Field(default=1024, gt=0, description="seeds a mini-batch")
    fanouts: tuple[int, ...] = Field(
        default=(10, 15, 20), min_length=1, description="neighbours sampled a node, hop by hop from the seeds"
    )
    gpu_bytes: int = Field(description="features kept in level 1, bytes")
    cpu_bytes: int = Field(description="features kept in level 2, bytes")
    blowup: float = Field(default=-1.0, description="rows on disk, as a multiple of all nodes; -1 for no limit")
    ranges: int = Field(default=8, gt=0, description="pieces in which the raw file is streamed")

    @field_validator("blowup")
    @classmethod
    def _a_limit(cls, blowup: float) -> float:
        return check_blowup(blowup)

    @field_validator("gpu_bytes", "cpu_bytes")
    @classmethod
    def _a_budget(cls, budget: int, about: object) -> int:
        rows_within(budget, 1, str(getattr(about, "field_name", "")))
        return budget


def decompose(run: Run[Params]) -> None:
    """Write the samples, then pack every feature where the batches will read it."""
    params, data = run.params, open_dataset(run.inputs["data"])
    lists = sample_all(run, data)
    rows = (
        rows_within(params.gpu_bytes, data.meta.dim, "gpu_bytes"),
        rows_within(params.cpu_bytes, data.meta.dim, "cpu_bytes"),
    )
    plan = make_plan(lists, data.meta.nodes, rows, params.blowup, params.ranges, run.generator("min-hash"))
    read = pack(data.raw, data.meta.dim, data.meta.nodes, lists, plan, params.ranges, run.output)
    for batch, placement in enumerate(plan.batches):
        write_placement(run.output, batch, placement)
    write_saved(run.output, saved(params, data, plan))
    record(run, data, lists, plan, read)


def sample_all(run: Run[Params], data: Dataset) -> list[Nodes]:
    """Step 1: sample and write every batch of one epoch; returns their node lists."""
    params = run.params
    batches = shuffled_batches(data.of("train"), params.batch, run.generator("shuffle"))
    if not batches:
        raise UserError(f"data set {data.folder}: no node to train on")
    lists = []
    for number, seeds in enumerate(run.track(batches, "sample", len(batches))):
        sample = sample_blocks(data.graph, seeds, params.fanouts, run.generator("sample", number))
        write_sample(run.output, number, sample)
        lists.append(sample.nodes)
    return lists


def saved(params: Params, data: Dataset, plan: Plan) -> Saved:
    """What layers.json says."""
    return Saved(
        nodes=data.meta.nodes,
        dim=data.meta.dim,
        batch=params.batch,
        fanouts=params.fanouts,
        seed=params.seed,
        batches=len(plan.batches),
        segment=plan.segment,
        memory=len(plan.memory),
        accelerated=plan.accelerated,
        cache_rows=tuple(map(len, plan.caches)),
        blowup=params.blowup,
        ranges=params.ranges,
    )


def record(run: Run[Params], data: Dataset, lists: Sequence[Nodes], plan: Plan, read: int) -> None:
    """How much lies where, and how unequal the nodes are."""
    counts = popularity(lists, data.meta.nodes)
    run.metric("batches", len(lists))
    run.metric("batches a segment", plan.segment)
    run.metric("rows on disk, as a multiple of all nodes", plan.disk_rows / data.meta.nodes)
    run.metric("raw bytes read while packing, as a share of the file", read / data.raw.stat().st_size)
    run.metric("share of lookups that memory answers", counts[plan.memory].sum() / counts.sum())
    run.table("levels", levels(plan))
    caption = "In how many mini-batches of an epoch each node is needed, most popular first; memory holds those left."
    run.figure("popularity", pictures.popularity(np.sort(counts)[::-1], plan), caption=caption)


def levels(plan: Plan) -> pa.Table:
    """Rows held by each level, and lookups that it answers in an epoch."""
    slots = np.concatenate([batch.memory_slot for batch in plan.batches])
    first = int((slots < plan.accelerated).sum())
    cached, packed = (sum(len(getattr(b, name)) for b in plan.batches) for name in ("cache_at", "packed_at"))
    return pa.table(
        {
            "level": list(pictures.LEVELS),
            "rows held": [
                plan.accelerated,
                len(plan.memory) - plan.accelerated,
                sum(map(len, plan.caches)),
                packed,
            ],
            "lookups an epoch": [first, len(slots) - first, cached, packed],
        }
    )
