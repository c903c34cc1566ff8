"""Annotations written, read and rebuilt bit for bit both ways, and what is refused (check 08.6)."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from systems.image_layers.mulan import annotation, unpickle
from systems.image_layers.mulan.pipeline import Settings, take_apart
from systems.image_layers.mulan.rebuild import main
from systems.image_layers.mulan.stack import Stack
from systems.parts.errors import UserError
from tests.systems.image_layers.mulan.made import knowing, scene

MADE = scene(5, mutual=True)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return take_apart(MADE.image, knowing(MADE), Settings()).stack


@pytest.fixture(scope="module")
def written(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotations")
    annotation.write(annotation.annotation_of(stack, "the label's name"), folder, "made")
    return folder


def same(value: Any, other: Any) -> bool:
    """Equal to the last bit, in types of arrays too."""
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and value.dtype == other.dtype and np.array_equal(value, other)
    if isinstance(value, dict):
        return list(value) == list(other) and all(same(value[key], other[key]) for key in value)
    return bool(value == other)


@pytest.mark.parametrize("file", ["made.p.zl", "made.annotation.json", "made"])
def test_holds_08_6_an_annotation_comes_back_bit_for_bit_in_both_encodings(
    stack: Stack, written: Path, file: str
) -> None:
    read = annotation.read(written / file)
    assert same(read, annotation.annotation_of(stack, "the label's name"))
    again = annotation.rebuilt(MADE.image, read)
    np.testing.assert_array_equal(again[0], stack.layers[0].colour)
    for pixels, layer in zip(again[1:], stack.layers[1:], strict=True):
        np.testing.assert_array_equal(pixels, layer.pixels)
    assert annotation.captions(read) == [layer.caption for layer in stack.layers]


def test_holds_08_5_original_mask_and_painted_colours_never_meet(stack: Stack) -> None:
    made = annotation.annotation_of(stack, "")
    for part in (made["background"], *made["instances"].values()):
        assert not (part["original_image_mask"] & (part["inpainted_delta"] > 0)).any()
        assert part["original_image_mask"].any()


def with_key(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda made: {**made, **fields}


def test_holds_08_6_a_base_picture_of_another_size_is_named(written: Path) -> None:
    read = annotation.read(written / "made")
    with pytest.raises(UserError, match=r"base picture: 64 x 60 px; field background\.original_image_mask .* 64 x 64"):
        annotation.rebuilt(MADE.image[:60], read)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ((), "background"),
        ((), "instances"),
        (("background",), "original_image_mask"),
        (("instances", "instance_2"), "inpainted_delta"),
        (("instances", "instance_1"), "instance_alpha"),
    ],
)
def test_holds_08_6_a_missing_field_is_named(written: Path, part: tuple[str, ...], name: str) -> None:
    read = inner = annotation.read(written / "made")
    for key in part:
        inner = inner[key]
    del inner[name]
    with pytest.raises(UserError, match=rf"field {'.'.join([*part, name])} is missing"):
        annotation.rebuilt(MADE.image, read)


@pytest.mark.parametrize("number", [-1, 4])
def test_holds_08_6_an_unknown_layer_is_named(written: Path, number: int) -> None:
    with pytest.raises(UserError, match=rf"layer {number}: the annotation has layers 0 to 3"):
        annotation.layer(MADE.image, annotation.read(written / "made"), number)


def test_an_instance_mask_is_used_where_there_is_one(written: Path) -> None:
    read = annotation.read(written / "made.p.zl")
    half = np.zeros((64, 64, 1), np.uint8)
    half[:32] = 1
    read["instances"]["instance_1"]["instance_mask"] = half
    cut, full = (
        annotation.layer(MADE.image, read, 1),
        annotation.layer(MADE.image, annotation.read(written / "made"), 1),
    )
    own = read["instances"]["instance_1"]["original_image_mask"][..., 0]
    np.testing.assert_array_equal(cut[:32], full[:32])
    assert not cut[32:, :, :3][own[32:]].any()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_order_and_type_are_read(protocol: int) -> None:
    rng = np.random.default_rng(0)
    values = {
        "c": rng.integers(0, 255, (3, 4, 3), np.uint8),
        "f": np.asfortranarray(rng.normal(size=(3, 5))),
        "big": rng.integers(0, 99, (2, 3)).astype(">i4"),
        "strided": rng.integers(0, 9, (4, 6), np.int16)[::2, ::3],
        "mask": rng.random((4, 4)) > 0.5,
        "none": np.zeros((0, 3), np.float32),
        "number": np.float64(0.25),
        "words": ["a", 1, 2.5, None, True],
    }
    read = unpickle.loads(zlib.compress(pickle.dumps(values, protocol)))
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value)
    assert read["big"].dtype == np.dtype(">i4")


class Calls:
    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.what = (function, given)

    def __reduce__(self) -> Any:
        return self.what


HOSTILE: dict[str, Callable[[str], Any]] = {
    "a command": lambda mark: Calls(os.system, f"touch {mark}"),
    "a file": lambda mark: Calls(open, mark, "w"),
    "code": lambda mark: Calls(eval, f"open({mark!r}, 'w')"),
    "code in an array": lambda mark: np.array([Calls(os.system, f"touch {mark}")], object),
    "code in a field": lambda mark: {"background": {"llava": Calls(os.system, f"touch {mark}")}},
    "a getter": lambda _: Calls(getattr, "", "join"),
    "another class": lambda mark: Path(mark),
    "a set": lambda _: {"a": {1, 2}},
    "bytes": lambda _: b"bytes",
    "objects": lambda _: np.array([None, 1], object),
    "records": lambda _: np.zeros(2, [("a", "u1")]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_holds_08_6_a_hostile_file_is_refused_and_runs_nothing(what: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "bad.p.zl"
    path.write_bytes(zlib.compress(pickle.dumps(HOSTILE[what](str(mark)), 4)))
    with pytest.raises(UserError, match=r"annotation .*bad\.p\.zl: ") as caught:
        annotation.read(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


STANDS_FOR = b"cnumpy\nndarray\n"
BROKEN: dict[str, bytes] = {
    "not zlib": b"nothing",
    "cut short": zlib.compress(pickle.dumps({"a": np.zeros(999)}, 4))[:-20],
    "no pickle": zlib.compress(b"nothing"),
    "an array that claims more than it has": zlib.compress(
        pickle.dumps(np.zeros(4, np.uint8), 4).replace(b"K\x04\x85", b"K\xff\x85")
    ),
    "the state of a function": zlib.compress(STANDS_FOR + b"}(X\x04\x00\x00\x00callK\x01ub."),
    "attributes of a function": zlib.compress(STANDS_FOR + b"N}X\x05\x00\x00\x00_callK\x01s\x86b."),
    "a function itself": zlib.compress(STANDS_FOR + b"."),
    "a list in itself": zlib.compress(b"]q\x00h\x00a."),
    "an object elsewhere": zlib.compress(b"X\x01\x00\x00\x00aQ."),
    "an empty array, never filled": zlib.compress(b"cnumpy._core.multiarray\n_reconstruct\n(tR."),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.p.zl"
    path.write_bytes(BROKEN[what])
    with pytest.raises(UserError, match=r"annotation .*bad\.p\.zl: ") as caught:
        annotation.read(path)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="when inflated"):
        unpickle.loads(zlib.compress(pickle.dumps("a" * 2000)))


def test_holds_08_6_the_twin_is_never_unpickled(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Any:
        raise AssertionError("unpickled")

    mark = tmp_path / "ran"
    hidden = np.array([Calls(os.system, f"touch {mark}")], object)
    np.savez(tmp_path / "bad.npz", allow_pickle=True, a=hidden)
    (tmp_path / "bad.annotation.json").write_text(json.dumps({"a": {"array": "a"}}))
    with pytest.raises(UserError, match=r"bad: .*allow_pickle"):
        annotation.read(tmp_path / "bad")
    assert not mark.exists()
    for name in ("load", "loads", "Unpickler", "_load", "_loads"):
        monkeypatch.setattr(pickle, name, refused)
    annotation.read(written / "made.annotation.json")


@pytest.mark.parametrize(
    ("broken", "words"),
    [("made.npz", "made.npz: cannot be read"), ("made.annotation.json", "made.annotation.json: cannot be read")],
)
def test_half_a_twin_is_refused(written: Path, tmp_path: Path, broken: str, words: str) -> None:
    for file in ("made.npz", "made.annotation.json"):
        if file != broken:
            (tmp_path / file).write_bytes((written / file).read_bytes())
    with pytest.raises(UserError, match=words):
        annotation.read(tmp_path / "made")


def test_files_are_the_same_each_time(stack: Stack, written: Path, tmp_path: Path) -> None:
    annotation.write(annotation.annotation_of(stack, "the label's name"), tmp_path, "made")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in written.iterdir()
    }


def test_a_released_file_and_its_base_picture_become_layers(
    stack: Stack, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(MADE.image).save(tmp_path / "made.png")
    given = [str(written / "made.p.zl"), "--image", str(tmp_path / "made.png"), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"made-layer_{number}.png" for number in range(4)),
        "made.csv",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/made-layer_2.png")), stack.layers[2].pixels)
    assert (tmp_path / "out/made.csv").read_text().splitlines()[2] == "made-layer_1.png,a disc 1"
    assert main(given) == 2
    assert "is there already" in capsys.readouterr().err
