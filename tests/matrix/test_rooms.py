"""The import table of the house, read from the import statements: flows → stages → systems → systems/parts."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages import closure, discover
from stages.settings import read_params

PROJECT = closure.PROJECT
TRAINING = {"torch", "lightning"}
FORBIDDEN = {
    "systems": {"prefect", "dvc", "mlflow", "great_expectations", "stages", "flows"},
    "stages": {"prefect", "flows"},
    "flows": TRAINING | {"great_expectations"},
}
LIGHT = {"fetch", "synthesize", "validate", "report"}
"""Stages that never load torch: import time rules a pipeline of processes."""
MAY_LOAD_TORCH = {Path("stages/sources/weights.py")}
"""Reads pretrained weights out of a package, inside a function: nothing but torch can open them."""
PAIRS = sorted(pair for pair in closure.pairs(read_params(PROJECT / "params.yaml")) if pair[0] in LIGHT)


def files(room: str) -> list[Path]:
    """The modules of a room, links left out."""
    found = (path for path in (PROJECT / room).rglob("*.py") if not path.is_symlink())
    return sorted(path.relative_to(PROJECT) for path in found)


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def runs_later(node: ast.AST) -> bool:
    """Whether importing a module passes over what stands under `node`."""
    return is_function(node) or is_for_types(node)


def nothing(_node: ast.AST) -> bool:
    return False


Skip = Callable[[ast.AST], bool]


def statements(node: ast.AST, skip: Skip) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements under a node, but for what stands under nodes that `skip` names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not skip(child):
            yield from statements(child, skip)


def imports(source: str, skip: Skip = nothing) -> set[str]:
    """Full names that a module imports, as `lightning.Trainer`."""
    found = set()
    for statement in statements(ast.parse(source), skip):
        base = f"{statement.module}." if isinstance(statement, ast.ImportFrom) else ""
        found |= {base + alias.name for alias in statement.names}
    return found


def of(path: Path, skip: Skip = nothing) -> set[str]:
    return imports((PROJECT / path).read_text(), skip)


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def home(path: Path) -> tuple[str, ...]:
    """The system that a file of `systems/` belongs to: track and name, or ("parts",) for building blocks."""
    inner = path.with_suffix("").parts[1:]
    return inner[:1] if inner[:1] == ("parts",) else inner[:2]


def strangers(path: Path, names: set[str]) -> set[str]:
    """What a file of `systems/` imports of other systems."""
    used = {tuple(name.split(".")[1:]) for name in names if name.startswith("systems.")}
    own = home(path)
    return {".".join(name) for name in used if name[:1] != ("parts",) and name[: len(own)] != own}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_nothing_from_above(room: str) -> None:
    skip = runs_later if room == "flows" else nothing
    found = {path: tops(of(path, skip)) & FORBIDDEN[room] for path in files(room)}
    assert files(room)
    assert {path: names for path, names in found.items() if names} == {}


def test_a_system_imports_no_other_system_and_parts_import_none() -> None:
    found = {path: strangers(path, of(path)) for path in files("systems")}
    assert {path: names for path, names in found.items() if names} == {}


def test_systems_do_not_touch_the_trainer() -> None:
    found = [path for path in files("systems") if "Trainer" in mentioned(ast.parse((PROJECT / path).read_text()))]
    assert found == []


def mentioned(tree: ast.AST) -> set[str]:
    """Names a module imports or reaches through an attribute."""
    reached = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return reached | {name.rsplit(".", 1)[-1] for name in imports(ast.unparse(tree))}


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_light_stages_name_torch_nowhere_but_where_weights_are_read(stage: str, name: str) -> None:
    for path in closure.modules(stage, name):
        skip = runs_later if path in MAY_LOAD_TORCH else is_for_types
        assert not tops(of(path, skip)) & TRAINING, f"{path} loads the training stack"


def test_importing_light_stages_loads_no_torch() -> None:
    entries = {discover.walk()[name].module_for(stage) for stage, name in PAIRS}
    wanted = sorted(entries | {f"stages.{stage}" for stage in LIGHT})
    code = f"import sys, {', '.join(wanted)}\nprint(sorted({TRAINING!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("source", "skip", "wanted"),
    [
        ("def f():\n import torch", is_for_types, {"torch"}),
        ("def f():\n import torch", runs_later, set()),
        ("if TYPE_CHECKING:\n import torch", runs_later, set()),
        ("try:\n from torch import nn\nexcept ImportError: ...", runs_later, {"torch.nn"}),
        ("class A:\n import torch.nn as nn", runs_later, {"torch.nn"}),
    ],
)
def test_the_reader_of_imports_reads_right(source: str, skip: Skip, wanted: set[str]) -> None:
    assert imports(source, skip) == wanted


def test_strangers_are_seen() -> None:
    path = Path("systems/image_layers/one.py")
    names = {"systems.parts.run", "systems.image_layers.one.inner", "systems.image_layers.two", "torch"}
    assert strangers(path, names) == {"image_layers.two"}
    assert strangers(Path("systems/parts/dit.py"), names) == {"image_layers.one.inner", "image_layers.two"}
