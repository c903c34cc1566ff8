"""Scenes and photographs through the stages, bad pictures set aside, and a picture of any size."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages import decompose as cli
from stages.run import StageRun
from systems.image_layers.mulan import annotation, decompose, evaluate, intake, lift
from systems.image_layers.mulan.lift import lifted
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.providers import Providers
from systems.image_layers.mulan.scenes import SCHEMA, row_of
from systems.image_layers.mulan.table import Kept, kept_of, read_kept, set_aside
from systems.image_layers.mulan.table import row_of as kept_row
from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.stack import Layer, flatten
from systems.parts.pictures import write_table
from tests.systems.image_layers.mulan.made import knowing, scene


def encoded(picture: np.ndarray, how: str = "PNG", mode: str = "RGB", **more: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(out, how, **more)
    return out.getvalue()


def deep(picture: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    return cv2.imencode(".png", picture.astype(np.uint16) * 200)[1].tobytes()


SMALL = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
GOOD = encoded(SMALL)
BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (GOOD[:-900], "truncated"),
    "empty": (b"", "not a picture"),
    "CMYK": (encoded(SMALL, "JPEG", "CMYK"), "CMYK"),
    "16-bit": (encoded(SMALL[..., 0].astype(np.uint16) * 200, "PNG", "I;16"), "I;16"),
    "16-bit colours": (deep(SMALL), "16 bits a channel"),
    "animated": (
        encoded(SMALL, "GIF", save_all=True, append_images=[Image.fromarray(255 - SMALL)]),
        "animated, 2 frames",
    ),
    "1 x 1": (encoded(SMALL[:1, :1]), "1 x 1 px"),
    "a line": (encoded(np.zeros((1, 50_000, 3), np.uint8)), "50000 x 1 px"),
    "long": (encoded(np.zeros((9, 50_000, 3), np.uint8)), "50000 x 9 px"),
    "huge": (encoded(np.zeros((5_001, 5_000), np.uint8), "PNG", "L"), "5000 x 5001 px"),
    "invisible": (
        encoded(np.zeros((9, 9, 4), np.uint8), "PNG", "RGBA"),
        "transparent",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_picture_is_set_aside_with_the_reason(what: str) -> None:
    content, reason = BAD[what]
    with pytest.raises(intake.SetAsideError, match=reason):
        intake.opened(content)


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = intake.opened(encoded(SMALL, "PNG", exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(SMALL, -1))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six scenes and a folder's worth of photographs, good and bad."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [row_of(scene(seed, mutual=seed % 2 == 1), seed, "drawn", ["disc"]) for seed in range(6)]
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "test-00000.parquet")
    files = [{"id": name, "file": content} for name, (content, _) in BAD.items()]
    pq.write_table(pa.Table.from_pylist([*files, {"id": "good", "file": GOOD}]), folder / "photographs.parquet")
    return folder


def staged(folder: Path, data: Path, workers: int = 1) -> StageRun[decompose.Params]:
    given = {"data": "d", "model": "m", "providers": ["annotated"], "photographed": [], "scenes": 5, "shard": 2}
    params = decompose.Params.model_validate(given)
    out, reports = folder / "layers", folder / "reports"
    run = StageRun("decompose", "mulan", params, {"data": data}, out, reports, workers, True, work=folder / "work")
    run.begin()
    decompose.decompose(run)
    return run


def test_scenes_go_through_both_stages(data: Path, tmp_path: Path) -> None:
    run = staged(tmp_path, data)
    kept = list(read_kept(run.output, "annotated-0"))
    assert [one.id for one in kept] == [f"made-{seed}" for seed in range(5)]
    assert run.metrics["pictures/annotated-0"] == 5
    read = annotation.read(run.output / "annotations" / "annotated-0-made-1")
    np.testing.assert_array_equal(annotation.layer(kept[1].image, read, 2), kept[1].stack.layers[2].pixels)
    params = evaluate.Params(data="d", model="m", layers="l")
    inputs = {"data": data, "layers": run.output}
    measured = evaluate.measure(params, kept, {f"made-{seed}": scene(seed, mutual=seed % 2 == 1) for seed in range(5)})
    assert inputs["layers"].is_dir()
    assert measured.found == measured.instances == 15
    assert measured.psnr("altered alpha") > 30
    assert measured.accuracy("depth") == 1
    assert measured.iou("completed") > measured.iou("visible")


@pytest.mark.slow
def test_neither_workers_nor_time_change_the_files(data: Path, tmp_path: Path) -> None:
    first, second = staged(tmp_path / "a", data), staged(tmp_path / "b", data, workers=2)
    names = sorted(path.relative_to(first.output) for path in first.output.rglob("*") if path.is_file())
    assert names
    assert all((first.output / name).read_bytes() == (second.output / name).read_bytes() for name in names)


def test_bad_photographs_stand_in_a_table_and_stop_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = scene(2)
    monkeypatch.setattr(decompose, "providers_for", lambda *_: knowing(known))
    monkeypatch.setattr(decompose, "take_apart", lambda *_: take_apart(known.image, knowing(known), Settings()))
    monkeypatch.setattr(decompose, "psnr", lambda *_: 50.0)
    monkeypatch.setattr(intake, "bounded", lambda *_: known.image)
    job = decompose.Job("learned", 0, 0, 0, len(BAD) + 1, photographs=True)
    params = decompose.Params(data="d", model="m")
    shard = io.BytesIO(decompose.work(params, {"data": data}, job))
    aside = set_aside(shard)
    assert [row["id"] for row in aside] == list(BAD)
    assert all(BAD[row["id"]][1] in row["reason"] for row in aside)
    assert pq.read_table(shard).column("id").to_pylist() == ["good"]


def test_a_row_comes_back_as_it_was() -> None:
    made = scene(1, mutual=True)
    apart = take_apart(made.image, knowing(made), Settings())
    job = decompose.Job("annotated", 0, 0, 0, 1, photographs=False)
    kept = decompose.one(decompose.Params(data="d", model="m"), job, "made", made.image, knowing(made))
    again = kept_of(kept_row(kept))
    for layer, other in zip(again.stack.layers, apart.stack.layers, strict=True):
        np.testing.assert_array_equal(layer.pixels, other.pixels)
        np.testing.assert_array_equal(layer.whole, other.whole)
        assert (layer.label, layer.box, layer.caption, layer.depth) == (
            other.label,
            other.box,
            other.caption,
            other.depth,
        )
    assert list(again.stack.mutual) == [(1, 2)]
    assert again.orders == apart.orders


def placed(layer: Layer, shape: tuple[int, ...]) -> np.ndarray:
    """A layer's pixels on the whole picture."""
    (x, y), (height, width) = layer.offset, layer.rgba.shape[:2]
    out = np.zeros((*shape[:2], 4), np.uint8)
    out[y : y + height, x : x + width] = layer.rgba
    return out


