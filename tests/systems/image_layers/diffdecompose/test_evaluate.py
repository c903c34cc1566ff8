"""What the evaluation says of its own figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.run import StageRun
from systems.image_layers.diffdecompose.evaluate import Params, record_scores
from systems.parts.run import SCORE

ERRORS = {
    "cloned": [{"all": 30.0}, {"all": 32.0}],
    "mean of cloned": [{"all": 24.0}, {"all": 26.0}],
    "mean of adapted": [{"all": 40.0}],
}


@pytest.mark.parametrize(("best", "score"), [("cloned", 25.0), ("adapted", 40.0)])
def test_the_score_is_the_background_error_of_the_best_variant_over_its_seeds(
    tmp_path: Path, best: str, score: float
) -> None:
    run = StageRun("evaluate", "diffdecompose", Params(data="d"), {}, tmp_path / "none", tmp_path / "reports")
    record_scores(run, ERRORS, best)
    assert run.metrics[SCORE] == score
    assert run.metrics["headline/background RMSE: mean of samples"] == 25.0
