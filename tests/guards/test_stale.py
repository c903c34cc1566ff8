"""A changed module makes the stages that import it stale, and no other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dvc.dependency import Dependency
from dvc.repo import Repo

from stages import closure
from tests.smoke import run

pytestmark = pytest.mark.slow

Pair = tuple[str, str]


def closures(repo: Repo) -> dict[Pair, Dependency]:
    """The dependency of every stage on the links to its modules, with the hash that dvc.lock holds."""
    found = [dep for stage in repo.index.stages for dep in stage.deps if "stages/closures/" in str(dep)]
    return {(Path(dep.fs_path).parent.name, Path(dep.fs_path).name): dep for dep in found}


@contextmanager
def changed(path: Path) -> Iterator[None]:
    """The file with another last line."""
    text = path.read_text()
    path.write_text(text + "# another line\n")
    yield
    path.write_text(text)


def test_each_module_makes_exactly_its_stages_stale(project: Path) -> None:
    with Repo(str(project)) as repo:
        stages = closures(repo)
        modules = {pair: closure.modules(*pair) for pair in stages}
        assert not any(dep.changed_checksum() for dep in stages.values())
        for module in sorted(set().union(*modules.values())):
            with changed(project / module):
                stale = {pair for pair, dep in stages.items() if dep.changed_checksum()}
            assert stale == {pair for pair in stages if module in modules[pair]}, module


@pytest.mark.parametrize("module", ["stages/train.py", "stages/fetch.py", "systems/parts/errors.py"])
def test_dvc_status_says_the_same(project: Path, module: str) -> None:
    with changed(project / module):
        status = json.loads(run(project, "dvc", "status", "--json").stdout)
    named = {tuple(stage.split(":")[-1].split("@")) for stage in status}
    with Repo(str(project)) as repo:
        expected = {pair for pair in closures(repo) if Path(module) in closure.modules(*pair)}
    assert named == {pair if pair[0] != pair[1] else pair[:1] for pair in expected}


def test_nothing_that_ran_is_outside_the_closure(smoke: Path) -> None:
    """Packages of tracks are imported by every stage to find systems; `tests/matrix` keeps them empty."""
    ran: dict[Pair, set[Path]] = defaultdict(set)
    for path in (smoke.parent / "record").iterdir():
        record = json.loads(path.read_text())
        if record["arguments"]:
            stage, name = (record["arguments"] * 2)[:2]
            ran[stage, name] |= {Path(module) for module in record["modules"]}
    with Repo(str(smoke)) as repo:
        assert set(ran) == set(closures(repo))
    for pair, modules in ran.items():
        outside = modules - closure.modules(*pair)
        assert {path for path in outside if path.name != "__init__.py" or len(path.parts) != 3} == set(), pair
