"""MuLAn's annotation of one picture: how the data set was released, and the same without a pickle.

`<id>.p.zl` is a zlib-compressed pickle of a dict; its twin `<id>.annotation.json` and `<id>.npz` holds the same and is
what is read where both are there. With the base picture an annotation gives back every layer: its colours are the
picture times `original_image_mask` (times `instance_mask`, where there is one) plus `inpainted_delta`, its alpha
`instance_alpha`. The keys of `EXTRA` are this project's own; a released file has none of them.
"""

from __future__ import annotations

import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from systems.image_layers.mulan import unpickle
from systems.image_layers.mulan.providers import Picture
from systems.image_layers.mulan.stack import Layer, Stack
from systems.parts.errors import UserError

VERSION = 1
EXTRA = ("version", "order", "occlusion", "mutual", "boxes", "depth", "visible_mask", "completed_mask")
RELEASED, JSON, ARRAYS = ".p.zl", ".annotation.json", ".npz"
STORED = "array"
"""In the JSON `{"array": NAME}` stands for an array of the NPZ file."""

Annotation = Mapping[str, Any]


def annotation_of(stack: Stack, captioner: str) -> dict[str, Any]:
    """The annotation of a stack whose captions the model named `captioner` wrote."""
    background, *instances = stack.layers
    unnamed = {"llava": "", "blip2": captioner, "clip": ""}
    return {
        "captioning": unnamed,
        "background": {"llava": background.caption, "blip2": background.caption, **parts_of(background)},
        "image": {"llava": stack.caption, "blip2": stack.caption},
        "instances": {
            f"instance_{number}": {"blip2": layer.caption, **parts_of(layer), "instance_alpha": layer.pixels[..., 3]}
            for number, layer in enumerate(instances, 1)
        },
        "version": VERSION,
        "order": list(range(len(stack.layers))),
        "occlusion": [[pair.first, pair.second, pair.there, pair.back] for pair in stack.pairs],
        "mutual": [list(pair) for pair in stack.mutual],
        "boxes": [[layer.box.x0, layer.box.y0, layer.box.x1, layer.box.y1] for layer in instances if layer.box],
        "depth": [layer.depth for layer in stack.layers],
        "visible_mask": np.stack([layer.visible for layer in stack.layers]),
        "completed_mask": np.stack([layer.whole for layer in stack.layers]),
    }


def parts_of(layer: Layer) -> dict[str, np.ndarray]:
    """Where a layer is the picture itself, and its other colours."""
    return {
        "original_image_mask": layer.original[..., None],
        "inpainted_delta": np.where(layer.original[..., None], 0, layer.colour).astype(np.uint8),
    }


def rebuilt(image: Picture, annotation: Annotation) -> list[UInt8[np.ndarray, "h w c"]]:
    """Every layer from the bottom up: the background RGB, instances RGBA."""
    return [layer(image, annotation, number) for number in range(1 + len(keys_of(annotation)))]


def layer(image: Picture, annotation: Annotation, number: int) -> UInt8[np.ndarray, "h w c"]:
    """Layer `number` of a picture: RGB for 0, the background, else RGBA."""
    if number == 0:
        return colour_of(image, field(annotation, "background"), "background")
    keys = keys_of(annotation)
    if not 1 <= number <= len(keys):
        raise UserError(f"layer {number}: the annotation has layers 0 to {len(keys)}")
    where = f"instances.{keys[number - 1]}"
    instance = field(annotation, "instances")[keys[number - 1]]
    alpha = fitting(image, field(instance, "instance_alpha", where), f"{where}.instance_alpha", 1)
    return np.dstack((colour_of(image, instance, where), clipped(alpha)))


def keys_of(annotation: Annotation) -> list[str]:
    """Names of the instances from the bottom up: as they are numbered where they all are, else as they stand."""
    keys = list(field(annotation, "instances"))
    numbers = [key.rsplit("_", 1)[-1] for key in keys]
    return sorted(keys, key=lambda key: int(key.rsplit("_", 1)[-1])) if all(map(str.isdigit, numbers)) else keys


