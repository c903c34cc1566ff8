"""Every format, there and back, and by readers that are not ours."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyora
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from psd_tools import PSDImage
from psd_tools.composite import composite
from psd_tools.constants import BlendMode

from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.files import FORMATS, Format
from systems.parts.layered_files.stack import Layer, Stack, flatten
from tests.systems.parts.layered_files.stacks import pixels, stacks

ENDING: dict[Format, str] = {"png": "", "ora": ".ora", "psd": ".psd", "tiff": ".tiff"}
EVERYWHERE = ("over", "screen", "multiply")
"""Blends that every reader takes alike."""


def written(whole: Stack, kind: Format, folder: str | Path) -> Path:
    path = Path(folder) / f"layers{ENDING[kind]}"
    files.write(whole, path, kind)
    return path


def again(whole: Stack, kind: Format) -> Stack:
    with tempfile.TemporaryDirectory() as folder:
        return files.read(written(whole, kind, folder))


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of two RGBA pictures, as they are seen: colours under no alpha do not count."""
    flat = [np.dstack((p[..., :3] * (p[..., 3:] / 255), p[..., 3])) for p in (one.astype(float), other.astype(float))]
    return int(np.ceil(np.abs(flat[0] - flat[1]).max() - 0.01))


def known(layer: Layer) -> tuple[object, ...]:
    return layer.name, layer.offset, layer.opacity, layer.blend, layer.visible


@pytest.mark.parametrize("kind", ["png", "ora", "tiff"])
@given(whole=stacks())
def test_what_was_written_is_read_to_the_last_bit(kind: Format, whole: Stack) -> None:
    found = again(whole, kind)
    assert found.size == whole.size
    assert list(map(known, found.layers)) == list(map(known, whole.layers))
    for one, other in zip(found.layers, whole.layers, strict=True):
        assert (one.rgba == other.rgba).all()


@given(stacks())
def test_a_psd_keeps_all_but_the_alpha_of_added_light(whole: Stack) -> None:
    found = again(whole, "psd")
    assert np.abs(flatten(found).astype(int) - flatten(whole)).max() <= 1
    for one, other in zip(found.layers, whole.layers, strict=True):
        if other.blend != "additive":
            assert known(one) == known(other)
            assert (one.rgba == other.rgba).all()
        else:
            assert (one.name, one.offset, one.blend, one.visible) == (
                other.name,
                other.offset,
                "additive",
                other.visible,
            )
            assert set(np.unique(one.rgba[..., 3])) <= {0, 255}


def test_a_psd_refuses_to_add_light_to_nothing_but_not_to_what_is_opaque(tmp_path: Path) -> None:
    light = Layer("glow", np.full((2, 2, 4), 100, np.uint8), (1, 1), blend="additive")
    ground = Layer("ground", np.full((4, 4, 4), 255, np.uint8))
    ground.rgba[0, 0, 3] = 0
    assert flatten(again(Stack((4, 4), (ground, light)), "psd"))[1, 1].tolist() == [255, 255, 255, 255]
    ground.rgba[1, 1, 3] = 254
    with pytest.raises(UserError, match="layer 'glow': a PSD cannot add light"):
        files.write(Stack((4, 4), (ground, light)), tmp_path / "a.psd", "psd")
    with pytest.raises(UserError, match="layer 'glow': a PSD cannot add light"):
        files.write(Stack((4, 4), (light, ground)), tmp_path / "a.psd", "psd")
    assert list(tmp_path.iterdir()) == []


