"""synthesize@mulan: scenes with known layers, each a pure function of (seed, split, number), and real photographs.

python -m stages synthesize mulan
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import UInt8
from pydantic import Field, model_validator

from systems.image_layers.mulan import placing
from systems.image_layers.mulan.assets import Assets, SetAside, Split, load, stored
from systems.image_layers.mulan.scenes import SCHEMA, Scene, read_scenes, row_of
from systems.parts.errors import UserError
from systems.parts.grids import grid, on_checker
from systems.parts.pictures import write_table
from systems.parts.run import Run, Strict

SPLITS: tuple[Split, ...] = ("train", "test")
GROUP = 20
"""Scenes of a row group."""
SHOWN = 4


class Params(Strict):
    """Parameters of the synthesis."""

    sources: str = Field(description="fetched sources, as images")
    seed: int = Field(default=0, ge=0, description="seed of every scene")
    side: int = Field(default=96, ge=32, multiple_of=8, description="height and width of a scene, px")
    train: int = Field(default=800, gt=0, description="training scenes")
    test: int = Field(default=100, gt=0, description="held-out scenes")
    shard: int = Field(default=100, gt=0, description="scenes a shard")
    least: int = Field(default=3, ge=1, description="fewest instances of a scene")
    most: int = Field(default=6, ge=1, description="most instances of a scene")
    mutual: float = Field(default=0.2, ge=0, le=1, description="share of the scenes with a mutual occlusion")
    test_share: float = Field(default=0.2, gt=0, lt=1, description="share of the assets held out for the test split")
    photographs: int = Field(default=12, ge=0, description="real photographs, without truth, of the held-out assets")

    @model_validator(mode="after")
    def _least_is_not_more_than_most(self) -> Params:
        if self.least > self.most:
            raise UserError(f"parameter least = {self.least}: at most {self.most}, the parameter most, is wanted")
        if self.least < 2 and self.mutual:
            raise UserError(f"parameter least = {self.least}: at least 2 for a mutual occlusion are wanted")
        return self


@dataclass(frozen=True)
class Shard:
    """Scenes `first` .. `first + rows` of one split; `number` names the file."""

    split: Split
    number: int
    first: int
    rows: int


def synthesize(run: Run[Params]) -> None:
    """Write `<split>-<number>.parquet`, `photographs.parquet`, the assets used and those set aside, and sheets."""
    params, names = run.params, set[str]()
    plan = list(shards(params))
    made = run.map(partial(make_shard, params), plan, "synthesize", len(plan), reads=["sources"])
    for shard, (content, assets) in zip(plan, made, strict=True):
        (run.output / f"{shard.split}-{shard.number:05d}.parquet").write_bytes(content)
        names |= assets
    catalogue = pq.read_table(run.inputs["sources"] / "catalogue.parquet")
    pq.write_table(
        catalogue.filter(pc.is_in(catalogue["asset_id"], pa.array(sorted(names)))), run.output / "assets.parquet"
    )
    held_out, trained = (
        _assets(run.inputs["sources"], split, params.test_share, params.side) for split in ("test", "train")
    )
    pq.write_table(photographs(run.inputs["sources"], held_out, params.photographs), run.output / "photographs.parquet")
    run.table("set-aside", aside_table([*trained.aside, *held_out.aside]))
    run.metric("scenes", sum(shard.rows for shard in plan))
    run.metric("assets", len(names))
    run.metric("assets set aside", len(trained.aside) + len(held_out.aside))
    for split in SPLITS:
        sheet = contact_sheet(read_scenes(run.output, split, SHOWN))
        run.figure(f"{split}-scenes", sheet, f"Split {split}: scenes, and their layers with what is hidden.")


def shards(params: Params) -> Iterator[Shard]:
    """Every shard of the data set."""
    for split in SPLITS:
        count = getattr(params, split)
        for number, first in enumerate(range(0, count, params.shard)):
            yield Shard(split, number, first, min(params.shard, count - first))


@cache
def _assets(folder: Path, split: Split, test_share: float, side: int) -> Assets:
    """Decoded once a process."""
    return load(folder, split, test_share, side)


def make_shard(params: Params, inputs: Mapping[str, Path], shard: Shard) -> tuple[bytes, set[str]]:
    """One shard as Parquet, and the assets it uses."""
    assets = _assets(inputs["sources"], shard.split, params.test_share, params.side)
    made = [scene(params, assets, shard.split, shard.first + place) for place in range(shard.rows)]
    rows = [row_of(one.scene, params.seed, one.background, one.cutouts) for one in made]
    content = io.BytesIO()
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), content, GROUP)
    return content.getvalue(), {name for one in made for name in (one.background, *one.cutouts)}


def scene(params: Params, assets: Assets, split: Split, place: int) -> placing.Made:
    """One scene, the same whatever else is made."""
    rng = np.random.default_rng([params.seed, SPLITS.index(split), place])
    most = min(params.most, len(assets.cutouts))
    count = int(rng.integers(min(params.least, most), most + 1))
    mutual = bool(rng.random() < params.mutual)
    return placing.make(assets, rng, params.side, count, mutual, f"{split}-{place:06d}")


def photographs(folder: Path, assets: Assets, count: int) -> pa.Table:
    """Photographs spread over those that serve a split, as whole files: id, phrase, licence, file."""
    places = np.unique(np.linspace(0, len(assets.photos) - 1, min(count, len(assets.photos)), dtype=int))
    rows = list(stored(folder, [assets.photos[place].name for place in places]))
    return pa.table(
        {
            "id": pa.array([row["asset_id"] for row in rows], pa.string()),
            "phrase": pa.array([row["phrase"] for row in rows], pa.string()),
            "licence": pa.array([row["licence"] for row in rows], pa.string()),
            "file": pa.array([row["image"]["bytes"] for row in rows], pa.binary()),
        }
    )


def aside_table(aside: Sequence[SetAside]) -> pa.Table:
    """What no scene uses, and why."""
    rows = [{"asset": asset.name, "kind": asset.kind, "reason": asset.reason} for asset in aside]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in ("asset", "kind", "reason")]))


def contact_sheet(scenes: Sequence[Scene]) -> UInt8[np.ndarray, "H W 3"]:
    """A row a scene: the picture, then its layers from the bottom up on a checker-board, white where there are none."""
    longest = max(len(scene.layers) for scene in scenes)
    rows = []
    for scene in scenes:
        tiles = np.concatenate([scene.image[None], on_checker(scene.layers)])
        missing = longest + 1 - len(tiles)
        rows.append(np.pad(tiles, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255))
    return grid(rows, scale=1)