def colour_of(image: Picture, part: Annotation, where: str) -> Picture:
    """The colours of one layer."""
    own = fitting(image, field(part, "original_image_mask", where), f"{where}.original_image_mask", 1, 3)
    delta = fitting(image, field(part, "inpainted_delta", where), f"{where}.inpainted_delta", 1, 3)
    if "instance_mask" in part:
        own = own * fitting(image, part["instance_mask"], f"{where}.instance_mask", 1, 3)
    kind = np.result_type(own, delta, np.int32)
    return clipped(image * own.astype(kind) + delta.astype(kind))


def field(part: Annotation, name: str, where: str = "") -> Any:
    """A field that has to be there."""
    if not isinstance(part, Mapping) or name not in part:
        raise UserError(f"annotation: field {where + '.' if where else ''}{name} is missing")
    return part[name]


def fitting(image: Picture, array: Any, where: str, *channels: int) -> np.ndarray:
    """An array of the picture's height and width with one of some numbers of channels."""
    height, width = image.shape[:2]
    full = np.asarray(array)[..., None] if np.ndim(array) == 2 else np.asarray(array)
    if full.ndim != 3 or full.dtype.kind not in "buif" or full.shape[2] not in channels:
        raise UserError(f"annotation: field {where} has shape {np.shape(array)} of {full.dtype}; a picture is wanted")
    if full.shape[:2] != (height, width):
        found = f"{full.shape[1]} x {full.shape[0]}"
        raise UserError(f"base picture: {width} x {height} px; field {where} of the annotation wants {found}")
    return full


def clipped(values: np.ndarray) -> UInt8[np.ndarray, "h w c"]:
    """To 0..255."""
    steps: UInt8[np.ndarray, "h w c"] = np.clip(values, 0, 255).astype(np.uint8)
    return steps


def encode_released(annotation: Annotation) -> bytes:
    """A released file."""
    return zlib.compress(pickle.dumps(annotation, protocol=4), 6)


def write(annotation: Annotation, folder: Path, name: str) -> None:
    """Write `<name>.p.zl` and its twin."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}{RELEASED}").write_bytes(encode_released(annotation))
    arrays: dict[str, np.ndarray] = {}
    words = json.dumps(_apart(annotation, "", arrays), indent=1)
    (folder / f"{name}{JSON}").write_text(words + "\n")
    np.savez_compressed(folder / f"{name}{ARRAYS}", allow_pickle=False, **arrays)


def _apart(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value with its arrays moved to `arrays` under the names of their fields."""
    match value:
        case Mapping():
            return {key: _apart(inner, f"{where}.{key}" if where else key, arrays) for key, inner in value.items()}
        case np.ndarray():
            arrays[where] = value
            return {STORED: where}
        case _:
            return value


def read(path: Path) -> dict[str, Any]:
    """An annotation from `<id>.p.zl`, `<id>.annotation.json` or `<id>`: the twin, unless the pickle is asked for."""
    try:
        if path.name.endswith(RELEASED):
            return checked(unpickle.loads(path.read_bytes()), path)
        stem = path.with_name(path.name.removesuffix(JSON))
        with np.load(stem.with_name(stem.name + ARRAYS), allow_pickle=False) as arrays:
            words = json.loads(stem.with_name(stem.name + JSON).read_text())
            return checked(_together(words, arrays), path)
    except unpickle.RefusedError as error:
        raise UserError(f"annotation {path}: {error}") from error
    except OSError as error:
        raise UserError(f"annotation {error.filename or path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"annotation {path}: {error}; a JSON file and the NPZ file beside it are wanted") from error


def _together(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if list(value) == [STORED]:
        return arrays[value[STORED]]
    return {key: _together(inner, arrays) for key, inner in value.items()}


def checked(value: Any, path: Path) -> dict[str, Any]:
    """An annotation is a dict."""
    if not isinstance(value, dict):
        raise UserError(f"annotation {path}: holds a {type(value).__name__}; a dict is wanted")
    return value


def captions(annotation: Annotation) -> Sequence[str]:
    """The short caption of every layer from the bottom up; empty where there is none."""
    instances = field(annotation, "instances")
    parts = [field(annotation, "background"), *(instances[key] for key in keys_of(annotation))]
    return [str(part.get("blip2", "")) for part in parts]
