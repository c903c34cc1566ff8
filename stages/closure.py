"""The import closure of every stage, as folders of links that DVC depends on.

DVC takes no list in a templated stage (treeverse/dvc#7151), so `stages/closures/<stage>/<name>/` holds one relative
link for every module of this project that the stage imports, at any depth, also inside functions. DVC hashes what the
links point to: a change of any such module makes exactly the stages that use it stale.

    python -m stages.closure     # make the links anew, after adding or removing an import
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stages import discover, settings
from systems.parts.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("stages", "systems")
LINKS = Path("stages/closures")
REPORT = "report"
"""The one stage that belongs to no system; it imports what each says it was published with."""


def pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every (stage, system) that params.yaml has a block for."""
    kinds = {path.stem for path in (PROJECT / "stages").glob("*.py")}
    for top, inner in values.items():
        if not isinstance(inner, Mapping):
            continue
        blocks = {top: inner} if top in kinds else inner
        for stage, systems in blocks.items():
            if isinstance(systems, Mapping):  # not so in a block of settings, as `dask`
                yield from ((stage, name) for name in systems)


def modules(stage: str, name: str) -> set[Path]:
    """Source files, relative to the project, that running `stage` of `name` may import."""
    systems = discover.walk()
    if stage == REPORT:
        entries = [f"{system.module}.published" for system in systems.values()]
    else:
        entries = [systems[name].module_for(stage)]
    waiting = {path for entry in ("stages.__main__", f"stages.{stage}", *entries) for path in _files(entry)}
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= imported(path) - seen
    return seen


@cache
def imported(path: Path) -> frozenset[Path]:
    """Files of this project that the import statements of one file name, those inside functions included."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in names:
            found.update(_files(module))
    return frozenset(found)


def _files(module: str) -> Iterator[Path]:
    """The file of a module and the `__init__` of every package above it, as far as they are this project's."""
    parts = module.split(".")
    if parts[0] not in ROOMS:
        return
    for depth in range(1, len(parts) + 1):
        base = Path(*parts[:depth])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if (PROJECT / path).is_file():
                yield path


def wanted(stage: str, name: str) -> dict[str, str]:
    """Links of one stage: file name to relative target."""
    up = "../" * (len(LINKS.parts) + 2)
    return {".".join(path.with_suffix("").parts) + ".py": up + path.as_posix() for path in modules(stage, name)}


def present(stage: str, name: str) -> dict[str, str]:
    """Links of one stage as they stand on disk."""
    folder = PROJECT / LINKS / stage / name
    return {link.name: str(link.readlink()) for link in folder.iterdir()} if folder.is_dir() else {}


def require_fresh(stage: str, name: str) -> None:
    """Refuse to run a stage whose links do not match its imports: DVC would miss changes."""
    if present(stage, name) != wanted(stage, name):
        raise UserError(f"{LINKS / stage / name}: links do not match the imports; run: python -m stages.closure")


def main() -> None:
    """Make every folder of links anew."""
    values = settings.read_params(PROJECT / "params.yaml")
    shutil.rmtree(PROJECT / LINKS, ignore_errors=True)
    for stage, name in (*pairs(values), (REPORT, REPORT)):
        folder = PROJECT / LINKS / stage / name
        folder.mkdir(parents=True)
        for link, target in wanted(stage, name).items():
            (folder / link).symlink_to(target)


if __name__ == "__main__":
    main()
