"""Every command and every link of the documents works."""

from __future__ import annotations

import ast
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from PIL import Image

from flows import scale
from flows.resources import Request, request
from stages.settings import read_params
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
    "python -m flows.sweep --name rates --range image_layers.train.diffdecompose.optimisation.lr=1e-4..1e-2:log "
    "--trials 20 --metric reports/evaluate/diffdecompose/metrics.json:score": "hours; tests/flows/test_sweep.py",
    "python -m flows.dashboard": "a server that runs until it is stopped",
    "python -m flows.worker --pool elsewhere": "a worker that runs until it is stopped; tests/flows/test_remote.py",
    "python -m flows.reproduce --workers elsewhere": "needs such workers; tests/flows/test_remote.py",
    "python -m dask scheduler --port 8786": "a server that runs until it is stopped; tests/stages/test_cluster.py",
    "python -m dask worker tcp://127.0.0.1:8786 --nworkers -1 --nthreads 1": "as its scheduler",
    "source .venv/bin/activate": "the environment these tests run in",
    ".venv/bin/pre-commit install": "writes to the repository's hooks; the configuration is checked below",
}


FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


ADDING = "docs/adding-a-system.md"
"""Its blocks belong together: tests/docs/test_adding_a_system.py follows the whole page."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of a language, and the name of its page."""
    return [
        (textwrap.dedent(block), page.relative_to(PROJECT).as_posix())
        for page in PAGES
        for _, found, block in FENCED.findall(page.read_text())
        if found == language
    ]


def commands(block: str) -> list[str]:
    """The command lines of a bash block without their comments."""
    lines = (" ".join(line.split(" #")[0].split()) for line in block.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def scripts() -> dict[str, str]:
    """What is tried here of every bash block, and the page that has it first."""
    found: dict[str, str] = {}
    for block, page in blocks("bash"):
        if lines := [line for line in commands(block) if line not in ELSEWHERE]:
            found.setdefault("\n".join(lines), page)
    return found


SCRIPTS = scripts()
COMMANDS = list(dict.fromkeys(line for block, _ in blocks("bash") for line in commands(block)))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_commands_of_a_block_run_one_after_another(project: Path, script: str) -> None:
    Image.effect_noise((96, 64), 60).convert("RGB").save(project / "photo.png")
    ended = run(project, "bash", "-euc", script)
    assert ended.returncode == 0, f"{SCRIPTS[script]}: {script}\n{ended.stdout[-1500:]}{ended.stderr[-1500:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_can_be_tried_stands_in_a_block_that_is(page: Path) -> None:
    text = page.read_text()
    assert {language for _, language, _ in FENCED.findall(text)} <= {"bash", "python", "yaml"}
    assert [line for line in FENCED.sub("", text).splitlines() if line.startswith(("    ", "\t", "```"))] == []


@pytest.mark.parametrize(("block", "page"), blocks("python"))
def test_python_is_well_formed(block: str, page: str) -> None:
    assert ast.parse(block, page).body


@pytest.mark.parametrize(("block", "page"), [(block, page) for block, page in blocks("yaml") if page != ADDING])
def test_parameters_are_there_and_stages_well_formed(block: str, page: str) -> None:
    values = yaml.safe_load(block)
    if "stages" in values:
        COMPILED_MULTI_STAGE_SCHEMA(values)
        asked = [request(name, stage["meta"]) for name, stage in values["stages"].items()]
        assert asked != [Request()] * len(asked)
    else:
        named = dict(scale.leaves(values))
        assert named
        assert scale.merged(read_params(PROJECT / "params.yaml"), named)


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
