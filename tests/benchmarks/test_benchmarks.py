"""Every benchmark still runs; what it measures is not looked at here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smoke import PROJECT, run

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in (PROJECT / "benchmarks").glob("*.py"))


def kept(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "reports" / "benchmarks").glob("*")}


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_prints_its_figures_and_keeps_none(project: Path, name: str) -> None:
    before = kept(project)
    ended = run(project, "python", f"benchmarks/{name}.py", "--quick")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert any(letter.isdigit() for letter in ended.stdout)
    assert kept(project) == before