def in_place(layer: Image.Image, size: tuple[int, int], offset: tuple[int, int]) -> np.ndarray:
    canvas = Image.new("RGBA", size)
    canvas.paste(layer, offset)
    return np.asarray(canvas)


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 9), st.integers(3, 9)), min_size=2, max_size=4))
def test_pillow_reads_the_psd_picture_and_its_layers(shapes: list[tuple[int, int, int]]) -> None:
    """Rows of one colour have an even length in the file; of others Pillow believes that they are padded."""
    layers = [
        Layer(f"{number}é", pixels(seed, height, 1).repeat(width, 1), (number, 1))
        for number, (seed, height, width) in enumerate(shapes)
    ]
    whole = Stack((14, 14), tuple(layers))
    with tempfile.TemporaryDirectory() as folder, Image.open(written(whole, "psd", folder)) as file:
        assert (np.asarray(file.convert("RGBA")) == flatten(whole)).all()
        for number, layer in reversed(list(enumerate(layers))):  # Pillow believes to stand at the first already
            file.seek(number + 1)
            _, mode, (left, top, right, bottom), _ = file.layers[number]
            assert (mode, left, top) == ("RGBA", *layer.offset)
            alpha_first = np.asarray(file)[top:bottom, left:right]  # as in the file; Pillow calls it red
            assert (np.roll(alpha_first, -1, axis=2) == layer.rgba).all()


