"""The whole training in two processes ends with what one process learns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyarrow import csv
from safetensors.torch import load_file

from stages.settings import read_params
from tests.smoke import override, run

pytestmark = pytest.mark.slow

FITS = tuple(
    f"image_layers.train.diffdecompose.{fit}" for fit in ("autoencoder.rgb", "autoencoder.rgba", "transformer")
)
MODEL, CURVES = Path("models/diffdecompose"), Path("reports/train/diffdecompose/plots")
ROUNDING = 1e-4
"""float32 sums of a batch and of its two halves differ by about 1e-7; forty steps of AdamW made it 5e-6."""


def train(project: Path, target: Path, **changes: object) -> None:
    """Train with `changes` in every fit and keep the result in `target`."""
    params = read_params(project / "params.yaml")["image_layers"]["train"]["diffdecompose"]
    blocks = (params["autoencoder"]["rgb"], params["autoencoder"]["rgba"], params["transformer"])
    common = {"accelerator": "cpu", "precision": "32-true", **changes}
    override(project, {fit: {**block, **common} for fit, block in zip(FITS, blocks, strict=True)})
    ended = run(project, "python", "-m", "stages", "train", "diffdecompose")
    assert ended.returncode == 0, ended.stderr[-3000:]
    for folder in (MODEL, CURVES):
        shutil.copytree(project / folder, target / folder)


def test_two_processes_end_with_the_losses_and_weights_of_one(project: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(project, one)
    train(project, two, devices=2, strategy="ddp")
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(two) for path in two.rglob("*") if path.is_file()}
    for name in names:
        if name.suffix == ".csv":
            ours, theirs = (csv.read_csv(folder / name).column(1).to_pylist() for folder in (one, two))
            assert theirs == pytest.approx(ours, rel=ROUNDING), name
        elif name.suffix == ".safetensors":
            weights, others = load_file(one / name), load_file(two / name)
            assert weights.keys() == others.keys()
            for key, weight in weights.items():
                assert (others[key] - weight).norm() <= ROUNDING * weight.norm(), (name, key)
