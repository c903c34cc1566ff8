"""What is taken from each package, on tiny stand-ins of it."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.pictures import selections
from stages.pictures.asset import words
from stages.registries.rcc import read_rcc

FOLDER, ZLIB, ZSTD = 2, 1, 4


def rcc(files: Mapping[str, bytes], flags: int = 0, version: int = 3) -> bytes:
    """A Qt resource file with all `files` in its top folder, written from the format's description."""
    names, data, tree = b"", b"", b""
    rest = b"" if version == 1 else bytes(8)
    tree += struct.pack(">IHII", 0, FOLDER, len(files), 1) + rest
    for name, content in files.items():
        packed = {
            0: content,
            ZLIB: struct.pack(">I", len(content)) + zlib.compress(content),
            ZSTD: zstandard.compress(content),
        }[flags]
        tree += struct.pack(">IHHHI", len(names), flags, 0, 0, len(data)) + rest
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        data += struct.pack(">I", len(packed)) + packed
    start = 20
    head = struct.pack(">4sIIII", b"qres", version, start, start + len(tree), start + len(tree) + len(data))
    return head + tree + data + names


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def stamp(colours: int = 4096, clear: bool = True) -> bytes:
    """A 64x64 RGBA picture with about `colours` colours whose left quarter is clear or not."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)) if colours > 1 else np.full((64, 64, 3), 90)
    alpha = np.full((64, 64, 1), 255)
    alpha[:, :16] = 0 if clear else 255
    return png(np.concatenate([noise, alpha], axis=2).astype(np.uint8))


@settings(max_examples=30, deadline=None)
@given(
    files=st.dictionaries(st.text("abcé.", min_size=1, max_size=8), st.binary(max_size=50), min_size=1, max_size=5),
    flags=st.sampled_from([0, ZLIB, ZSTD]),
    version=st.sampled_from([1, 2, 3]),
)
def test_rcc_round_trip(files: dict[str, bytes], flags: int, version: int) -> None:
    assert dict(read_rcc(rcc(files, flags, version))) == files


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(40), rcc({"a": b"content"}, ZLIB)[:40]])
def test_what_is_no_rcc_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="Qt resource file"):
        list(read_rcc(data))


def test_tuxpaint_takes_photographs_with_clear_parts_and_leaves_drawings() -> None:
    tree = {
        "animals/cat.png": stamp(),
        "animals/cat.txt": b"A black cat.\nfr=Un chat.\n",
        "animals/tree336.png": stamp(),
        "animals/solid.png": stamp(clear=False),
        "animals/flat.png": stamp(colours=1),
        "animals/cartoon/dog.png": stamp(),
        "symbols/alphabets/a.png": stamp(),
        "food/pizza.png": stamp(),
        "seasonal/easter/daffodil.png": stamp(),
        "plants/daffodil.png": stamp(),
        "household/dishes/glass.png": stamp(colours=1),
    }
    found = {picture.origin: (picture.kind, picture.phrase) for picture in selections.tuxpaint(tree.items())}
    assert found == {
        "animals/cat.png": ("cutout", "black cat"),
        "animals/tree336.png": ("cutout", "tree"),
        "plants/daffodil.png": ("cutout", "daffodil"),
        "household/dishes/glass.png": ("glass", "glass"),
    }


def test_gcompris_takes_only_what_a_readme_credits_and_each_photograph_once() -> None:
    readme = b"""Copyright: Ann
License: CC0-1.0
Source: place:one
Files: owl1.webp

Copyright: Ann
License: CC0-1.0
Source: place:one
Files:
owl2.webp

Copyright: Bob
Source: place:three
Files:
nolicence.webp

Copyright: Eve
License: Public Domain
Source: place:four
Files:
tiny.webp
"""
    large, tiny = png(np.zeros((200, 210, 3), np.uint8)), png(np.zeros((40, 40, 3), np.uint8))
    files = {"README": readme, "owl1.webp": large, "owl2.webp": large, "nolicence.webp": large, "tiny.webp": tiny}
    whole = rcc({f"gcompris/src/activities/erase/{name}": content for name, content in files.items()})
    (only,) = selections.gcompris([("erase.rcc", whole), ("other.rcc", b"never read")])
    assert (only.origin, only.licence, only.author, only.phrase) == ("erase/owl1.webp", "CC0-1.0", "Ann", "owl")


def test_simple_icons_takes_cc0_and_draws_in_the_brand_colour() -> None:
    square = b'<svg viewBox="0 0 24 24" xmlns="http://www.w3.org/2000/svg"><path d="M0 0h12v24H0z"/></svg>'
    listed = [
        {"title": "B", "slug": "b", "hex": "FF8000"},
        {"title": "A", "slug": "a", "hex": "000000", "license": {"type": "CC-BY-NC-4.0"}},
    ]
    tree = {"data/simple-icons.json": json.dumps(listed).encode(), "icons/a.svg": square, "icons/b.svg": square}
    (only,) = selections.simple_icons(tree.items())
    pixels = np.asarray(only.pixels(64))
    assert (only.phrase, pixels.shape) == ("B logo", (64, 64, 4))
    assert pixels[32, 5].tolist() == [255, 128, 0, 255]
    assert pixels[32, 60, 3] == 0


def test_frost_keeps_its_light() -> None:
    light = np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    straight = np.asarray(selections.light_on_black(png(light))).astype(np.float64)
    assert np.abs(straight[..., :3] * straight[..., 3:] / 255 - light).max() <= 0.5 + 1e-9


def test_cells_are_cut_along_their_mask() -> None:
    mask = np.zeros((60, 60), np.uint16)
    mask[10:30, 10:30], mask[40:60, 40:60], mask[50:52, 2:4] = 7, 8, 9  # whole, cut by the border, a sliver
    light = np.where(mask > 0, 100, 3).astype(np.uint16)
    tree = {}
    for name, pixels in {"img2d.tif": light, "mask2d.tif": mask}.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "TIFF")
        tree[name] = buffer.getvalue()
    (only,) = selections.cells(tree.items())
    pixels = np.asarray(only.pixels(512))
    assert only.origin == "img2d.tif#007"
    assert pixels.shape == (24, 24, 4)
    assert (pixels[3:21, 3:21] == 255).all()
    assert pixels[0, 0, 3] == 0


@pytest.mark.parametrize(
    ("name", "phrase"), [("a/claw_hammer5.png", "claw hammer"), ("redFox.webp", "red fox"), ("0001.png", "0001")]
)
def test_names_become_words(name: str, phrase: str) -> None:
    assert words(name) == phrase
