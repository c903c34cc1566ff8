"""Networks with linear tails: their loss, the full scale's architectures, and whole batches that can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from flows import scale
from stages.settings import read_params
from systems.analysis.neural_collapse.closed_form import Problem, solve
from systems.analysis.neural_collapse.geometry import MEASURES, Tail, objective
from systems.analysis.neural_collapse.network import (
    Architecture,
    CollapseTraining,
    Network,
    Optimisation,
    WholeBatches,
)
from systems.analysis.neural_collapse.synthesize import cifar
from systems.analysis.neural_collapse.train import Params
from systems.parts.errors import UserError

COUNTS = (3, 5)


def training(depth: int, architecture: Architecture, side: int = 6) -> CollapseTraining:
    torch.manual_seed(0)
    network = Network(architecture, 1, side, len(COUNTS), depth)
    problem = Problem(counts=COUNTS, depth=depth, width=architecture.width, lambda_w=1e-2, lambda_h=1e-3)
    return CollapseTraining(network, solve(problem), Optimisation(), 10, 4)


def batch(side: int = 6) -> dict[str, torch.Tensor]:
    labels = torch.tensor([0] * COUNTS[0] + [1] * COUNTS[1])
    return {"picture": torch.rand(len(labels), 1, side, side), "label": labels}


@pytest.mark.parametrize("depth", [1, 3])
def test_the_loss_is_the_objective_and_a_part_of_the_samples_stands_for_all(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, whole = training(depth, Architecture(width=7, layers=2)), batch()
    monkeypatch.setattr(CollapseTraining, "log", lambda *_: None)
    monkeypatch.setattr(CollapseTraining, "global_step", 4)
    found = float(module.training_step(whole, 0).detach())
    features = module.network.backbone(whole["picture"]).detach().T
    tail = Tail(features, whole["label"], [layer.detach() for layer in module.network.layers])
    assert found == pytest.approx(objective(tail, module.solution), rel=1e-5)
    assert module.history.shape == (3, len(MEASURES))
    assert (module.history[1] > 0).all()
    assert (module.history[[0, 2]] == 0).all()
    twice = {name: torch.cat([value, value]) for name, value in whole.items()}
    assert float(module.training_step(twice, 0).detach()) == pytest.approx(found, rel=1e-5)


def test_adam_gets_the_given_memory_and_its_rate_falls_at_the_drops() -> None:
    module = training(1, Architecture(width=7, layers=1))
    module.optimisation = Optimisation(lr=0.5, drops=(1, 3), beta2=0.75)
    found = cast("dict[str, Any]", module.configure_optimizers())
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    assert optimizer.defaults["betas"] == (0.9, 0.75)
    assert optimizer.defaults["weight_decay"] == 0
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.05, 0.05, 0.005])


def test_tails_start_orthogonal_without_bias() -> None:
    network = Network(Architecture(width=9, layers=1), 1, 6, 4, 3)
    assert [tuple(layer.shape) for layer in network.layers] == [(9, 9), (9, 9), (4, 9)]
    for layer in network.layers:
        torch.testing.assert_close(layer @ layer.T, torch.eye(len(layer)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", ["mlp", "resnet18", "vgg16"])
def test_every_backbone_of_the_full_scale_takes_a_step(backbone: str) -> None:
    root = Path(__file__).resolve().parents[4]
    values = scale.merged(read_params(root / "params.yaml"), scale.overrides(root, "full"))
    params = Params.model_validate(values["analysis"]["train"]["neural_collapse"])
    width = params.architecture.width if backbone == "mlp" else 64
    architecture = params.architecture.model_copy(update={"backbone": backbone, "width": width})
    network = Network(architecture, 3, 32, 10, max(params.depths))
    answers = network(torch.rand(2, 3, 32, 32))
    assert answers.shape == (2, 10)
    answers.square().sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in network.modules())
    assert convolutions == {"mlp": 0, "resnet18": 17 + 3, "vgg16": 13}[backbone]


def test_whole_batches_go_on_where_they_stopped() -> None:
    samples = batch()
    first = WholeBatches(samples, 5)
    steps = iter(first)
    assert torch.equal(next(steps)["label"], samples["label"])
    next(steps)
    second = WholeBatches(samples, 5)
    second.load_state_dict(first.state_dict())
    assert len(list(second)) == 3


def test_cifars_binary_version_is_read_and_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (4, 3073)).astype(np.uint8)
    records[:, 0] = [3, 1, 4, 1]
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes())
    found = cifar(tmp_path, "test")
    assert found.labels.tolist() == [3, 1, 4, 1]
    assert found.pictures.shape == (4, 32, 32, 3)
    assert found.pictures[2, 5, 7, 1] == records[2, 1 + 1024 + 5 * 32 + 7]
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes()[:-1])
    with pytest.raises(UserError, match=r"parameter cifar = .*test_batch\.bin"):
        cifar(tmp_path, "test")
