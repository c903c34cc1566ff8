"""synthesize@alphablend: shards of triplets, each a pure function of (seed, split, sub-task, number).

python -m stages synthesize alphablend
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8
from pyarrow.dataset import dataset
from pydantic import Field

from systems.image_layers.alphablend.assets import Assets, Split, load, used
from systems.image_layers.alphablend.layers import SUBTASKS, Foreground, background
from systems.image_layers.alphablend.table import PICTURES, SCHEMA
from systems.parts.blend import blend
from systems.parts.errors import UserError
from systems.parts.grids import grid, on_checker
from systems.parts.layered_files.blended import blended
from systems.parts.layered_files.strip import FOLDER, strip
from systems.parts.pictures import Codec, alpha_of, decode, digest, encode, quantise, unit, write_table
from systems.parts.run import Run, Strict

SPLITS: tuple[Split, ...] = ("train", "test")
ASSET_SIDE = 4
"""Assets are kept at this many times the side of the samples, so that crops stay sharp."""

ATTEMPTS = 100
"""Foreground and background are drawn again while they hide each other, at most so often."""

GROUP_ROWS = 50
GROUP_BYTES = 8 << 20
"""A row group has so many rows, or fewer where their pixels would be more: whoever reads one row reads its group."""

LEAST_SHOWN = 0.01
"""Least share of the pixels in which a foreground and its effect can be seen."""

WORDS_OF = {
    "over": "alpha blending",
    "screen": "screen blending",
    "additive": "adding light",
    "multiply": "multiplying",
    "glass": "refraction with highlights",
}


class Params(Strict):
    """Parameters of the synthesis."""

    sources: str = Field(description="fetched sources, as images")
    seed: int = Field(default=0, ge=0, description="seed of every sample")
    side: int = Field(default=32, ge=16, multiple_of=8, description="height and width of a sample, px")
    train: int = Field(default=2000, gt=0, description="training triplets a sub-task")
    test: int = Field(default=64, gt=0, description="held-out triplets a sub-task")
    shard: int = Field(default=500, gt=0, description="triplets a shard")
    subtasks: tuple[str, ...] = Field(default=tuple(SUBTASKS), min_length=1, description="sub-tasks to make")
    codec: Codec = Field(default="tiff", description="webp is small; tiff is fast and twice the size")
    test_share: float = Field(default=0.2, gt=0, lt=1, description="share of the assets held out for the test split")
    additive_share: float = Field(
        default=0.25, ge=0, le=1, description="share of the flares that are added, not screened"
    )


@dataclass(frozen=True)
class Shard:
    """Samples `first` .. `first + rows` of one sub-task of one split; `number` names the file."""

    split: Split
    subtask: str
    number: int
    first: int
    rows: int


def synthesize(run: Run[Params]) -> None:
    """Write `<split>-<number>.parquet`, the catalogue rows of the assets used, a contact sheet and the counts."""
    check_subtasks(run.params)
    plan, names = list(shards(run.params)), set[str]()
    made = run.map(partial(make_shard, run.params), plan, "synthesize", len(plan), reads=["sources"])
    for shard, (content, assets) in zip(plan, made, strict=True):
        (run.output / f"{shard.split}-{shard.number:05d}.parquet").write_bytes(content)
        names |= assets
    pq.write_table(used(run.inputs["sources"], names), run.output / "assets.parquet")
    run.metric("samples", sum(shard.rows for shard in plan))
    run.metric("assets", len(names))
    for split in SPLITS:
        caption = f"Split {split}, three rows a sub-task: foregrounds, backgrounds, composites."
        run.figure(f"{split}-samples", contact_sheet(run.output, split, run.params.subtasks), caption)
    for subtask in run.params.subtasks:
        run.figure(f"{FOLDER}/{subtask}", *layers_of(run.output, subtask))


def check_subtasks(params: Params) -> None:
    """Refuse a sub-task that does not exist."""
    for subtask in params.subtasks:
        if subtask not in SUBTASKS:
            raise UserError(f"parameter subtasks = {subtask!r}: one of {', '.join(SUBTASKS)} is wanted")


def shards(params: Params) -> Iterator[Shard]:
    """Every shard of the data set."""
    for split in SPLITS:
        count, number = getattr(params, split), 0
        for subtask in params.subtasks:
            for first in range(0, count, params.shard):
                yield Shard(split, subtask, number, first, min(params.shard, count - first))
                number += 1


@cache
def _assets(folder: Path, split: Split, test_share: float, side: int) -> Assets:
    """Decoded once a process."""
    return load(folder, split, test_share, side)


def make_shard(params: Params, inputs: Mapping[str, Path], shard: Shard) -> tuple[bytes, set[str]]:
    """One shard as Parquet, and the assets it uses."""
    assets = _assets(inputs["sources"], shard.split, params.test_share, ASSET_SIDE * params.side)
    rows = [stored(sample(params, assets, shard, shard.first + place), params.codec) for place in range(shard.rows)]
    content = io.BytesIO()
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), content, group_rows(params.side))
    return content.getvalue(), {name for row in rows for name in [*row["fg_assets"], row["bg_asset"]]}


def group_rows(side: int) -> int:
    """Rows of a row group of samples of `side` px, which have ten channels together."""
    return max(1, min(GROUP_ROWS, GROUP_BYTES // (10 * side**2)))


def stored(row: dict[str, Any], codec: Codec) -> dict[str, Any]:
    """A sample as its row is written: pictures encoded at once, so that a shard of large ones fits into memory."""
    sums = {f"sha256_{name}": digest(row[name]) for name in PICTURES}
    pictures = {name: {"bytes": encode(row[name], codec), "path": f"{row['id']}.{codec}"} for name in PICTURES}
    return {**row, **sums, **pictures}


def sample(params: Params, assets: Assets, shard: Shard, place: int) -> dict[str, Any]:
    """One triplet and its row; the composite is blended from the layers as they are stored, in 8 bits."""
    key = [params.seed, SPLITS.index(shard.split), list(SUBTASKS).index(shard.subtask), place]
    rng = np.random.default_rng(key)
    for _ in range(ATTEMPTS):
        bg, bg_asset, bg_phrase = background(assets, rng, params.side)
        made = SUBTASKS[shard.subtask](assets, rng, params.side, params.additive_share)
        fg = quantise(made.picture)
        if share(alpha_of(fg) > 12) < LEAST_SHOWN:
            continue
        comp = quantise(blend(made.tau, unit(fg), unit(bg), made.params))
        if share(cv2.absdiff(comp, bg) > 2) >= LEAST_SHOWN:
            break
    else:
        raise UserError(f"sources: {ATTEMPTS} foregrounds for {shard.subtask} could not be seen, as {made.assets}")
    return {
        "id": f"{shard.subtask}-{shard.split}-{place:06d}",
        "subtask": shard.subtask,
        "tau": made.tau,
        "params": json.dumps(made.params, sort_keys=True),
        "seed": params.seed,
        "fg_assets": list(made.assets),
        "bg_asset": bg_asset,
        "fg_phrase": made.phrase,
        "bg_phrase": bg_phrase,
        "prompt": prompt(made, bg_phrase),
        "fg": fg,
        "bg": bg,
        "comp": comp,
    }


def share(mask: Bool[np.ndarray, ...]) -> float:
    """Share of a mask that is true, 0..1."""
    return np.count_nonzero(mask) / mask.size


def prompt(made: Foreground, bg_phrase: str) -> str:
    """The three numbered sub-images in words, with the blend."""
    return (
        f"[1] the foreground, {made.phrase}; [2] the background, {bg_phrase}; "
        f"[3] the foreground over the background, by {WORDS_OF[made.tau]}"
    )


def contact_sheet(
    folder: Path, split: Split, subtasks: tuple[str, ...], columns: int = 8
) -> UInt8[np.ndarray, "H W 3"]:
    """Three rows a sub-task: foregrounds on a checker-board, backgrounds, composites."""
    rows = []
    for subtask in subtasks:
        table = first_rows(folder, split, subtask, PICTURES, columns)
        for name in PICTURES:
            contents = table.column(name).combine_chunks().field("bytes").to_pylist()
            rows.append(on_checker(np.stack([decode(content) for content in contents])))
    return grid(rows)


def layers_of(folder: Path, subtask: str) -> tuple[UInt8[np.ndarray, "H W 4"], str]:
    """The first held-out composite of a sub-task and its layers, for the gallery of the report."""
    (row,) = first_rows(folder, "test", subtask, ("tau", "params", "prompt", *PICTURES), 1).to_pylist()
    fg, bg, comp = (decode(row[name]["bytes"]) for name in PICTURES)
    return strip(comp, blended(fg, bg, row["tau"], json.loads(row["params"])), row["prompt"])


def first_rows(folder: Path, split: Split, subtask: str, columns: tuple[str, ...], count: int) -> pa.Table:
    """The first samples of a sub-task; Arrow by itself would read whole shards ahead."""
    samples = dataset(sorted(folder.glob(f"{split}-*.parquet")))
    little = {"batch_size": count, "batch_readahead": 1, "fragment_readahead": 1}
    return samples.head(count, columns=list(columns), filter=pc.field("subtask") == subtask, **little)
