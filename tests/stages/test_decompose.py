"""One's own picture: what is read of it, and the folder of layers that is made, in every format."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import decompose
from stages.run import StageRun
from systems.image_layers.diffdecompose import decompose as system
from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.stack import Layer, Stack, flatten
from systems.parts.run import Strict

ROTATED = 6
"""Of the EXIF tag Orientation: the first row is the picture's right side."""


def photo(path: Path, height: int = 24, width: int = 40) -> np.ndarray:
    """A PNG of noise; returns its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def halves(picture: np.ndarray, model: Path, seed: int) -> dict[str, np.ndarray]:
    """A system's answer: the right half of the picture over the whole."""
    fg = np.dstack((picture, np.full(picture.shape[:2], 255, np.uint8)))
    fg[:, : picture.shape[1] // 2] = 0
    return {"foreground": fg, "background": picture}


@pytest.mark.parametrize("kind", files.FORMATS)
def test_the_layers_of_a_picture_are_written_in_every_format(
    kind: files.Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "decompose_image", halves)
    pixels = photo(tmp_path / "photo.png")
    out = tmp_path / "layers"
    for _ in range(2):  # a folder that the command made is made anew
        asked = ("diffdecompose", "--image", str(tmp_path / "photo.png"), "--out", str(out), "--format", kind)
        decompose.main([*asked, "--model", "some/model", "--seed", "3"])
    contents = json.loads((out / "layers.json").read_text())
    about = {"system": "diffdecompose", "image": "photo.png", "model": "some/model", "seed": 3}
    assert contents == {**contents, **about, "bottom_to_top": ["background", "foreground"]}
    named = {"background.png", "foreground.png"} if kind == "png" else {f"layers.{kind}"}
    assert {path.name for path in out.iterdir()} == {"layers.json", *named}
    stack = files.read(out if kind == "png" else out / f"layers.{kind}")
    assert stack.size == (40, 24)
    assert (flatten(stack)[..., :3] == pixels).all()
    assert stack.layers[1].offset == ((0, 0) if kind == "png" else (20, 0))


def test_a_system_may_hand_a_stack_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Stack(
        (40, 24),
        (
            Layer("ground", np.full((24, 40, 4), 255, np.uint8)),
            Layer("dot", np.full((1, 1, 4), 9, np.uint8), (7, 3), 0.5, "multiply"),
        ),
    )
    monkeypatch.setattr(system, "decompose_image", lambda *_: made)
    photo(tmp_path / "photo.png")
    decompose.take_apart("diffdecompose", tmp_path / "photo.png", tmp_path / "out", Path("m"), 0, "ora")
    dot = files.read(tmp_path / "out" / "layers.ora").layers[1]
    assert (dot.name, dot.offset, dot.opacity, dot.blend) == ("dot", (7, 3), 0.5, "multiply")


def test_a_folder_with_other_files_stays_as_it_is(tmp_path: Path) -> None:
    photo(tmp_path / "photo.png")
    with pytest.raises(UserError, match="holds other files"):
        decompose.take_apart("diffdecompose", tmp_path / "photo.png", tmp_path, Path("m"), 0, "psd")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(("ending", "most"), [("png", 0), ("webp", 8), ("jpg", 8)])
def test_a_picture_is_read_upright(ending: str, most: int, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (3, 5, 1), np.uint8)
    pixels = grey.repeat(8, 0).repeat(8, 1).repeat(3, 2)
    exif = Image.Exif()
    exif[274] = ROTATED
    Image.fromarray(np.rot90(pixels)).save(tmp_path / f"turned.{ending}", exif=exif, quality=95)
    found = decompose.read_picture(tmp_path / f"turned.{ending}")
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).mean() <= most


def test_a_picture_is_refused_by_its_head_where_it_has_too_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "photo.png")
    monkeypatch.setattr(decompose, "MOST_PIXELS", 24 * 40)
    assert decompose.read_picture(tmp_path / "photo.png").shape == (24, 40, 3)
    monkeypatch.setattr(decompose, "MOST_PIXELS", 24 * 40 - 1)
    monkeypatch.setattr(decompose, "decode", lambda _: SimpleNamespace(mode="none"))
    with pytest.raises(UserError, match="40 x 24 px; at most 0 megapixels"):
        decompose.read_picture(tmp_path / "photo.png")


def test_a_system_without_pictures_says_so(tmp_path: Path) -> None:
    photo(tmp_path / "photo.png")
    with pytest.raises(UserError, match="'bsp_net' cannot take a single picture apart"):
        decompose.take_apart("bsp_net", tmp_path / "photo.png", tmp_path / "out", Path("m"), 0)


def test_a_folder_outlives_a_killed_run_and_ends_with_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompose.lineage, "fingerprint", lambda run: f"{run.stage}-{run.name}")
    monkeypatch.chdir(tmp_path)

    def dies(run: StageRun[Any]) -> None:
        run.work.mkdir(parents=True)
        (run.work / "part").write_text("done")
        raise KeyboardInterrupt

    def goes_on(run: StageRun[Any]) -> None:
        assert (run.work / "part").read_text() == "done"

    run = StageRun("decompose", "toy", Strict(), {}, tmp_path / "out", tmp_path / "reports")
    with pytest.raises(KeyboardInterrupt):
        decompose.keeping(run, dies)(run)
    assert Path(".work/runs/decompose-toy/part").is_file()
    decompose.keeping(run, goes_on)(run)
    assert list(Path(".work/runs").iterdir()) == []


def test_a_system_without_use_for_networks_says_so(tmp_path: Path) -> None:
    photo(tmp_path / "photo.png")
    asked = ("diffdecompose", "--image", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out"))
    with pytest.raises(UserError, match="--weights some: system 'diffdecompose' uses no fetched networks"):
        decompose.main([*asked, "--weights", "some"])
    assert not (tmp_path / "out").exists()
