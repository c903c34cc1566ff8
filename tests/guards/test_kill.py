"""`kill -9` in the middle of training, then the same command again: the weights of an uninterrupted run."""

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


def weights(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_at_first_checkpoint(project: Path, command: tuple[str, ...]) -> None:
    """Start `command` and kill it and its children, without a chance to clean up, once a checkpoint stands."""
    process = subprocess.Popen(command, cwd=project, env=environment(), start_new_session=True)
    while not any((project / ".work").rglob("*.ckpt")):
        assert process.poll() is None, "training ended before its first checkpoint"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("name", TRAINED)
def test_a_killed_training_ends_with_the_same_weights(project: Path, name: str) -> None:
    model = project / "models" / name
    whole = weights(model)
    assert any(path.endswith(".safetensors") for path in whole)
    shutil.rmtree(model)
    shutil.rmtree(project / ".work")

    command = ("python", "-m", "stages", "train", name)
    kill_at_first_checkpoint(project, command)
    assert not model.exists(), "killed too late to be in the middle"
    ended = run(project, *command)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert weights(model) == whole