@pytest.mark.parametrize("mutual", [False, True])
def test_layers_of_a_large_picture_keep_its_own_pixels(mutual: bool) -> None:
    made = scene(4 + mutual, mutual)
    large = np.kron(made.image, np.ones((9, 9, 1), np.uint8))
    large = np.clip(large + np.random.default_rng(0).integers(-9, 9, large.shape), 0, 255).astype(np.uint8)
    stack = lifted(large, take_apart(made.image, knowing(made), Settings()).stack)
    assert [layer.name for layer in stack.layers] == ["background", "1-disc-1", "2-disc-2", "3-disc-3"]
    assert stack.size == large.shape[1::-1]
    away = np.abs(flatten(stack)[..., :3].astype(int) - large).max(2)
    assert (away <= 1).mean() > 0.97
    below, *instances = (placed(layer, large.shape) for layer in stack.layers)
    alone = np.all([layer[..., 3] == 0 for layer in instances], axis=0)
    np.testing.assert_array_equal(below[alone][:, :3], large[alone])
    for number, layer in enumerate(instances):
        above = np.any([other[..., 3] > 0 for other in instances[number + 1 :]], axis=0)
        own = (layer[..., 3] == 255) & ~above
        assert own.any()
        np.testing.assert_array_equal(layer[own][:, :3], large[own])
        assert layer.shape == (*large.shape[:2], 4)
        assert stack.layers[number + 1].rgba.shape[1] < large.shape[1]


def test_rows_are_worked_on_apart_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scene(5, mutual=True)
    large = np.kron(made.image, np.ones((5, 7, 1), np.uint8))
    apart = take_apart(made.image, knowing(made), Settings()).stack
    at_once = lifted(large, apart)
    monkeypatch.setattr(lift, "ROWS", 13)
    for layer, other in zip(lifted(large, apart).layers, at_once.layers, strict=True):
        assert layer.offset == other.offset
        np.testing.assert_array_equal(layer.rgba, other.rgba)


def test_lifting_takes_little_more_memory_than_its_layers() -> None:
    """So that 24 megapixels fit: the strips that are worked on at once do not grow with the picture."""
    made = scene(5, mutual=True)
    large = np.kron(made.image, np.ones((60, 8, 1), np.uint8))
    apart = take_apart(made.image, knowing(made), Settings()).stack
    tracemalloc.start()
    try:
        found = lifted(large, apart)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    layers = sum(layer.rgba.nbytes for layer in found.layers)
    assert layers < 2 * 4 * large.shape[0] * large.shape[1]
    assert peak < 2.5 * layers


