"""What evaluation measures, on pictures of noise, and what it says of its own figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from stages.run import StageRun
from systems.image_layers.diffdecompose import evaluate
from systems.parts.blend import BLENDS, blend
from systems.parts.layered_files.stack import flatten
from systems.parts.layered_files.strip import unstrip
from systems.parts.perceptual import frechet_distance
from systems.parts.pictures import quantise
from systems.parts.run import SCORE
from systems.parts.triplets import Triplets

COUNT = 6
ERRORS = {
    "cloned": [{"all": 30.0}, {"all": 32.0}],
    "mean of cloned": [{"all": 24.0}, {"all": 26.0}],
    "mean of adapted": [{"all": 40.0}],
}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)


class Colours(torch.nn.Module):
    """A network whose features are the colours of one pixel; it counts the pictures it is shown."""

    seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Colours.seen += len(x)
        return x[:, :, 0, 0]


def test_perceptual_scores_look_at_the_truth_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean(dim=(1, 2, 3))

    def loads(network: Any) -> Any:
        return type("Loads", (), {"load": staticmethod(lambda _: network)})

    monkeypatch.setattr(Colours, "seen", 0)
    monkeypatch.setattr(evaluate, "STLPIPS", loads(difference))
    monkeypatch.setattr(evaluate, "EfficientNetLite0Features", loads(Colours()))
    comp, bg, guess = noise(0), noise(1), noise(2)
    params = evaluate.Params(data="toy", model="toy", layers="toy", weights="toy")
    run = StageRun("evaluate", "toy", params, {"weights": tmp_path}, tmp_path / "out", tmp_path / "reports")

    truth = evaluate.Truth(None, comp, comp, bg)  # type: ignore[arg-type] - the table is not looked at
    evaluate.record_perceptual(run, truth, evaluate.Estimate(guess, guess, guess))

    assert Colours.seen == 3 * COUNT  # the composites, the estimates, the truth
    for answer, pictures in {evaluate.TRIVIAL[0]: comp, "sample": guess}.items():
        off = np.abs(pictures.astype(float) - bg).mean() / 255
        distance = frechet_distance(pictures[:, 0, 0] / 255, bg[:, 0, 0] / 255)
        assert run.metrics[f"background ST-LPIPS/{answer}"] == pytest.approx(off, rel=1e-5)
        found = run.metrics[f"background EfficientNet-lite0 Frechet distance/{answer}"]
        assert found == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize(("best", "score"), [("cloned", 25.0), ("adapted", 40.0)])
def test_the_score_is_the_background_error_of_the_best_variant_over_its_seeds(
    tmp_path: Path, best: str, score: float
) -> None:
    run = StageRun(
        "evaluate",
        "diffdecompose",
        evaluate.Params(data="d", model="m", layers="l"),
        {},
        tmp_path / "none",
        tmp_path / "reports",
    )
    evaluate.record_scores(run, ERRORS, best)
    assert run.metrics[SCORE] == score
    assert run.metrics["headline/background RMSE: mean of samples"] == score


@pytest.mark.parametrize("tau", BLENDS)
def test_a_sample_for_the_report_is_blended_as_its_composite_was(tau: str) -> None:
    fg, bg = np.dstack((noise(0)[0], noise(1)[0][..., :1])), noise(2)[0]
    params = {"k": 2.0, "s": 0.2}
    comp = quantise(blend(tau, fg.astype(np.float32) / 255, bg.astype(np.float32) / 255, params))
    table = pa.table({"tau": [tau], "params": [json.dumps(params)], "subtask": ["flare"]})
    truth = evaluate.Truth(Triplets(table, {}), comp[None], fg[None], bg[None])
    found = unstrip(*evaluate.sample(truth, evaluate.Estimate(fg[None], bg[None], None), 0))
    assert (found.picture[..., :3] == comp).all()
    assert np.abs(flatten(found.stack)[..., :3].astype(int) - comp).max() <= 1
