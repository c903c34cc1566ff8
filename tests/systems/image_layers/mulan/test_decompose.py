"""Scenes and photographs through the stages, bad pictures set aside, and a picture of any size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.run import StageRun
from systems.image_layers.mulan import annotation, decompose, evaluate, intake
from systems.image_layers.mulan.lift import lifted
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.scenes import SCHEMA, flatten, row_of
from systems.image_layers.mulan.table import kept_of, read_kept
from systems.image_layers.mulan.table import row_of as kept_row
from systems.parts.pictures import write_table
from tests.systems.image_layers.mulan.made import knowing, scene


def encoded(picture: np.ndarray, how: str = "PNG", mode: str = "RGB", **more: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(out, how, **more)
    return out.getvalue()


SMALL = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
GOOD = encoded(SMALL)
BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (GOOD[:-900], "truncated"),
    "empty": (b"", "not a picture"),
    "CMYK": (encoded(SMALL, "JPEG", "CMYK"), "CMYK"),
    "16-bit": (encoded(SMALL[..., 0].astype(np.uint16) * 200, "PNG", "I;16"), "I;16"),
    "animated": (
        encoded(SMALL, "GIF", save_all=True, append_images=[Image.fromarray(255 - SMALL)]),
        "animated, 2 frames",
    ),
    "1 x 1": (encoded(SMALL[:1, :1]), "1 x 1 px"),
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
    run = StageRun("decompose", "mulan", params, {"data": data}, folder / "layers", folder / "reports", workers, True)
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
    done = decompose.work(params, {"data": data}, job)
    assert [row["id"] for row in done.aside] == list(BAD)
    assert all(BAD[row["id"]][1] in row["reason"] for row in done.aside)
    assert pq.read_table(io.BytesIO(done.shard)).column("id").to_pylist() == ["good"]


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


def test_layers_of_a_large_picture_keep_its_own_pixels() -> None:
    made = scene(4)
    large = np.kron(made.image, np.ones((9, 9, 1), np.uint8))
    large = np.clip(large + np.random.default_rng(0).integers(-9, 9, large.shape), 0, 255).astype(np.uint8)
    layers = lifted(large, take_apart(made.image, knowing(made), Settings()).stack)
    background = np.dstack((layers[0], np.full(large.shape[:2], 255, np.uint8)))
    flat = flatten(np.stack([background, *layers[1:]]))
    away = np.abs(flat.astype(int) - large).max(2)
    assert (away <= 1).mean() > 0.97
    own = np.isin(layers[1][..., 3], [255]) & np.isin(layers[2][..., 3], [0])
    np.testing.assert_array_equal(layers[1][own][:, :3], large[own])


def test_names_of_layers_can_be_names_of_files() -> None:
    assert decompose.slug("a red/green Apple!") == "a-red-green-apple"
    assert decompose.slug("?") == "instance"
