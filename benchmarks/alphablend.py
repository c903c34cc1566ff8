"""Triplets a second and core at 512x512: our synthesis against a plain Pillow script on the same assets, in one run.

    python benchmarks/alphablend.py
    python benchmarks/alphablend.py --quick     # shows that it works; measures nothing

The Pillow script does what such data sets are usually made with: decode two asset files, resize, `alpha_composite`,
save foreground, background and composite as PNG with Pillow's defaults. Ours makes all six sub-tasks, digests them and
writes Parquet, by the pipeline's own `make_shard`. Times are CPU seconds of one process with one thread, medians over
the rounds; the assets that ours decodes once a process are charged to it as if spread over one shard of 500 samples.
The result goes to reports/benchmarks/alphablend.json. A minute.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from systems.image_layers.alphablend.synthesize import ASSET_SIDE, Params, Shard, _assets, make_shard, sample
from systems.parts.pictures import Codec

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "data" / "sources" / "images"
RESULT = ROOT / "reports" / "benchmarks" / "alphablend.json"
SHARD = 500
CODECS: tuple[Codec, ...] = ("webp", "tiff")
Seconds = Mapping[str, float]


@dataclass(frozen=True)
class Size:
    """Pixels a side, samples of each sub-task a round, and rounds."""

    side: int = 512
    each: int = 8
    rounds: int = 5

    @property
    def samples(self) -> int:
        """Samples a round."""
        return self.each * len(SUBTASKS)


QUICK = Size(32, 1, 1)


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


def with_pillow(cutouts: list[Path], photos: list[Path], folder: Path, size: Size, seed: int) -> Seconds:
    """CPU seconds a sample of the plain script, by step."""
    rng = np.random.default_rng(seed)
    spent = dict.fromkeys(("decoding", "blending", "encoding"), 0.0)
    for number in range(size.samples):
        clock = [time.process_time()]
        fg = Image.open(cutouts[rng.integers(len(cutouts))]).convert("RGBA")
        bg = Image.open(photos[rng.integers(len(photos))]).convert("RGBA")
        clock.append(time.process_time())
        fg, bg = fg.resize((size.side, size.side)), bg.resize((size.side, size.side))
        fg.putalpha(fg.getchannel("A").point(lambda alpha: alpha // 2))
        comp = Image.alpha_composite(bg, fg)
        clock.append(time.process_time())
        for name, picture in (("fg", fg), ("bg", bg.convert("RGB")), ("comp", comp.convert("RGB"))):
            picture.save(folder / f"{name}-{number}.png")
        clock.append(time.process_time())
        for step, (begin, end) in zip(spent, pairwise(clock), strict=True):
            spent[step] += (end - begin) / size.samples
    return spent


def with_ours(codec: Codec, folder: Path, loading: float, size: Size, seed: int) -> Seconds:
    """CPU seconds a sample of our synthesis, by step; encoding includes digests and Parquet."""
    each, count = size.each, size.samples
    params = Params(sources="images", side=size.side, train=each, test=each, shard=each, seed=seed, codec=codec)
    plan = [Shard("train", subtask, number, 0, each) for number, subtask in enumerate(SUBTASKS)]
    assets = _assets(SOURCES, "train", params.test_share, ASSET_SIDE * size.side)
    begin = time.process_time()
    for shard in plan:
        for place in range(each):
            sample(params, assets, shard, place)
    blended = time.process_time()
    for shard in plan:
        (folder / f"{shard.number}.parquet").write_bytes(make_shard(params, {"sources": SOURCES}, shard)[0])
    blending, whole = blended - begin, time.process_time() - blended
    return {"decoding": loading / SHARD, "blending": blending / count, "encoding": (whole - blending) / count}


def rounds(size: Size) -> Iterator[Mapping[str, Seconds]]:
    """Seconds of every way, round by round, so that a busy machine slows all alike."""
    begin = time.process_time()
    load(SOURCES, "train", Params(sources="images").test_share, ASSET_SIDE * size.side)
    loading = time.process_time() - begin
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cutouts, photos = asset_files("cutout", folder), asset_files("photo", folder)
        for seed in tqdm(range(size.rounds), "rounds"):
            ours = {codec: with_ours(codec, folder, loading, size, seed) for codec in CODECS}
            yield {"pillow": with_pillow(cutouts, photos, folder, size, seed), **ours}


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
    """Measure, print and keep the result; a quick one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="show that it works with a few small samples")
    size = QUICK if parser.parse_args().quick else Size()
    cv2.setNumThreads(1)
    result = summary(list(rounds(size)))
    for way, figures in result.items():
        print(f"{way:8}" + "".join(f"{name}: {value:<8}" for name, value in figures.items()))
    fastest = max(CODECS, key=lambda codec: result[codec]["samples a second and core"])
    left = max(("decoding", "blending", "encoding"), key=lambda step: result[fastest][f"{step} (ms)"])
    print(f"limit left with {fastest}: {left}")
    if size == QUICK:
        return
    versions = {"python": platform.python_version(), "pillow": PIL.__version__, "opencv": cv2.__version__}
    about = {"side": size.side, "samples a round": size.samples, "rounds": size.rounds, "limit left": left, **versions}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"about": about, "ways": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
