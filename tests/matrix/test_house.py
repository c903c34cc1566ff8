"""The house's own measures: sizes, words, imports that closures can follow, and what may be committed."""

from __future__ import annotations

import ast
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stages.discover import walk

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "stages", "systems")
MODULES = sorted(
    path.relative_to(PROJECT)
    for room in ROOMS
    for path in (PROJECT / room).rglob("*.py")
    if path.is_file() and not path.is_symlink()
)
FILES = [*MODULES, *(p.relative_to(PROJECT) for p in sorted((PROJECT / "tests").rglob("*.py")))]
LARGEST = 1 << 20  # bytes of a committed file
LARGEST_RELEASED = 16 << 20  # bytes of a released checkpoint

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parsed(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which may be as long as it needs."""
    first = node.body[0]
    words = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - words


def public(tree: ast.Module) -> Iterator[Definition]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (m for m in node.body if isinstance(m, Definition) and not m.name.startswith("_"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len((PROJECT / path).read_text().splitlines()) <= 400
    assert {node.name: lines(node) for node in functions(parsed(path)) if lines(node) > 60} == {}


def test_functions_are_short_as_a_whole() -> None:
    sizes = sorted(lines(node) for path in MODULES for node in functions(parsed(path)))
    assert statistics.median(sizes) <= 9
    assert sizes[int(len(sizes) * 0.9)] <= 30


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_public_name_is_documented(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree)
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_are_absolute_so_that_closures_see_them(path: Path) -> None:
    relative = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []


def test_a_track_itself_holds_only_words() -> None:
    """Every stage imports every track to find systems, so code there would belong to all closures."""
    for package in {found.module.rpartition(".")[0] for found in walk().values()}:
        (only,) = parsed(Path(*package.split("."), "__init__.py")).body
        assert isinstance(only, ast.Expr), package


def test_nothing_large_is_committed() -> None:
    names = subprocess.run(("git", "ls-files", "-z"), cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        path = PROJECT / name
        if path.is_file():
            limit = LARGEST_RELEASED if name.startswith("models/released/") else LARGEST
            assert path.stat().st_size <= limit, name


def test_the_lock_has_whatever_the_project_asks_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    pins = [line.split("==") for line in (PROJECT / "requirements.lock").read_text().splitlines() if "==" in line]
    versions = {name.lower(): version for name, version in pins}
    assert [str(one) for one in wanted if not satisfied(one, versions.get(one.name.lower()))] == []


def satisfied(wanted: Requirement, version: str | None) -> bool:
    return version is not None and wanted.specifier.contains(version, prereleases=True)
