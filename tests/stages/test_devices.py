"""A stage that trains in two processes: what one process gives, and no trace of the second."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import Field

from stages import closure, devices
from systems.parts.errors import UserError
from systems.parts.run import Strict, Training
from tests.smoke import run

NET = '''"""A system that fits one network twice, by losses with noise."""

import json
import os
import signal
from pathlib import Path

import lightning
import numpy as np
import torch

from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches, of_all, own, step_generator


class Params(Strict):
    """Two fits."""

    first: Training
    second: Training


class Net(lightning.LightningModule):
    """Two weights drawn to noisy samples, in float64: sums in another order differ in the last digits alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def training_step(self, batch, index):
        """Squared distance; the first process dies once, on the step that the file `stop_at` says."""
        Path(f"process{self.global_rank}").write_text(str(os.getpid()))
        stop = Path("stop_at")
        if self.global_rank == 0 and stop.is_file() and self.global_step == int(stop.read_text()):
            stop.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        x = batch["x"]
        noise = own(torch.randn(of_all(len(x)), 2, generator=step_generator(0, self.global_step), dtype=torch.float64))
        loss = (self.weight * x + noise - 1).square().mean()
        self.log("loss", loss)
        return loss

    def sample_picture(self):
        """Grey."""
        return np.full((2, 2, 3), 128, np.uint8)

    def configure_optimizers(self):
        """Momentum, so that a resumed run needs more than the weights."""
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def train(run: Run[Params]) -> None:
    """Fit twice, with something to find after each fit that every process has to know."""
    net, samples = Net(), torch.linspace(0, 1, 24, dtype=torch.float64).reshape(12, 2)
    for label, training in (("first", run.params.first), ("second", run.params.second)):
        run.fit(net, StepBatches({"x": samples}, training.batch, training.steps, 0), training, label)
        run.metric(f"{label} weight", net.weight[0].item())
        net.weight.data += list(run.track([0.5], label))[0]
        with Path("passed").open("a") as file:
            file.write(f"{label}{net.global_rank} ")
    (run.output / "weights.json").write_text(json.dumps(net.weight.tolist()))
'''
FIT = {"steps": 40, "batch": 4, "accelerator": "cpu", "checkpoint_every": 10, "sample_every": 20}
TWO = {**FIT, "devices": 2, "strategy": "ddp"}


class Nested(Strict):
    """Parameters that hold trainings at any depth."""

    alone: Training
    several: Mapping[str, tuple[Training, ...]] = Field(default_factory=dict)
    name: str = "name"


def training(**values: object) -> Training:
    return Training.model_validate({**FIT, **values})


def test_trainings_are_found_at_any_depth() -> None:
    params = Nested(alone=training(devices=2), several={"a": (training(devices=2, batch=8), training(devices=2))})
    assert [one.batch for one in devices.trainings(params)] == [4, 8, 4]
    assert devices.processes(params) == 2
    assert devices.processes(Strict()) == 1


def test_fits_on_different_devices_are_refused() -> None:
    devices.check(Nested(alone=training(devices=2), several={"a": (training(devices=2, batch=8),)}))
    with pytest.raises(UserError, match=r"parameters devices x num_nodes = 1 x 2, 2 x 1: the same are wanted"):
        devices.check(Nested(alone=training(devices=2), several={"a": (training(num_nodes=2),)}))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"^parameter batch = 4: a multiple of devices x num_nodes \(6\) is wanted$"):
        training(devices=3, num_nodes=2)


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_a_strategy_without_a_command_of_its_own_is_refused(strategy: str) -> None:
    with pytest.raises(UserError, match=rf"^parameter strategy = {strategy}: one that starts the command again"):
        training(strategy=strategy)


@pytest.mark.parametrize("variable", devices.RANKS)
def test_a_helper_is_any_process_but_the_first(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in devices.RANKS:
        monkeypatch.delenv(name, raising=False)
    many, one = Nested(alone=training(devices=2)), Nested(alone=training())
    assert not devices.is_helper(many)
    monkeypatch.setenv(variable, "0")
    assert not devices.is_helper(many)
    monkeypatch.setenv(variable, "1")
    assert devices.is_helper(many)
    assert not devices.is_helper(one)


@pytest.fixture
def net(toy: Path, database: Path) -> Path:
    """The toy project with a system that fits twice, and a database of records."""
    (toy / "systems" / "toys" / "toy.py").write_text(NET)
    shutil.copy(database, toy)
    (toy / "reports").mkdir()
    return toy


def train(project: Path, fit: Mapping[str, object]) -> int:
    """Exit code of `python -m stages train toy`."""
    (project / "params.yaml").write_text(json.dumps({"toys": {"train": {"toy": {"first": fit, "second": fit}}}}))
    closure.imported.cache_clear()
    closure.main()
    (project / "passed").write_text("")
    ended = run(project, "python", "-m", "stages", "train", "toy", MLFLOW_TRACKING_URI="")
    print(ended.stderr)
    return ended.returncode


def results(project: Path) -> dict[str, list[float]]:
    """Weights, metrics and curves by file."""
    plots = project / "reports" / "train" / "toy" / "plots"
    metrics = json.loads((plots.parent / "metrics.json").read_text())
    curves = {path.name: [float(word) for word in _words(path)] for path in plots.glob("*.csv")}
    weights = json.loads((project / "models" / "toy" / "weights.json").read_text())
    return {"weights": weights, "metrics": list(metrics.values()), **curves}


def _words(curve: Path) -> list[str]:
    return [word for line in curve.read_text().splitlines()[1:] for word in line.split(",")]


def tree(project: Path) -> set[str]:
    """Every file that a run leaves."""
    paths = (path for folder in ("models", "reports", ".work") for path in (project / folder).rglob("*"))
    return {path.relative_to(project).as_posix() for path in paths if path.is_file()}


def tracked(project: Path) -> list[tuple[str]]:
    """Outcomes of the tracked runs of the stage."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        return database.execute("select status from runs where name = 'train@toy'").fetchall()


def passed(project: Path) -> list[str]:
    """Which process has passed which fit."""
    return sorted((project / "passed").read_text().split())


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_leave_what_one_leaves(net: Path) -> None:
    assert train(net, FIT) == 0
    alone, left = results(net), tree(net)
    assert passed(net) == ["first0", "second0"]
    assert len(alone["first_loss.csv"]) == 4
    assert train(net, TWO) == 0
    assert passed(net) == ["first0", "first1", "second0", "second1"]
    assert results(net).keys() == alone.keys()
    for name, values in results(net).items():
        assert values == pytest.approx(alone[name], rel=1e-9), name
    assert tree(net) == left
    assert tracked(net) == [("FINISHED",), ("FINISHED",)]


@pytest.mark.slow
def test_two_processes_go_on_from_their_checkpoint_after_a_kill(net: Path) -> None:
    assert train(net, TWO) == 0
    whole = results(net)
    shutil.rmtree(net / "models")
    (net / "stop_at").write_text("25")
    assert train(net, TWO) == -signal.SIGKILL
    assert passed(net) == []
    helper = int((net / "process1").read_text())
    while alive(helper):  # it ends by itself, its partner gone; a hang is pytest's time-out
        time.sleep(0.1)
    assert not (net / "models" / "toy").exists()
    assert len(list((net / ".work" / "runs").rglob("*.ckpt"))) == 1
    assert train(net, TWO) == 0
    assert results(net) == whole
    assert list((net / ".work" / "runs").iterdir()) == []
