"""MuLAn's speed: pictures a second and core by provider, the time of every module, and a photograph of one's own.

    python benchmarks/mulan.py
    python benchmarks/mulan.py --quick     # shows that it works; measures nothing

Needs data/mulan and models/mulan, as the pipeline makes them. The pictures are those that the pipeline
takes apart: scenes, and photographs with a longer side of 256 px. Times are CPU seconds of one process with one thread,
means over the pictures after a first one that warms up; networks are loaded before. Modules are discovery (find, cut
out, depth), order (occlusion graph and its resolution), completion, assembly, and storing (encoding a row of Parquet);
the calls of the providers among them are counted a second time by themselves.
One's own photograph goes through `python -m stages.decompose mulan --image` as a process of its own, with all the cores
it may have: seconds by the clock and the peak of its memory, in every format.
The result goes to reports/benchmarks/mulan.json. Some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from systems.image_layers.mulan import intake, pipeline
from systems.image_layers.mulan.decompose import SIDE
from systems.image_layers.mulan.makers import Kind, providers_for
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.pretrained import FILE
from systems.image_layers.mulan.providers import Picture, Providers
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.table import Kept, row_of
from systems.parts.layered_files.files import FORMATS

ROOT = Path(__file__).resolve().parents[1]
DATA, MODEL, WEIGHTS = ROOT / "data" / "mulan", ROOT / "models" / "mulan", ROOT / "data" / "sources" / "matting"
RESULT = ROOT / "reports" / "benchmarks" / "mulan.json"
MODULES = {"discover": "discovery", "observe": "order", "arrange": "order", "complete": "completion"}
MODULES |= {"assemble": "assembly"}
"""Functions that the pipeline calls in a row, and the modules they are counted as."""
Source = tuple[Picture, Scene | None]


@dataclass(frozen=True)
class Size:
    """Pictures a way, and height and width of one's own photograph."""

    scenes: int = 40
    photographs: int = 10
    height: int = 4000
    width: int = 6000


QUICK = Size(2, 2, 96, 128)


class Clock:
    """CPU seconds by name, of calls that may stand in each other."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, counted."""

        def counted(*given: Any, **more: Any) -> Any:
            begin = time.process_time()
            try:
                return call(*given, **more)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - begin

        return counted

    def watched(self, providers: Providers) -> Providers:
        """The providers, every method of theirs counted by the name of the provider."""
        watched: dict[str, Any] = {
            part.name: Watched(self, part.name, getattr(providers, part.name)) for part in fields(providers)
        }
        return replace(providers, **watched)


@dataclass(frozen=True)
class Watched:
    """A provider whose calls are counted."""

    clock: Clock
    name: str
    provider: Any

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return self.clock.timed(f"provider: {self.name}", getattr(self.provider, method))


def ways(size: Size) -> Iterator[tuple[str, Kind, list[Source]]]:
    """What is measured: its name, the kind of its providers, and the pictures."""
    scenes: list[Source] = [(scene.image, scene) for scene in read_scenes(DATA, "test", size.scenes + 1)]
    photographs: list[Source] = [(picture, None) for picture in photographs_of(size.photographs + 1)]
    yield "scenes, learned", "learned", scenes
    yield "scenes, annotated", "annotated", scenes
    yield "photographs, learned", "learned", photographs
    if (WEIGHTS / FILE).is_file():
        yield "photographs, pretrained", "pretrained", photographs


def photographs_of(count: int) -> list[Picture]:
    """Photographs of the data set as the pipeline takes them apart, over again where there are too few."""
    files = pq.read_table(DATA / "photographs.parquet", columns=["file"])["file"].to_pylist()
    pictures = [intake.bounded(intake.opened(file), SIDE) for file in files[:count]]
    return [pictures[number % len(pictures)] for number in range(count)]


def measure(kind: Kind, sources: list[Source]) -> dict[str, float]:
    """Milliseconds a picture by module and provider, and pictures a second and core."""
    clock = Clock()
    with ExitStack() as stack:
        for name, module in MODULES.items():
            stack.enter_context(patch.object(pipeline, name, clock.timed(module, getattr(pipeline, name))))
        take(kind, *sources[0], Clock())
        clock.spent.clear()
        begin = time.process_time()
        for picture, scene in tqdm(sources[1:], kind):
            take(kind, picture, scene, clock)
        whole = time.process_time() - begin
    count = len(sources) - 1
    modules = [*dict.fromkeys(MODULES.values()), "storing"]
    rest = whole - sum(clock.spent.get(module, 0.0) for module in modules)
    spent = {**{module: clock.spent.get(module, 0.0) for module in modules}, "rest": rest}
    spent |= {name: value for name, value in sorted(clock.spent.items()) if name not in modules}
    rate = {"pictures a second and core": round(count / whole, 2)}
    return rate | {f"{name} (ms)": round(1000 * value / count, 2) for name, value in spent.items()}


def take(kind: Kind, picture: Picture, scene: Scene | None, clock: Clock) -> None:
    """One picture through the pipeline, and stored."""
    providers = clock.watched(providers_for(kind, MODEL, WEIGHTS, 0, scene))
    made = take_apart(picture, providers, Settings())
    clock.timed("storing", row_of)(Kept("", kind, 0, picture, made.stack, made.orders, 0.0, rejected=False))


def own_photograph(size: Size) -> dict[str, dict[str, float]]:
    """Seconds by the clock, peak memory and size of the files, of a process that takes one photograph apart."""
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "photo.jpg"
        enlarged = cv2.resize(photographs_of(1)[0], (size.width, size.height), interpolation=cv2.INTER_CUBIC)
        grain = np.random.default_rng(0).integers(-3, 4, enlarged.shape, np.int16)
        Image.fromarray(np.clip(enlarged + grain, 0, 255).astype(np.uint8)).save(photo, quality=95)
        return {kind: run_alone(photo, Path(name) / kind, kind) for kind in FORMATS}


def run_alone(photo: Path, out: Path, kind: str) -> dict[str, float]:
    """One format, in a process of its own."""
    command = ("stages.decompose", "mulan", "--image", str(photo), "--out", str(out), "--format", kind)
    begin = time.monotonic()
    started = (sys.executable, "-m", *command, "--model", str(MODEL))
    child = subprocess.Popen(started, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"python -m {' '.join(command)} ended with {child.returncode}")
    written = sum(path.stat().st_size for path in out.iterdir())
    spent, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20  # Linux counts KiB
    times = {"seconds": round(seconds, 1), "CPU seconds": round(spent, 1)}
    return {**times, "peak memory (GiB)": round(peak, 2), "files (MB)": round(written / 1e6, 1)}


def main() -> None:
    """Measure, print and keep the result; a quick one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="show that it works with a few small pictures")
    size = QUICK if parser.parse_args().quick else Size()
    own = own_photograph(size)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    result = {name: measure(kind, sources) for name, kind, sources in ways(size)}
    alone = {f"{size.width} x {size.height} px as {kind}": figures for kind, figures in own.items()}
    for title, figures in {**result, **alone}.items():
        print(title, *(f"{name}: {value}" for name, value in figures.items()), sep="\n  ")
    if size == QUICK:
        return
    versions = {"python": platform.python_version(), "torch": torch.__version__, "opencv": cv2.__version__}
    about = {"scenes": size.scenes, "photographs": size.photographs, "cores": len(os.sched_getaffinity(0)), **versions}
    photograph = {"width": size.width, "height": size.height, "formats": own}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"about": about, "ways": result, "own photograph": photograph}, indent=1) + "\n")


if __name__ == "__main__":
    main()
