"""Scenes and photographs through both stages: what is measured, held, validated, and shown in the report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from stages.expectations import expect
from stages.reporting.gallery import samples
from stages.run import CAPTION, StageRun
from systems.image_layers.mulan import decompose, evaluate
from systems.image_layers.mulan.providers import Providers
from systems.image_layers.mulan.scenes import SCHEMA, Scene, row_of
from systems.image_layers.mulan.table import read_kept
from systems.parts.layered_files.stack import flatten
from systems.parts.layered_files.strip import unstrip
from systems.parts.pictures import write_table
from systems.parts.run import SCORE
from tests.systems.image_layers.mulan.made import knowing, scene

SCENES = [scene(seed, mutual=seed % 2 == 1) for seed in range(3)]
PHOTOGRAPH = scene(7)


class Difference(torch.nn.Module):
    """A network that tells how far apart pictures are."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean(dim=(1, 2, 3))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three scenes, and two photographs of which one is broken."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [row_of(made, seed, "drawn", ["disc"]) for seed, made in enumerate(SCENES)]
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "test-00000.parquet")
    file = io.BytesIO()
    Image.fromarray(PHOTOGRAPH.image).save(file, "PNG")
    photographs = [{"id": "a source/good.png", "file": file.getvalue()}, {"id": "bad.png", "file": b"no picture"}]
    pq.write_table(pa.Table.from_pylist(photographs), folder / "photographs.parquet")
    return folder


@pytest.fixture
def layers(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All of it taken apart by providers that know the scene."""

    def providers_for(*given: Any) -> Providers:
        made: Scene | None = given[4]
        return knowing(made or PHOTOGRAPH)

    monkeypatch.setattr(decompose, "providers_for", providers_for)
    weights = tmp_path / "matting"
    weights.mkdir()
    (weights / "u2net.onnx").touch()
    params = decompose.Params(
        data="d", model="m", weights="matting", seeds=(0, 1), photographed=("learned", "pretrained"), scenes=3, shard=2
    )
    inputs = {"data": data, "weights": weights}
    out, reports = tmp_path / "layers", tmp_path / "r" / "d" / "mulan"
    run = StageRun("decompose", "mulan", params, inputs, out, reports, quiet=True, work=tmp_path / "work")
    run.begin()
    decompose.decompose(run)
    run.finish([tmp_path / "layers"])
    return tmp_path / "layers"


def evaluated(folder: Path, data: Path, layers: Path, weights: str = "") -> StageRun[evaluate.Params]:
    params = evaluate.Params(data="d", model="m", layers="l", weights=weights)
    inputs = {"data": data, "layers": layers, **({"weights": folder} if weights else {})}
    run = StageRun("evaluate", "mulan", params, inputs, folder / "out", folder / "r" / "e" / "mulan", expecter=expect)
    run.quiet = True
    run.begin()
    evaluate.evaluate(run)
    return run


def test_what_is_right_holds_every_check_and_is_validated(tmp_path: Path, data: Path, layers: Path) -> None:
    run = evaluated(tmp_path, data, layers)
    assert {hold["id"] for hold in run.holds} == {"8.3", "8.4"}
    assert run.metrics["learned-0/order accuracy: mutual"] == 1
    assert run.metrics["learned-1/instances found"] == 1
    assert (
        run.metrics["headline/flattened PSNR dB, full method"] > run.metrics["headline/flattened PSNR dB, depth only"]
    )
    assert run.metrics[SCORE] == run.metrics["learned-0/background RMSE"]
    assert run.metrics["layers/rows"] == 3 * 2 + 2
    assert run.metrics["annotations/rows"] == 3 * 2 + 2
    assert run.metrics["set-aside/rows"] == 2
    docs = tmp_path / "r" / "data_docs" / "mulan"
    assert all((docs / name / "index.html").is_file() for name in ("layers", "annotations", "set-aside"))


def test_photographs_are_compared_between_networks(tmp_path: Path, data: Path, layers: Path) -> None:
    run = evaluated(tmp_path, data, layers)
    found = {name: value for name, value in run.metrics.items() if name.startswith("photographs")}
    instances = float((~PHOTOGRAPH.visible[0]).mean())
    assert found["photographs/IoU of what our own and the pretrained network find"] == 1
    for label in ("photographs-learned", "photographs-pretrained"):
        (kept,) = read_kept(layers, label)
        assert found[f"{label}/PSNR dB"] == kept.psnr
        assert found[f"{label}/instances"] == 3
        assert found[f"{label}/share of the picture in instances"] == pytest.approx(instances)


def test_the_gallery_has_scenes_and_photographs_that_flatten_to_what_was_taken_apart(
    tmp_path: Path, data: Path, layers: Path
) -> None:
    run = evaluated(tmp_path, data, layers)
    names = ["learned-0-made-0", "photographs-pretrained-a-source-good.png"]
    assert [sample["name"] for sample in samples(run.plots)] == names
    for name, made in zip(names, (SCENES[0], PHOTOGRAPH), strict=True):
        with Image.open(run.plots / "stacks" / f"{name}.png") as image:
            sample = unstrip(np.asarray(image), image.text[CAPTION])  # type: ignore[attr-defined]
        np.testing.assert_array_equal(sample.picture[..., :3], made.image)
        away = np.abs(flatten(sample.stack)[..., :3].astype(int) - made.image).max(2)
        assert (away <= 2).mean() > 0.9
        assert [layer.name for layer in sample.stack.layers] == ["background", "1-disc-1", "2-disc-2", "3-disc-3"]
        assert name.startswith(sample.caption.split("taken apart by ")[1].split(":")[0])


def test_the_perceptual_distance_of_every_rung_is_that_of_its_flattened_stack(
    tmp_path: Path, data: Path, layers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = evaluated(tmp_path / "without", data, layers, "weights")
    assert "the perceptual distances are left out" in capsys.readouterr().err
    assert not [name for name in run.metrics if "ST-LPIPS" in name]
    monkeypatch.setattr(evaluate.STLPIPS, "load", lambda _: Difference())
    run = evaluated(tmp_path / "with", data, layers, "weights")
    for rung in ("depth", "altered alpha"):
        away = []
        for kept in read_kept(layers, "learned-0"):
            flat = kept.stack.flat() if rung == "altered alpha" else without_switches(kept.stack)
            away.append(np.abs(flat.astype(float) - kept.image).mean() / 255)
        assert run.metrics[f"learned-0/ST-LPIPS: {rung}"] == pytest.approx(np.mean(away), rel=1e-4)


def without_switches(stack: Any) -> np.ndarray:
    """The stack of right depths flattened with alpha as it was before it was altered."""
    flat = stack.layers[0].colour.astype(float)
    for layer in stack.layers[1:]:
        alpha = layer.alpha[..., None] / 255
        flat = alpha * layer.colour + (1 - alpha) * flat
    return np.rint(flat)