@given(stacks(EVERYWHERE))
def test_psd_tools_flattens_the_layers_of_a_psd_to_the_same_picture(whole: Stack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        colour, _, alpha = composite(PSDImage.open(written(whole, "psd", folder)), force=True)
    assert apart(np.dstack((colour, alpha)) * 255, flatten(whole)) <= 1


@given(stacks(EVERYWHERE))
def test_pyora_flattens_an_openraster_file_to_the_same_picture(whole: Stack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = pyora.Project.load(str(written(whole, "ora", folder)))
        assert [layer.name for layer in project.iter_layers] == [layer.name for layer in whole.layers]
        assert (np.asarray(project.get_image_data(use_original=True)) == flatten(whole)).all()
        rendered = np.asarray(project.get_image_data(use_original=False))
    assert apart(rendered, flatten(whole)) <= 1


@given(stacks(("over",)))
def test_pillow_flattens_the_pages_of_a_tiff_to_the_same_picture(whole: Stack) -> None:
    canvas = Image.new("RGBA", whole.size)
    with tempfile.TemporaryDirectory() as folder, Image.open(written(whole, "tiff", folder)) as file:
        assert file.n_frames == len(whole.layers)
        for page in range(file.n_frames):
            file.seek(page)
            kept = json.loads(file.tag_v2[270])
            assert file.tag_v2[285].encode("latin-1").decode() == kept["name"]
            if min(kept["x"], kept["y"]) >= 0:
                assert (file.tag_v2[286], file.tag_v2[287]) == (kept["x"], kept["y"])
            layer = file.convert("RGBA")
            layer.putalpha(layer.getchannel("A").point(lambda value, share=kept["opacity"]: round(value * share)))
            if kept["visible"]:
                canvas.alpha_composite(Image.fromarray(in_place(layer, whole.size, (kept["x"], kept["y"]))))
    assert apart(np.asarray(canvas), flatten(whole)) <= 1 + len(whole.layers)  # Pillow rounds after every layer


def test_an_openraster_file_begins_as_the_standard_wants(tmp_path: Path) -> None:
    path = written(Stack((300, 20), (Layer("a", pixels(0, 20, 300)),)), "ora", tmp_path)
    assert path.read_bytes()[30:54] == b"mimetypeimage/openraster"
    with zipfile.ZipFile(path) as file:
        assert file.infolist()[0].compress_type == zipfile.ZIP_STORED
        assert {"stack.xml", "mergedimage.png", "Thumbnails/thumbnail.png"} <= set(file.namelist())
        with file.open("Thumbnails/thumbnail.png") as picture:
            assert max(Image.open(picture).size) == 256


def test_a_folder_has_a_picture_by_every_plain_name(tmp_path: Path) -> None:
    names = ("background", "a/b", "Sky", "sky", "雲", "..", "layer.png")
    whole = Stack((3, 2), tuple(Layer(name, pixels(0, 2, 3)) for name in names))
    path = written(whole, "png", tmp_path)
    wanted = {"background.png", "雲.png", *(f"layer.{number:02d}.png" for number in (2, 3, 4, 6, 7)), "layers.json"}
    assert {file.name for file in path.iterdir()} == wanted
    assert json.loads((path / "layers.json").read_text())["bottom_to_top"] == list(names)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_stack_gives_the_same_bytes(kind: Format, tmp_path: Path) -> None:
    whole = Stack(
        (9, 9), (Layer("ground", np.full((9, 9, 4), 255, np.uint8)), Layer("b", pixels(0, 5, 4), (2, 3), 0.5))
    )
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = (written(whole, kind, tmp_path / name) for name in ("one", "two"))
    pairs = [(path, two / path.name) for path in one.iterdir()] if kind == "png" else [(one, two)]
    assert pairs
    assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_ends_in_one_line_or_is_read(kind: Format, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Stack((5, 4), (Layer("a", pixels(3, 4, 5)), Layer("b", pixels(4, 2, 2)))), kind, folder)
        broken = data.draw(st.sampled_from(sorted(path.iterdir()))) if kind == "png" else path
        content = bytearray(broken.read_bytes())
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
                content[place] = data.draw(st.integers(0, 255))
        broken.write_bytes(content)
        said = outcome(path)
        assert said == "read" or said.startswith((f"file {path}: ", "layer ", "stack "))
        assert "\n" not in said


def outcome(path: Path) -> str:
    try:
        files.read(path)
    except UserError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("name", ["no.psd", "no.ora", "no.tiff", "no.gif", "no", "text.ora", "text.psd", "text.tif"])
def test_what_is_no_layered_file_is_named(name: str, tmp_path: Path) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("no layers here")
    with pytest.raises(UserError, match=f"^file .*{name}: "):
        files.read(tmp_path / name)


def test_layers_of_other_programs_that_we_cannot_show_are_refused(tmp_path: Path) -> None:
    whole = Stack((4, 4), (Layer("ground", np.full((4, 4, 4), 255, np.uint8)),))
    path = written(whole, "psd", tmp_path)
    file = PSDImage.open(path)
    file[0].blend_mode = BlendMode.OVERLAY
    file.save(path)
    with pytest.raises(UserError, match="pixel layer 'ground', overlay; pixel layers"):
        files.read(path)
    file[0].blend_mode = BlendMode.NORMAL
    file.create_group(name="inner")
    file.save(path)
    with pytest.raises(UserError, match="group layer 'inner'"):
        files.read(path)
    PSDImage.frompil(Image.new("CMYK", (4, 4))).save(path)
    with pytest.raises(UserError, match="8 bits CMYK; 8 bits RGB are wanted"):
        files.read(path)
    project = pyora.Project.new(4, 4)
    project.add_layer(Image.new("RGBA", (4, 4)), "/group/inner")
    project.save(str(tmp_path / "a.ora"))
    with pytest.raises(UserError, match="it has a stack"):
        files.read(tmp_path / "a.ora")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(UserError, match="not layers as tiff"):
        files.read(tmp_path / "a.tiff")


def test_a_stack_xml_that_defines_entities_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ora", "w") as file:
        file.writestr("mimetype", "image/openraster")
        file.writestr("stack.xml", '<!DOCTYPE image [<!ENTITY a "b">]><image w="1" h="1"><stack/></image>')
    with pytest.raises(UserError, match="defines entities"):
        files.read(tmp_path / "a.ora")


def test_a_folder_reads_no_file_outside_of_it(tmp_path: Path) -> None:
    path = written(Stack((3, 2), (Layer("a", pixels(0, 2, 3)),)), "png", tmp_path)
    shutil.copy(path / "a.png", tmp_path / "secret.png")
    contents = (path / "layers.json").read_text()
    (path / "layers.json").write_text(contents.replace('"a.png"', '"../secret.png"'))
    with pytest.raises(UserError, match="names no file in the folder"):
        files.read(path)


def test_nothing_that_is_not_ours_is_replaced(tmp_path: Path) -> None:
    whole = Stack((3, 2), (Layer("a", pixels(0, 2, 3)),))
    (tmp_path / "folder.ora").mkdir()
    with pytest.raises(UserError, match="holds something else; name a new file"):
        files.write(whole, tmp_path / "folder.ora", "ora")
    with pytest.raises(UserError, match="holds something else; name a new folder"):
        files.write(whole, tmp_path, "png")
    written(whole, "png", tmp_path)
    assert files.read(written(whole, "png", tmp_path)).size == (3, 2)
