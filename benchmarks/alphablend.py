"""Triplets a second and core at 512x512: our synthesis against a plain Pillow script on the same assets, in one run.

    python benchmarks/alphablend.py

The Pillow script does what such data sets are usually made with: decode two asset files, resize, `alpha_composite`,
save foreground, background and composite as PNG with Pillow's defaults. Ours makes all six sub-tasks, digests them and
writes Parquet, by the pipeline's own `write_shard`. Times are CPU seconds of one process with one thread, medians over
the rounds; the assets that ours decodes once a process are charged to it as if spread over one shard of 500 samples.
The result goes to reports/benchmarks/alphablend.json. A minute.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import PIL
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from systems.image_layers.alphablend.assets import load
from systems.image_layers.alphablend.layers import SUBTASKS
from systems.image_layers.alphablend.synthesize import ASSET_SIDE, Params, Shard, _assets, sample, write_shard
from systems.parts.pictures import Codec

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "data" / "sources" / "images"
RESULT = ROOT / "reports" / "benchmarks" / "alphablend.json"
SIDE, EACH, ROUNDS, SHARD = 512, 8, 5, 500
CODECS: tuple[Codec, ...] = ("webp", "tiff")
Seconds = Mapping[str, float]


def asset_files(kind: str, folder: Path) -> list[Path]:
    """The training assets of a kind as files, in the encoding in which they were fetched."""
    paths = []
    for source in sorted(SOURCES.glob("*.parquet")):
        if source.stem == "catalogue":
            continue
        rows = pq.read_table(source, columns=["asset_id", "kind", "image"], filters=[("kind", "=", kind)]).to_pylist()
        for row in rows:
            paths.append(folder / f"{kind}-{len(paths):04d}-{source.stem}.webp")
            paths[-1].write_bytes(row["image"]["bytes"])
    return paths


def with_pillow(cutouts: list[Path], photos: list[Path], folder: Path, count: int, seed: int) -> Seconds:
    """CPU seconds a sample of the plain script, by step."""
    rng = np.random.default_rng(seed)
    spent = dict.fromkeys(("decoding", "blending", "encoding"), 0.0)
    for number in range(count):
        clock = [time.process_time()]
        fg = Image.open(cutouts[rng.integers(len(cutouts))]).convert("RGBA")
        bg = Image.open(photos[rng.integers(len(photos))]).convert("RGBA")
        clock.append(time.process_time())
        fg, bg = fg.resize((SIDE, SIDE)), bg.resize((SIDE, SIDE))
        fg.putalpha(fg.getchannel("A").point(lambda alpha: alpha // 2))
        comp = Image.alpha_composite(bg, fg)
        clock.append(time.process_time())
        for name, picture in (("fg", fg), ("bg", bg.convert("RGB")), ("comp", comp.convert("RGB"))):
            picture.save(folder / f"{name}-{number}.png")
        clock.append(time.process_time())
        for step, (begin, end) in zip(spent, pairwise(clock), strict=True):
            spent[step] += (end - begin) / count
    return spent


def with_ours(codec: Codec, folder: Path, loading: float, seed: int) -> Seconds:
    """CPU seconds a sample of our synthesis, by step; encoding includes digests and Parquet."""
    params = Params(sources="images", side=SIDE, train=EACH, test=EACH, shard=EACH, seed=seed, codec=codec)
    plan = [Shard("train", subtask, number, 0, EACH) for number, subtask in enumerate(SUBTASKS)]
    assets = _assets(SOURCES, "train", params.test_share, ASSET_SIDE * SIDE)
    count = EACH * len(plan)
    begin = time.process_time()
    for shard in plan:
        for place in range(EACH):
            sample(params, assets, shard, place)
    blended = time.process_time()
    for shard in plan:
        write_shard(params, SOURCES, folder, shard)
    blending, whole = blended - begin, time.process_time() - blended
    return {"decoding": loading / SHARD, "blending": blending / count, "encoding": (whole - blending) / count}


def rounds() -> Iterator[Mapping[str, Seconds]]:
    """Seconds of every way, round by round, so that a busy machine slows all alike."""
    begin = time.process_time()
    load(SOURCES, "train", Params(sources="images").test_share, ASSET_SIDE * SIDE)
    loading = time.process_time() - begin
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cutouts, photos = asset_files("cutout", folder), asset_files("photo", folder)
        for seed in tqdm(range(ROUNDS), "rounds"):
            ours = {codec: with_ours(codec, folder, loading, seed) for codec in CODECS}
            yield {"pillow": with_pillow(cutouts, photos, folder, EACH * len(SUBTASKS), seed), **ours}


def summary(measured: list[Mapping[str, Seconds]]) -> dict[str, dict[str, float]]:
    """Median milliseconds a sample by step, samples a second, and the ratio to Pillow (median over the rounds)."""
    result = {}
    for way in measured[0]:
        totals = [sum(each[way].values()) for each in measured]
        ratios = [sum(each["pillow"].values()) / total for each, total in zip(measured, totals, strict=True)]
        steps = {
            f"{step} (ms)": round(1000 * median(each[way][step] for each in measured), 2) for step in measured[0][way]
        }
        rate = round(1 / median(totals), 1)
        result[way] = {**steps, "samples a second and core": rate, "times Pillow": round(median(ratios), 2)}
    return result


def main() -> None:
    """Measure, print and keep the result."""
    cv2.setNumThreads(1)
    result = summary(list(rounds()))
    for way, figures in result.items():
        print(f"{way:8}" + "".join(f"{name}: {value:<8}" for name, value in figures.items()))
    fastest = max(CODECS, key=lambda codec: result[codec]["samples a second and core"])
    left = max(("decoding", "blending", "encoding"), key=lambda step: result[fastest][f"{step} (ms)"])
    print(f"limit left with {fastest}: {left}")
    versions = {"python": platform.python_version(), "pillow": PIL.__version__, "opencv": cv2.__version__}
    about = {"side": SIDE, "samples a round": EACH * len(SUBTASKS), "rounds": ROUNDS, "limit left": left, **versions}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"about": about, "ways": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
