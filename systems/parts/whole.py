"""Outputs that appear whole or not at all: they grow beside their place and are renamed when all is well."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from systems.parts.errors import UserError

PARTIAL = ".partial"


def partial(path: Path) -> Path:
    """Where an output grows before it is renamed to `path`: a hidden neighbour, so that the rename is atomic."""
    return path.parent / f".{path.name}{PARTIAL}"


@contextmanager
def whole(*paths: Path) -> Iterator[list[Path]]:
    """Where to write files or folders `paths` inside; they take their places at the end, and nothing stays on an error.

    Raises `UserError` naming the one that cannot be written.
    """
    growing = [partial(path) for path in paths]
    try:
        for path in growing:
            remove(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        yield growing
        for new, old in zip(growing, paths, strict=True):
            place(new, old)
    except OSError as error:
        named = re.sub(rf"\.([^/]+){re.escape(PARTIAL)}", r"\1", str(error.filename or paths[0]))
        raise UserError(f"output {named}: cannot be written ({error.strerror or error})") from error
    finally:
        for path in growing:
            remove(path)


def place(new: Path, old: Path) -> None:
    """Rename `new` to `old`, taking the place of what stood there; raises `UserError` where that cannot be done."""
    try:
        old.parent.mkdir(parents=True, exist_ok=True)
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        new.rename(old)
    except OSError as error:
        raise UserError(f"output {old}: cannot be written ({error.strerror})") from error


def remove(path: Path) -> None:
    """Remove a file or folder as far as that can be done: tidying up must not hide why it is needed."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()
