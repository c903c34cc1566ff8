"""decompose@mulan: scenes of the data set and photographs to stacks of layers, and any picture a person names.

python -m stages decompose mulan
python -m stages.decompose mulan --image photo.jpg --out layers/ --format ora
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field, model_validator

from systems.image_layers.mulan import annotation, intake
from systems.image_layers.mulan.discovery import Limits
from systems.image_layers.mulan.lift import lifted
from systems.image_layers.mulan.makers import Kind, providers_for
from systems.image_layers.mulan.measures import psnr
from systems.image_layers.mulan.pictures import exploded
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.pretrained import FILE as PRETRAINED
from systems.image_layers.mulan.providers import Picture, Providers
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.table import (
    PHOTOGRAPHS,
    Kept,
    column_of,
    read_kept,
    row_of,
    set_aside,
    shard_of,
    shards_of,
)
from systems.parts.errors import UserError
from systems.parts.layered_files.blended import read_rows
from systems.parts.layered_files.stack import Stack
from systems.parts.resumed import Resumable, map_resumed
from systems.parts.run import Strict

SHOWN = 6
SIDE = 256
"""Longer side, px, at which a photograph is taken apart."""
FEW = Settings(limits=Limits(count=6, truncated=1.0))
"""For a person's own picture: layers of 24 megapixels are large."""


class Params(Strict):
    """Parameters of the decomposition."""

    data: str = Field(description="data set whose test scenes and photographs are taken apart, as mulan")
    model: str = Field(description="trained model, as mulan")
    weights: str = Field(default="", description="fetched networks, for the providers that use them")
    providers: tuple[Kind, ...] = Field(default=("learned",), min_length=1, description="what takes scenes apart")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="seeds of learned providers")
    photographed: tuple[Kind, ...] = Field(default=("learned",), description="what takes photographs apart")
    scenes: int = Field(default=100, gt=0, description="test scenes, the first ones")
    shard: int = Field(default=25, gt=0, description="pictures a shard")
    side: int = Field(default=SIDE, ge=32, description="longer side at which photographs are taken apart, px")
    annotated: int = Field(default=4, ge=0, description="pictures of a run of which annotation files are written too")
    least_psnr: float = Field(default=20.0, ge=0, description="a stack that flattens worse is rejected, dB")
    settings: Settings = Field(default=Settings(), description="how pictures are taken apart")

    @model_validator(mode="after")
    def _large_networks_have_weights(self) -> Params:
        asked = sorted({"pretrained", "full"} & {*self.providers, *self.photographed})
        if asked and not self.weights:
            raise UserError(f"parameter weights is empty: providers of kind {asked[0]} need fetched networks")
        return self


@dataclass(frozen=True)
class Job:
    """Pictures `first` .. `last` of the scenes or the photographs, for one kind of providers and one seed."""

    kind: Kind
    seed: int
    number: int
    first: int
    last: int
    photographs: bool

    @property
    def label(self) -> str:
        """Name of the run this is a part of."""
        return f"{PHOTOGRAPHS}-{self.kind}" if self.photographs else f"{self.kind}-{self.seed}"

    @property
    def file(self) -> str:
        """Name of its shard."""
        return f"{self.label}-{self.number:05d}.parquet"


def decompose(run: Resumable[Params]) -> None:
    """Write `<providers>-<seed>-<number>.parquet`, `aside.parquet`, and some annotation files a run."""
    kinds = photographers(run.params, run.inputs.get("weights"))
    plan = {job.file: job for job in jobs(run.params, run.inputs["data"], kinds)}
    reads = [name for name in ("data", "model", "weights") if name in run.inputs]
    aside: list[dict[str, str]] = []
    for path in map_resumed(run, partial(work, run.params), plan, "decompose", reads):
        shutil.copyfile(path, run.output / path.name)
        aside += set_aside(path)
    table = pa.Table.from_pylist(aside, schema=pa.schema([(name, pa.string()) for name in ("run", "id", "reason")]))
    pq.write_table(table, run.output / "aside.parquet")
    run.table("set-aside", table)
    run.metric("pictures set aside", len(aside))
    for label in dict.fromkeys(job.label for job in plan.values()):
        show(run, label)


