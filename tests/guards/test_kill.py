"""`kill -9` in the middle of training, then the same command again: weights and curves of an uninterrupted run."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from stages.closure import pairs
from stages.settings import read_params
from tests.smoke import PROJECT, environment

pytestmark = pytest.mark.slow

TRAINED = sorted(name for stage, name in pairs(read_params(PROJECT / "params.yaml")) if stage == "train")
KILLER = Path(__file__).parent / "killer"
KILLS = (1, 2, 3)
"""Checkpoints that a run lives to write: it is killed in its first phase, again when it goes on, and in a later one."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoints(project: Path) -> int:
    return sum(1 for _ in (project / ".work" / "runs").rglob("*.ckpt"))


def ended(project: Path, command: tuple[str, ...], **variables: str) -> int:
    """Run `command` in a process group of its own; its exit code, once it and its children are gone."""
    variables = environment(**variables, TMPDIR=str(project.parent))  # Lightning moves a checkpoint from there
    with (project / "train.log").open("a") as log:
        return subprocess.run(
            command, cwd=project, env=variables, stderr=log, stdout=log, start_new_session=True, check=False
        ).returncode


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_killed_again_and_again_ends_with_the_same_weights(project: Path, name: str) -> None:
    model, curves = project / "models" / name, project / "reports" / "train" / name
    whole, drawn = contents(model), contents(curves)
    assert any(path.endswith(".safetensors") for path in whole)
    shutil.rmtree(model)
    assert checkpoints(project) == 0, "a finished training left what the next one would go on from"

    command = ("python", "-m", "stages", "train", name)
    for turn, count in enumerate(KILLS):
        code = ended(project, command, PYTHONPATH=str(KILLER), DELAMINATE_KILL=str(count))
        if turn and code == 0:  # it had less than `count` checkpoints left to write
            break
        assert code == -signal.SIGKILL, (project / "train.log").read_text()[-3000:]
        assert checkpoints(project) > 0
        assert not model.exists(), "killed too late to be in the middle"
    else:
        assert ended(project, command) == 0, (project / "train.log").read_text()[-3000:]
    assert contents(model) == whole
    assert contents(curves) == drawn
    assert checkpoints(project) == 0