def test_a_picture_without_instances_is_one_layer() -> None:
    made = scene(0, count=0)
    (layer,) = lifted(made.image, take_apart(made.image, knowing(made), Settings()).stack).layers
    np.testing.assert_array_equal(layer.rgba[..., :3], made.image)


TURNED = 6
"""Of the EXIF tag Orientation: the first row is the picture's right side."""
OWN = scene(6)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Providers that know the one scene, asked for at its size; what they were asked for."""
    asked: list[tuple[Any, ...]] = []

    def providers_for(*given: Any) -> Providers:
        asked.append(given)
        return knowing(OWN)

    monkeypatch.setattr(decompose, "providers_for", providers_for)
    monkeypatch.setattr(decompose, "SIDE", OWN.image.shape[0])
    return asked


@pytest.mark.parametrize("kind", files.FORMATS)
@pytest.mark.parametrize(("ending", "most"), [("png", 1), ("webp", 8), ("jpg", 8)])
def test_a_photograph_of_ones_own_becomes_a_layered_file(
    kind: files.Format, ending: str, most: int, tmp_path: Path, answers: list[tuple[Any, ...]]
) -> None:
    large = np.kron(OWN.image, np.ones((4, 4, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(np.rot90(large)).save(tmp_path / f"photo.{ending}", exif=exif, quality=95)
    asked = ("mulan", "--image", str(tmp_path / f"photo.{ending}"), "--out", str(tmp_path / "out"), "--model", "m")
    cli.main([*asked, "--format", kind])
    assert answers == [("learned", Path("m"), None, 0, None)]
    stack = files.read(tmp_path / "out" if kind == "png" else tmp_path / "out" / f"layers.{kind}")
    assert [layer.name for layer in stack.layers] == ["background", "1-disc-1", "2-disc-2", "3-disc-3"]
    assert stack.size == (256, 256)
    away = np.abs(flatten(stack)[..., :3].astype(int) - large).max(2)
    assert np.quantile(away, 0.9) <= most


def test_a_fetched_network_can_be_asked_for(tmp_path: Path, answers: list[tuple[Any, ...]]) -> None:
    Image.fromarray(OWN.image).save(tmp_path / "photo.png")
    asked = ("mulan", "--image", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out"), "--model", "m")
    cli.main([*asked, "--weights", "data/matting"])
    assert answers == [("pretrained", Path("m"), Path("data/matting"), 0, None)]
    assert json.loads((tmp_path / "out" / "layers.json").read_text())["weights"] == "data/matting"


def test_kinds_that_need_weights_say_so() -> None:
    with pytest.raises(UserError, match="parameter weights is empty: providers of kind pretrained need fetched"):
        decompose.Params(data="d", model="m", photographed=("learned", "pretrained"))


def test_photographs_are_left_to_networks_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = decompose.Params(data="d", model="m", weights="w", photographed=("learned", "pretrained"))
    assert decompose.photographers(params, tmp_path) == ["learned"]
    assert "'pretrained' are left out" in capsys.readouterr().err
    (tmp_path / "u2net.onnx").touch()
    assert decompose.photographers(params, tmp_path) == ["learned", "pretrained"]


def test_a_shard_of_photographs_is_worked_on_once_a_kind(data: Path) -> None:
    params = decompose.Params(data="d", model="m", providers=("annotated",), seeds=(3, 4), scenes=5, shard=4)
    found = list(decompose.jobs(params, data, ["learned", "full"]))
    count = len(BAD) + 1
    assert [(job.label, job.seed, job.first, job.last) for job in found] == [
        ("annotated-0", 0, 0, 4),
        ("annotated-0", 0, 4, 5),
        *(("photographs-learned", 3, first, min(first + 4, count)) for first in range(0, count, 4)),
        *(("photographs-full", 0, first, min(first + 4, count)) for first in range(0, count, 4)),
    ]


def test_a_killed_run_goes_on_with_the_shards_that_are_left(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = staged(tmp_path / "whole", data)
    made: list[str] = []
    one = decompose.one

    def dying(params: Any, job: decompose.Job, name: str, *given: Any) -> Kept:
        if name == "made-3" and job.file not in made:
            made.append(job.file)
            raise KeyboardInterrupt
        made.append(name)
        return one(params, job, name, *given)

    monkeypatch.setattr(decompose, "one", dying)
    with pytest.raises(KeyboardInterrupt):
        staged(tmp_path / "killed", data)
    assert made == ["made-0", "made-1", "made-2", "annotated-0-00001.parquet"]
    again = staged(tmp_path / "killed", data)
    assert made[4:] == ["made-2", "made-3", "made-4"]
    names = sorted(path.relative_to(whole.output) for path in whole.output.rglob("*") if path.is_file())
    assert all((whole.output / name).read_bytes() == (again.output / name).read_bytes() for name in names)
