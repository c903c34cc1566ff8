"""Training by the stage's trainer: what stops goes on, what ended starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import closure
from stages.execute import perform
from stages.layout import Layout
from stages.training import fit
from systems.parts.errors import UserError

PLAN = Layout("train", output="models/{name}", reports=True)
NET = '''"""A system whose network has one weight and writes down every step it takes."""

from pathlib import Path

import lightning
import torch
from pydantic import Field

from systems.parts.errors import UserError
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches


class Params(Strict):
    """Parameters of the toy."""

    steps: int = Field(gt=0, description="steps")


class Net(lightning.LightningModule):
    """One weight that is drawn to the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        """Note the step; stop where the file `stop_at` says so."""
        stop = Path("stop_at")
        if stop.is_file() and self.global_step == int(stop.read_text()):
            raise UserError("stopped")
        with Path("taken").open("a") as file:
            file.write(f"{self.global_step} ")
        loss = (self.weight - batch["x"]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        """Momentum, so that a resumed run needs more than the weight."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def train(run: Run[Params]) -> None:
    """Fit the weight and write it."""
    net, steps = Net(), run.params.steps
    batches = StepBatches({"x": torch.arange(12.0)}, 3, steps, 0)
    run.fit(net, batches, Training(steps=steps, batch=3, accelerator="cpu", checkpoint_every=2), "net")
    (run.output / "weight").write_text(repr(net.weight.item()))
'''


@pytest.fixture
def net(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy project with a system that trains for six steps and logs each."""
    monkeypatch.setattr("stages.training.LOG_EVERY", 1)
    (toy / "systems" / "toys" / "toy.py").write_text(NET)
    choose(toy, 6)
    closure.imported.cache_clear()
    closure.main()
    return toy


def choose(project: Path, steps: int) -> None:
    (project / "params.yaml").write_text(f"toys:\n  train:\n    toy:\n      steps: {steps}\n")


def steps_of_a_run(project: Path, stop_at: int | None = None) -> list[int]:
    """Steps that one run of the stage takes, which ends well unless it is stopped."""
    (project / "taken").write_text("")
    if stop_at is None:
        (project / "stop_at").unlink(missing_ok=True)
        perform(PLAN, "toy", fit=fit)
    else:
        (project / "stop_at").write_text(str(stop_at))
        with pytest.raises(UserError, match="stopped"):
            perform(PLAN, "toy", fit=fit)
    return [int(step) for step in (project / "taken").read_text().split()]


def checkpoints(project: Path) -> set[Path]:
    return set((project / ".work" / "runs").rglob("*.ckpt"))


def test_a_run_that_ended_well_leaves_no_checkpoint_and_the_next_starts_anew(net: Path) -> None:
    assert steps_of_a_run(net) == [0, 1, 2, 3, 4, 5]
    weight = (net / "models" / "toy" / "weight").read_text()
    assert list((net / ".work" / "runs").iterdir()) == []
    assert steps_of_a_run(net) == [0, 1, 2, 3, 4, 5]
    assert (net / "models" / "toy" / "weight").read_text() == weight


def test_a_run_that_stopped_goes_on_from_its_checkpoint_and_ends_the_same(net: Path) -> None:
    steps_of_a_run(net)
    weight = (net / "models" / "toy" / "weight").read_text()
    curve = (net / "reports" / "train" / "toy" / "plots" / "net_loss.csv").read_text()
    assert [line.split(",")[0] for line in curve.splitlines()] == ["step", *"012345"]
    assert steps_of_a_run(net, stop_at=5) == [0, 1, 2, 3, 4]
    assert len(checkpoints(net)) == 1
    assert steps_of_a_run(net) == [4, 5]
    assert (net / "models" / "toy" / "weight").read_text() == weight
    assert (net / "reports" / "train" / "toy" / "plots" / "net_loss.csv").read_text() == curve
    assert checkpoints(net) == set()


def test_checkpoints_of_other_parameters_are_neither_used_nor_removed(net: Path) -> None:
    steps_of_a_run(net, stop_at=3)
    stopped = checkpoints(net)
    choose(net, 4)
    assert steps_of_a_run(net) == [0, 1, 2, 3]
    assert checkpoints(net) == stopped
    choose(net, 6)
    assert steps_of_a_run(net) == [2, 3, 4, 5]
