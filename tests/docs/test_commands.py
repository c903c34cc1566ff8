"""Every command and every link of the documents works."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.smoke import PROJECT, run

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]

ELSEWHERE = {
    "make run": "the pipeline at the small scale; CI runs the same stages by `make smoke`",
    "make test": "runs this test",
    "make test-fast": "a part of `make test`",
    "make smoke": "CI runs it beside the tests",
    "make env": "every other target needs it",
    "make lint": "CI runs it before the tests",
    "make types": "CI runs it before the tests",
    "make dashboard": "a server that runs until it is stopped",
    "python -m flows.reproduce --scale small": "the small scale; CI runs the same stages by `make smoke`",
    "python -m flows.dashboard": "a server that runs until it is stopped",
    "source .venv/bin/activate": "the environment these tests run in",
    ".venv/bin/pre-commit install": "writes to the repository's hooks; the configuration is checked below",
}


def commands() -> dict[str, str]:
    """Every command line in a bash block, and the page that names it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(line.split(" #")[0].split())
                if command and not command.startswith("#"):
                    found.setdefault(command, str(page.relative_to(PROJECT)))
    return found


COMMANDS = commands()


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_command_runs(project: Path, command: str) -> None:
    Image.effect_noise((96, 64), 60).convert("RGB").save(project / "photo.png")
    ended = run(project, "bash", "-ec", command)
    assert ended.returncode == 0, f"{COMMANDS[command]}: {command}\n{ended.stdout[-1500:]}{ended.stderr[-1500:]}"


def test_commands_tried_elsewhere_are_still_in_the_documents() -> None:
    assert set(ELSEWHERE) - set(COMMANDS) == set()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_knows_its_targets(command: str) -> None:
    assert subprocess.run((*command.split(), "-n"), cwd=PROJECT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_hooks_are_well_formed(tmp_path: Path) -> None:
    command = ("pre-commit", "validate-config", ".pre-commit-config.yaml")
    ended = run(PROJECT, *command, PRE_COMMIT_HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