def show(run: Resumable[Params], label: str) -> None:
    """Count, draw and annotate what one run made."""
    rejected = [value for path in shards_of(run.output, label) for value in column_of(path, "rejected")]
    run.metric(f"pictures/{label}", len(rejected))
    run.metric(f"rejected/{label}", sum(rejected))
    for one in islice(read_kept(run.output, label), run.params.annotated):
        made = annotation.annotation_of(one.stack, "the label with its article")
        annotation.write(made, run.output / "annotations", f"{label}-{one.file}")
    if shown := list(islice(read_kept(run.output, label), SHOWN)):
        run.figure(f"layers-{label}", exploded(shown))


def photographers(params: Params, weights: Path | None) -> list[Kind]:
    """What takes photographs apart; `pretrained` is left out where its network could not be fetched."""
    if "pretrained" not in params.photographed or (weights and (weights / PRETRAINED).is_file()):
        return list(params.photographed)
    print(f"decompose: photographs by 'pretrained' are left out: {weights} holds no {PRETRAINED}", file=sys.stderr)
    return [kind for kind in params.photographed if kind != "pretrained"]


def jobs(params: Params, data: Path, photographed: Sequence[Kind]) -> Iterator[Job]:
    """Every shard: scenes for all kinds and seeds, then the photographs."""
    kinds = [
        (kind, seed, params.scenes, False)
        for kind in params.providers
        for seed in (params.seeds if kind == "learned" else [0])
    ]
    count = sum(pq.read_metadata(path).num_rows for path in photograph_files(data))
    kinds += [(kind, 0 if kind == "full" else params.seeds[0], count, True) for kind in photographed]
    for kind, seed, total, photographs in kinds:
        for number, first in enumerate(range(0, total, params.shard)):
            yield Job(kind, seed, number, first, min(total, first + params.shard), photographs)


def work(params: Params, inputs: Mapping[str, Path], job: Job) -> bytes:
    """One shard. Networks run on one thread, whose sums do not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows, aside = [], []
    try:
        for name, picture, scene in pictures(params, inputs, job):
            if isinstance(picture, str):
                aside.append({"run": job.label, "id": name, "reason": picture})
                continue
            providers = providers_for(job.kind, inputs.get("model"), inputs.get("weights"), job.seed, scene)
            rows.append(row_of(one(params, job, name, picture, providers)))
    finally:
        torch.set_num_threads(threads)
    return shard_of(rows, aside)


def pictures(params: Params, inputs: Mapping[str, Path], job: Job) -> Iterator[tuple[str, Picture | str, Scene | None]]:
    """Names and pictures of a job, with their scenes; the reason in place of a picture that is set aside."""
    if not job.photographs:
        for scene in islice(scenes(inputs["data"], params.scenes), job.first, job.last):
            yield scene.id, scene.image, scene
        return
    rows = read_rows(photograph_files(inputs["data"]), ("id", "file"), range(job.first, job.last))
    for row in rows:
        try:
            yield row["id"], intake.bounded(intake.opened(row["file"]), params.side), None
        except intake.SetAsideError as error:
            yield row["id"], str(error), None


def photograph_files(data: Path) -> list[Path]:
    """The files of photographs; there may be many."""
    return sorted(data.glob(f"{PHOTOGRAPHS}*.parquet"))


@lru_cache(1)
def scenes(folder: Path, most: int) -> list[Scene]:
    """The test scenes, read once a process."""
    return read_scenes(folder, "test", most)


def one(params: Params, job: Job, name: str, picture: Picture, providers: Providers) -> Kept:
    """A picture taken apart."""
    made = take_apart(picture, providers, params.settings)
    found = psnr(made.stack.flat(), picture)
    return Kept(name, job.kind, job.seed, picture, made.stack, made.orders, found, found < params.least_psnr)


def decompose_image(picture: Picture, model: Path, seed: int = 0, weights: Path | None = None) -> Stack:
    """The background, then instances (straight alpha) from far to near, at the picture's own size.

    `model` is a folder that `train` wrote. With `weights`, one that `fetch matting` wrote, what stands out is found by
    a network trained on real photographs. Instances are looked for at a longer side of 256 px.
    """
    providers = providers_for("pretrained" if weights else "learned", model, weights, seed, None)
    return lifted(picture, take_apart(intake.bounded(picture, SIDE), providers, FEW).stack)
