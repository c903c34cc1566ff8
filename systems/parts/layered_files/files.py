"""One way to write and read a stack of layers, whatever the format.

`write` makes the file or folder whole or not at all; a file that cannot be read ends in one line with its name.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from systems.parts.errors import UserError
from systems.parts.layered_files import folder
from systems.parts.layered_files.stack import Stack
from systems.parts.whole import whole

Format = Literal["png", "ora", "psd", "tiff"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[str, Format] = {"": "png", ".ora": "ora", ".psd": "psd", ".tif": "tiff", ".tiff": "tiff"}
"""Endings of names and the format they mean; a folder has none."""
BROKEN = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers of the formats raise over damaged or hostile bytes."""


def write(stack: Stack, path: Path, kind: Format) -> None:
    """Write `stack` to `path`, a file of format `kind` or, for png, a folder; takes the place of an older one."""
    if kind == "png":
        own = not path.exists() or (path / folder.CONTENTS).is_file() or (path.is_dir() and not any(path.iterdir()))
    else:
        own = not path.is_dir()
    if not own:
        raise UserError(f"output {path}: holds something else; name a new {'folder' if kind == 'png' else 'file'}")
    with whole(path) as (growing,):
        _module(kind).write(stack, growing)


def read(path: Path) -> Stack:
    """The stack in a file, or in a folder of PNGs; raises `UserError` where there is none."""
    kind: Format | None = "png" if path.is_dir() else ENDINGS.get(path.suffix.lower() or ".")
    if kind is None:
        raise UserError(f"file {path}: a folder or an ending of {', '.join(filter(None, ENDINGS))} is wanted")
    try:
        stack: Stack = _module(kind).read(path)
    except BROKEN as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"file {path}: not layers as {kind}, or damaged ({words})") from error
    return stack


def _module(kind: Format) -> ModuleType:
    """The module of a format; imported when one is asked for, as most of what imports this one asks for none."""
    from systems.parts.layered_files import openraster, psd, tiff

    modules: dict[Format, ModuleType] = {"png": folder, "ora": openraster, "psd": psd, "tiff": tiff}
    return modules[kind]
