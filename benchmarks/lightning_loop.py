"""What the Lightning loop costs: the same training steps by `Run.fit` and by a plain PyTorch loop, in one run.

    python benchmarks/lightning_loop.py
    python benchmarks/lightning_loop.py --quick     # shows that it works; measures nothing

Prints milliseconds a step of both, medians of several rounds that take turns, and writes
`reports/benchmarks/lightning_loop.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.run import StageRun
from stages.training import fit
from systems.image_layers.diffdecompose.module import Decomposer, InContextDecomposition, Optimisation
from systems.image_layers.diffdecompose.tiny import TinyBackbone, TinyParams
from systems.parts.run import Strict, Training
from systems.parts.step_batches import StepBatches

STEPS, ROUNDS, QUICK = 150, 5, 2
BATCH, SAMPLES = 8, 256
LATENTS, CELLS = 16, 8
RESULT = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "lightning_loop.json"


class Counted(InContextDecomposition):
    """A module whose step is set by hand: the step decides which layers are drawn, and so how long it takes."""

    global_step = 0  # type: ignore[assignment]


def make(steps: int, kind: type[InContextDecomposition]) -> tuple[InContextDecomposition, StepBatches]:
    """The default network on random latents of the default size."""
    torch.manual_seed(0)
    backbone = TinyBackbone(TinyParams(latents=LATENTS))
    backbone.vae.requires_grad_(False)
    decomposer = Decomposer(backbone, regression=False)
    names = ["any"] * SAMPLES
    module = kind(decomposer, Optimisation(lr=1e-3), steps, 0, names, names, {})
    tokens = {layer: backbone.pack(torch.randn(SAMPLES, LATENTS, CELLS, CELLS)) for layer in ("z", "x", "y")}
    return module, StepBatches({**tokens, "row": torch.arange(SAMPLES)}, BATCH, steps, 0)


def by_lightning(steps: int) -> tuple[float, InContextDecomposition]:
    """Milliseconds a step through the stage's trainer, with its curves, checkpoint and bar; what it trained."""
    module, batches = make(steps, InContextDecomposition)
    module.sample_picture = None  # type: ignore[assignment] - drawing is no part of the loop
    training = Training(steps=steps, batch=BATCH, precision="bf16-mixed", checkpoint_every=steps, sample_every=steps)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        run = StageRun("train", "diffdecompose", Strict(), {}, here / "out", here / "reports", work=here / "work")
        run.workers = torch.get_num_threads()
        run.begin()
        started = time.perf_counter()
        fit(run, module, batches, training, "bench")
        return 1000 * (time.perf_counter() - started) / steps, module


def by_hand(steps: int) -> tuple[float, InContextDecomposition]:
    """Milliseconds a step of the shortest loop that does the same work; what it trained."""
    module, batches = make(steps, Counted)
    module.log = lambda *_: None  # type: ignore[method-assign,assignment]
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    started = time.perf_counter()
    for step, batch in enumerate(batches):
        module.global_step = step  # type: ignore[misc]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.training_step(batch, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return 1000 * (time.perf_counter() - started) / steps, module


def main() -> None:
    """Take turns, print and write the medians; those of a quick run are not written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="show that it works with a few steps")
    quick = parser.parse_args().quick
    steps, turns = (QUICK, 1) if quick else (STEPS, ROUNDS)
    rounds = [(by_hand(steps)[0], by_lightning(steps)[0]) for _ in range(turns)]
    plain, lightning = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    result = {"plain ms a step": plain, "lightning ms a step": lightning, "overhead": ratio - 1}
    print(f"plain {plain:.1f} ms, Lightning {lightning:.1f} ms a step; overhead {100 * (ratio - 1):.1f} %")
    if quick:
        return
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({name: round(value, 4) for name, value in result.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
