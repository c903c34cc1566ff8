"""`kill -9` in the middle of training, then the same command again: weights and curves of an uninterrupted run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from stages.closure import pairs
from stages.settings import read_params
from tests.smoke import PROJECT, environment, run

pytestmark = pytest.mark.slow

TRAINED = sorted(name for stage, name in pairs(read_params(PROJECT / "params.yaml")) if stage == "train")
MOST_KILLS = 4  # in the first phase and some of the later ones


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoints(project: Path) -> int:
    return sum(1 for _ in (project / ".work" / "runs").rglob("*.ckpt"))


def killed_at_a_new_checkpoint(project: Path, command: tuple[str, ...]) -> bool:
    """Start `command` and kill it and its children, without a chance to clean up, once one more checkpoint stands."""
    before = checkpoints(project)
    with (project / "killed.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=project, env=environment(), stderr=log, stdout=log, start_new_session=True
        )
    while process.poll() is None and checkpoints(project) <= before:
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_killed_again_and_again_ends_with_the_same_weights(project: Path, name: str) -> None:
    model, curves = project / "models" / name, project / "reports" / "train" / name
    whole, drawn = contents(model), contents(curves)
    assert any(path.endswith(".safetensors") for path in whole)
    shutil.rmtree(model)
    assert checkpoints(project) == 0, "a finished training left what the next one would go on from"

    command = ("python", "-m", "stages", "train", name)
    kills = 0
    while kills < MOST_KILLS and killed_at_a_new_checkpoint(project, command):
        assert not model.exists(), "killed too late to be in the middle"
        kills += 1
    assert kills, (project / "killed.log").read_text()[-3000:]
    ended = run(project, *command)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert contents(model) == whole
    assert contents(curves) == drawn
    assert checkpoints(project) == 0
