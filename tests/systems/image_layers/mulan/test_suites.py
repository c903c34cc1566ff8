"""What layers and annotations are held to: right ones pass, and each expectation finds what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.expectations import expect
from stages.run import StageRun
from systems.image_layers.mulan import annotation
from systems.image_layers.mulan.measures import psnr
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.providers import Box
from systems.image_layers.mulan.stack import Layer
from systems.image_layers.mulan.suites import expect_sound
from systems.image_layers.mulan.table import SCHEMA, Kept, row_of
from systems.parts.errors import UserError
from systems.parts.pictures import write_table
from systems.parts.run import Strict
from tests.systems.image_layers.mulan.made import knowing, scene

LABEL, NAME = "learned-0", "learned-0-made-1"


def kept() -> Kept:
    """A picture with a mutual pair, taken apart."""
    made = scene(1, mutual=True)
    apart = take_apart(made.image, knowing(made), Settings())
    value = psnr(apart.stack.flat(), made.image)
    return Kept(made.id, "learned", 0, made.image, apart.stack, apart.orders, value, rejected=False)


RIGHT = kept()


def written(folder: Path, one: Kept, note: dict[str, Any] | None = None) -> Path:
    """A folder of layers as `decompose` writes it."""
    folder.mkdir()
    write_table(pa.Table.from_pylist([row_of(one)], schema=SCHEMA), folder / f"{LABEL}-00000.parquet")
    annotation.write(note or annotation.annotation_of(one.stack, "words"), folder / "annotations", NAME)
    aside = {"run": [LABEL], "id": ["broken"], "reason": ["truncated"]}
    pq.write_table(pa.table(aside), folder / "aside.parquet")
    return folder


def held(folder: Path) -> StageRun[Strict]:
    run = StageRun(
        "evaluate", "mulan", Strict(), {}, folder / "o", folder / "r" / "evaluate" / "mulan", expecter=expect
    )
    run.begin()
    expect_sound(run, folder, [LABEL])
    return run


def test_sound_layers_and_annotations_pass(tmp_path: Path) -> None:
    run = held(written(tmp_path / "layers", RIGHT))
    assert {name: value for name, value in run.metrics.items() if name.endswith("rows")} == {
        "layers/rows": 1,
        "annotations/rows": 1,
        "set-aside/rows": 1,
    }


def with_layer(number: int, change: Callable[[Layer], Layer]) -> Kept:
    """The picture with one layer changed."""
    layers = list(RIGHT.stack.layers)
    layers[number] = change(layers[number])
    return replace(RIGHT, stack=replace(RIGHT.stack, layers=layers))


def with_stack(**changes: Any) -> Kept:
    return replace(RIGHT, stack=replace(RIGHT.stack, **changes))


def brighter(layer: Layer) -> Layer:
    return replace(layer, colour=np.where(layer.original[..., None], layer.colour ^ 1, layer.colour))


WRONG: dict[str, tuple[str, Kept]] = {
    "no label": ("named", with_layer(2, lambda layer: replace(layer, label=""))),
    "a box beyond the picture": ("boxed", with_layer(1, lambda layer: replace(layer, box=Box(3, 3, 65, 9, 1.0, "")))),
    "a hole in the background": ("backdrop", with_layer(0, lambda layer: replace(layer, alpha=layer.alpha - 1))),
    "a pixel of nobody": ("owners", with_layer(3, lambda layer: replace(layer, visible=layer.visible & False))),
    "a part beyond the whole": ("beyond", with_layer(3, lambda layer: replace(layer, whole=layer.whole & False))),
    "an altered pixel": ("altered", with_layer(3, brighter)),
    "an own pixel in half": ("shown", with_layer(3, lambda layer: replace(layer, alpha=layer.alpha // 2))),
    "a colour of nothing": ("stained", with_layer(3, lambda layer: replace(layer, alpha=layer.alpha * 0))),
    "another order": ("order", replace(RIGHT, orders={**RIGHT.orders, "mutual": [2, 1, 3]})),
    "an order with one twice": ("rungs", replace(RIGHT, orders={**RIGHT.orders, "depth": [1, 1, 3]})),
    "a pair the wrong way": ("crossed", with_stack(mutual=[(2, 1)])),
    "a sure thing and more": ("unsure", with_stack(pairs=[replace(RIGHT.stack.pairs[0], there=1.5)])),
    "another PSNR": ("off", replace(RIGHT, psnr=RIGHT.psnr + 0.1)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_layers_is_found(what: str, tmp_path: Path) -> None:
    name, one = WRONG[what]
    with pytest.raises(UserError, match="table layers violates") as caught:
        held(written(tmp_path / "layers", one))
    failing = (tmp_path / "layers" / "r" / "data_docs" / "mulan" / "layers-failing.csv").read_text()
    assert any(f"'{name}'" in line for line in failing.splitlines()), failing
    assert "learned-0/made-1" in str(caught.value)


def noted(**changes: Any) -> dict[str, Any]:
    return {**annotation.annotation_of(RIGHT.stack, "words"), **changes}


def painted() -> dict[str, Any]:
    """An annotation that paints where the picture is used, which its reader adds up and clips."""
    note = noted()
    return {**note, "background": {**note["background"], "inpainted_delta": np.full((64, 64, 3), 9, np.uint8)}}


def cut() -> dict[str, Any]:
    note = noted()
    return {**note, "instances": {key: part for key, part in note["instances"].items() if key != "instance_3"}}


@pytest.mark.parametrize(
    ("name", "note"),
    [("version", noted(version=2)), ("met", painted()), ("wrong", painted()), ("captions", cut()), ("wrong", cut())],
)
def test_what_is_wrong_with_an_annotation_is_found(name: str, note: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table annotations violates"):
        held(written(tmp_path / "layers", RIGHT, note))
    failing = (tmp_path / "layers" / "r" / "data_docs" / "mulan" / "annotations-failing.csv").read_text()
    assert any(f"'{name}'" in line for line in failing.splitlines()), failing


def test_a_field_that_is_left_out_is_named(tmp_path: Path) -> None:
    note = noted()
    del note["depth"]
    with pytest.raises(UserError, match=r"value_set=\[''\]"):
        held(written(tmp_path / "layers", RIGHT, note))


def test_twins_that_differ_are_found(tmp_path: Path) -> None:
    folder = written(tmp_path / "layers", RIGHT)
    other = annotation.encode_released(noted(mutual=[]))
    (folder / "annotations" / f"{NAME}{annotation.RELEASED}").write_bytes(other)
    with pytest.raises(UserError, match=r"table annotations violates .*'twins'"):
        held(folder)
