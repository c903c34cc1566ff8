"""Reads the members of package files as a stream; nothing is unpacked onto the disk."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stages.registries.packages import Unavailable

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error)


def members(path: Path, under: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file below the folder `under` of a .whl, .tgz or .deb, or of a folder.

    Names are relative to `under`. Absolute names, names with `..`, links and devices are left out.
    Raises `Unavailable` when the file is damaged.
    """
    reader = _folder if path.is_dir() else {".whl": _zip, ".tgz": _tar, ".deb": _deb}[path.suffix]
    try:
        for name, content in reader(path, under):
            yield name[len(under) :].lstrip("/"), content
    except DAMAGED as error:
        raise Unavailable(f"{path} is damaged ({error}); remove it and fetch again") from error


def safe_name(name: str) -> str | None:
    """The member's name without a leading `./`, or None when it points outside the archive."""
    parts = PurePosixPath(name).parts
    return None if name.startswith("/") or ".." in parts else "/".join(part for part in parts if part != ".")


def _folder(path: Path, under: str) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.joinpath(under).rglob("*")):
        if file.is_file():
            yield file.relative_to(path).as_posix(), file.read_bytes()


def _zip(path: Path, under: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            name = safe_name(item.filename)
            if name and not item.is_dir() and name.startswith(under):
                yield name, archive.read(item)


def _tar(path: Path, under: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:gz") as archive:
        yield from _regular(archive, under)


def _deb(path: Path, under: str) -> Iterator[tuple[str, bytes]]:
    if shutil.which("dpkg-deb") is None:
        raise Unavailable("dpkg-deb is not on this machine")
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        yield from _regular(archive, under)
    if process.returncode != 0:
        raise tarfile.ReadError(f"dpkg-deb ended with {process.returncode}")


def _regular(archive: tarfile.TarFile, under: str) -> Iterator[tuple[str, bytes]]:
    for item in archive:
        name = safe_name(item.name)
        if name and item.isreg() and name.startswith(under):
            content = archive.extractfile(item)
            yield name, content.read() if content else b""
