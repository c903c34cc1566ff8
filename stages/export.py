"""export: layers that lie in stored data sets, as files that other programs open.

python -m stages.export alphablend --rows 0:4 --format psd --out samples/
python -m stages.export diffdecompose --rows 0:4 --format ora --out found/
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages import discover, settings
from stages.execute import command
from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.stack import Stack
from systems.parts.whole import whole

DATA, LAYERS = Path("data"), Path("data/layers")


def main(arguments: Sequence[str]) -> None:
    """Write the samples of `--rows` below `--out`: `<id>.<format>`, or a folder `<id>` of PNGs."""
    parser = argparse.ArgumentParser("python -m stages.export", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="system with stored layers, as alphablend")
    parser.add_argument("--rows", default="0:4", help="first row and the one after the last, as 0:4")
    parser.add_argument("--split", default="test", help="split of the data set, as test or train")
    parser.add_argument("--format", choices=files.FORMATS, default="png", help="file format; png makes folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    given = parser.parse_args(arguments)
    if given.out.exists():
        raise UserError(f"--out {given.out}: exists already; name another folder or remove it")
    count = 0
    with whole(given.out) as (growing,):
        growing.mkdir()
        for name, stack in stacks(given.name, given.split, rows_of(given.rows)):
            files.write(stack, growing / (name if given.format == "png" else f"{name}.{given.format}"), given.format)
            count += 1
        if not count:
            raise UserError(f"--rows {given.rows}: split {given.split} of {given.name} has no such rows")
    print(f"{count} samples in {given.out}")


def rows_of(text: str) -> range:
    """The rows of `first:end`."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(f"--rows {text}: two whole numbers, as 0:4, the first the smaller, are wanted")
    return range(int(match[1]), int(match[2]))


def stacks(name: str, split: str, rows: range) -> Iterator[tuple[str, Stack]]:
    """Identifier and layers of every row, by function `stacks` of the system's module `stacks`."""
    found = discover.system(name)
    module = f"{found.module}.stacks"
    if not importlib.util.find_spec(found.module).submodule_search_locations or not importlib.util.find_spec(module):  # type: ignore[union-attr]
        raise UserError(f"system '{name}' stores no layers of pictures")
    data, layers = folders(found)
    for folder in filter(None, (data, layers)):
        if not folder.is_dir():
            raise UserError(f"folder {folder}: does not exist; run its stage first")
    made: Iterator[tuple[str, Stack]] = importlib.import_module(module).stacks(data, layers, split, rows)
    return made


def folders(found: discover.Found) -> tuple[Path, Path | None]:
    """The data set of a system, and its layers; a system that takes nothing apart is its own data set."""
    track = settings.read_params(Path("params.yaml")).get(found.track, {})
    block = track.get("decompose", {}).get(found.name)
    return (DATA / block["data"], LAYERS / found.name) if block else (DATA / found.name, None)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
