"""OpenRaster, the open format of Krita, GIMP and MyPaint: a ZIP of PNGs and `stack.xml`.

After the baseline of openraster.org. `svg:plus` is there what `additive` is here; some programs take it differently
where the sum of two colours passes white under an alpha that is not opaque.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from systems.parts.layered_files.folder import LEVEL
from systems.parts.layered_files.stack import Layer, Stack, flatten

MIMETYPE = "image/openraster"
OPERATORS = {"over": "svg:src-over", "screen": "svg:screen", "multiply": "svg:multiply", "additive": "svg:plus"}
THUMBNAIL = 256
"""Pixels a side, at most."""


def write(stack: Stack, path: Path) -> None:
    """Write the file; its bytes depend on the stack alone."""
    merged = Image.fromarray(flatten(stack))
    small = merged.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    with zipfile.ZipFile(path, "w") as file:
        _put(file, "mimetype", MIMETYPE.encode())
        _put(file, "stack.xml", xml_of(stack))
        for number, layer in enumerate(stack.layers):
            _put(file, source(number), png(Image.fromarray(layer.rgba)))
        _put(file, "mergedimage.png", png(merged))
        _put(file, "Thumbnails/thumbnail.png", png(small))


def _put(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Stored as it is, without a time: PNGs are compressed already, and `mimetype` has to be readable."""
    file.writestr(zipfile.ZipInfo(name), content)


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=LEVEL)
    return buffer.getvalue()


def source(number: int) -> str:
    """Where the pixels of a layer lie, counted from the bottom."""
    return f"data/layer{number:03d}.png"


def xml_of(stack: Stack) -> bytes:
    """The document `stack.xml`, whose first layer is the topmost."""
    width, height = map(str, stack.size)
    image = ElementTree.Element("image", {"version": "0.0.5", "w": width, "h": height})
    inner = ElementTree.SubElement(image, "stack")
    for number, layer in reversed(list(enumerate(stack.layers))):
        x, y = map(str, layer.offset)
        shown = {"opacity": repr(float(layer.opacity)), "visibility": "visible" if layer.visible else "hidden"}
        where = {"name": layer.name, "src": source(number), "x": x, "y": y}
        ElementTree.SubElement(inner, "layer", {**where, **shown, "composite-op": OPERATORS[layer.blend]})
    text: bytes = ElementTree.tostring(image, "utf-8", xml_declaration=True)
    return text


def read(path: Path) -> Stack:
    """The stack in a file; groups of layers and blends that this project does not have are refused."""
    with zipfile.ZipFile(path) as file:
        if file.read("mimetype").strip() != MIMETYPE.encode():
            raise ValueError(f"its mimetype is not {MIMETYPE}")
        text = file.read("stack.xml")
        if b"<!DOCTYPE" in text:
            raise ValueError("its stack.xml defines entities")
        image = ElementTree.fromstring(text)  # noqa: S314 - entities were refused
        (inner,) = image.findall("stack")
        layers = tuple(_layer(file, element) for element in reversed(inner))
    return Stack((int(image.attrib["w"]), int(image.attrib["h"])), layers)


def _layer(file: zipfile.ZipFile, element: ElementTree.Element) -> Layer:
    known = {operator: blend for blend, operator in OPERATORS.items()}
    given = element.attrib
    name, operator = given.get("name") or "layer", given.get("composite-op", OPERATORS["over"])
    if element.tag != "layer" or operator not in known:
        what = f"layer {name!r} is blended by {operator}" if element.tag == "layer" else f"it has a {element.tag}"
        raise ValueError(f"{what}; layers blended by {', '.join(known)} are wanted")
    with Image.open(io.BytesIO(file.read(given["src"]))) as picture:
        rgba = np.asarray(picture.convert("RGBA"))
    place, shown = (int(given.get("x", 0)), int(given.get("y", 0))), given.get("visibility", "visible") == "visible"
    return Layer(name, rgba, place, float(given.get("opacity", 1)), known[operator], shown)
