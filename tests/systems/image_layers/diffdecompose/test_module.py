"""Part C as a module: what its loss depends on, what it draws, what it keeps, and that it learns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.run import StageRun
from stages.training import fit
from systems.image_layers.diffdecompose import flow
from systems.image_layers.diffdecompose.module import LAYERS, Decomposer, InContextDecomposition, Optimisation
from systems.image_layers.diffdecompose.positions import position_ids
from systems.image_layers.diffdecompose.tiny import SUBTASKS, TinyBackbone, TinyParams
from systems.parts.run import Training
from systems.parts.step_batches import StepBatches, own, step_generator
from tests.systems.image_layers.diffdecompose.mortal import KilledError, Mortal, Seeded

COUNT, SIDE, LATENTS = 4, 16, 4
TOKENS = (SIDE // 4) ** 2
TOLD = ["cells", "any", "xray", "flare"]
PROMPTS = [f"prompt {row}" for row in range(COUNT)]


def make_decomposer(regression: bool = False, **changes: Any) -> Decomposer:
    """A small network with weights that do something, its autoencoder frozen."""
    torch.manual_seed(0)
    settings = {"vae_width": 8, "latents": LATENTS, "width": 24, "depth": 1, "heads": 2, **changes}
    backbone = TinyBackbone(TinyParams(**settings))
    for weight in backbone.dit.parameters():
        nn.init.normal_(weight, std=0.1)
    backbone.vae.requires_grad_(False)
    return Decomposer(backbone, regression)


Module = TypeVar("Module", bound=InContextDecomposition)


def make(
    decomposer: Decomposer | None = None,
    kind: type[Module] = InContextDecomposition,  # type: ignore[assignment]
    steps: int = 10,
    **changes: Any,
) -> Module:
    optimisation = Optimisation(**{"lr": 1e-2, "warmup": 0, **changes})
    decomposer = decomposer or make_decomposer()
    shown = {column: picture[:2] for column, picture in zip(("comp", "fg", "bg"), pictures().values(), strict=True)}
    shown = {column: picture if column == "fg" else picture[:, :3] for column, picture in shown.items()}
    return kind(decomposer, optimisation, steps, 0, TOLD, PROMPTS, shown)


def pictures() -> dict[str, Tensor]:
    """RGBA triplets."""
    generator = torch.Generator().manual_seed(1)
    return {layer: torch.randint(0, 256, (COUNT, 4, SIDE, SIDE), generator=generator).byte() for layer in LAYERS}


def latents(seed: int = 2) -> dict[str, Tensor]:
    """Packed latents of triplets."""
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(COUNT, TOKENS, LATENTS, generator=generator) for layer in LAYERS}


def loss_of(module: InContextDecomposition, batch: dict[str, Tensor], step: int = 0) -> Tensor:
    with mock.patch.object(InContextDecomposition, "global_step", step):
        return module.training_step({**batch, "row": torch.arange(COUNT)}, 0)


@pytest.mark.parametrize("step", range(4))
def test_holds_4_4_the_loss_does_not_see_the_outputs_at_z(step: int) -> None:
    module, batch = make(), latents()
    before, predict = loss_of(module, batch, step), module.decomposer.backbone.predict

    def disturbed(where: slice) -> Tensor:
        def out(*given: Any) -> Tensor:
            found = predict(*given).clone()
            found[:, where] += 1
            return found

        with mock.patch.object(module.decomposer.backbone, "predict", out):
            return loss_of(module, batch, step)

    assert torch.equal(disturbed(slice(TOKENS)), before)
    assert not torch.equal(disturbed(slice(TOKENS, None)), before)
    before.backward()
    assert module.decomposer.backbone.dit.leave.bias.grad.ne(0).all()


def gradients(module: InContextDecomposition, batch: dict[str, Tensor], step: int) -> list[Tensor]:
    module.zero_grad()
    with mock.patch.object(InContextDecomposition, "global_step", step):
        module.training_step(batch, 0).backward()
    return [weight.grad.clone() for weight in module.parameters() if weight.grad is not None]


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("step", range(3))
def test_two_processes_have_the_gradient_of_one(step: int, regression: bool) -> None:
    module, batch = make(make_decomposer(regression)), {**latents(), "row": torch.arange(COUNT)}
    alone, pieces = gradients(module, batch, step), []
    for rank in range(2):
        with mock.patch("systems.parts.step_batches.piece", lambda rank=rank: (rank, 2)):
            pieces.append(gradients(module, {name: own(tensor) for name, tensor in batch.items()}, step))
    for whole, first, second in zip(alone, *pieces, strict=True):
        assert torch.allclose((first + second) / 2, whole, rtol=1e-3, atol=1e-6)
        assert not torch.allclose(first, second, rtol=1e-3, atol=1e-6) or whole.abs().max() < 1e-6


def test_the_loss_depends_on_z_through_its_clean_tokens() -> None:
    module, batch = make(), latents()
    other = {**batch, "z": latents(7)["z"]}
    assert not torch.allclose(loss_of(module, batch), loss_of(module, other), atol=1e-4)


def test_target_sets_are_drawn_with_their_probabilities_and_by_the_step() -> None:
    module, batch, drawn = make(), latents(), []

    def watch(_backbone: Any, _clean: Any, targets: Any, *_: Any) -> Tensor:
        drawn.append(targets)
        return torch.zeros(())

    with mock.patch.object(flow, "flow_loss", watch):
        for step in [*range(1500), *range(1500)]:
            loss_of(module, batch, step)
    shares = Counter(drawn[:1500])
    assert {targets: round(shares[targets] / 1500, 1) for targets, _ in flow.TARGETS} == dict(flow.TARGETS)
    assert drawn[:1500] == drawn[1500:]


def test_one_noise_level_a_sample_is_shared_by_both_layers() -> None:
    module, batch, seen = make(), latents(), []

    def watch(tokens: Tensor, ids: Tensor, condition: Tensor, sigma: Tensor) -> Tensor:
        seen.append((tokens, ids, condition, sigma))
        return torch.zeros_like(tokens).requires_grad_()

    step = next(step for step in range(99) if flow.draw_targets(step_generator(0, step)) == ("x", "y"))
    with mock.patch.object(module.decomposer.backbone, "predict", watch):
        loss = loss_of(module, batch, step)
    ((tokens, ids, condition, sigma),) = seen
    z, x, y = tokens.split(TOKENS, dim=1)
    assert torch.equal(z, batch["z"])
    assert sigma.shape == (COUNT,)
    level = sigma[:, None, None]
    noise = torch.cat([(noisy - (1 - level) * batch[layer]) / level for noisy, layer in ((x, "x"), (y, "y"))])
    assert noise.mean().abs() < 0.15
    assert noise.std() == pytest.approx(1, abs=0.1)
    assert torch.equal(ids, torch.cat([position_ids(layer, SIDE // 4, SIDE // 4) for layer in LAYERS]))
    assert condition.tolist() == [SUBTASKS.index(subtask) for subtask in TOLD]
    assert loss.item() == pytest.approx(torch.cat((batch["x"], batch["y"])).square().mean().item(), rel=1e-5)


def test_a_regression_goes_the_whole_way_from_nothing() -> None:
    module, batch = make(make_decomposer(regression=True)), latents()
    for step in range(3):
        targets = flow.draw_targets(step_generator(0, step))
        ids = torch.cat([position_ids(layer, SIDE // 4, SIDE // 4) for layer in ("z", *targets)])
        empty = torch.zeros(COUNT, len(targets) * TOKENS, LATENTS)
        backbone = module.decomposer.backbone
        condition = backbone.condition(PROMPTS, TOLD)
        out = backbone.predict(torch.cat((batch["z"], empty), 1), ids, condition, torch.ones(COUNT))
        error = out[:, TOKENS:] - torch.cat([batch[layer] for layer in targets], 1)
        assert loss_of(module, batch, step).item() == pytest.approx(error.square().mean().item(), rel=1e-5)


def test_pictures_are_encoded_where_no_latents_are_kept() -> None:
    module = make()
    backbone = module.decomposer.backbone
    packed = {layer: backbone.pack(backbone.encode(values.float() / 255)) for layer, values in pictures().items()}
    assert torch.equal(loss_of(module, pictures(), 3), loss_of(module, packed, 3))


def test_rows_are_told_what_they_are() -> None:
    module = make()
    with mock.patch.object(TinyBackbone, "condition", autospec=True, side_effect=TinyBackbone.condition) as told:
        batch = {layer: values[[2, 0]] for layer, values in latents().items()}
        module.training_step({**batch, "row": torch.tensor([2, 0])}, 0)
    assert told.call_args.args[1:] == (["prompt 2", "prompt 0"], ["xray", "cells"])


def decompose(decomposer: Decomposer, seed: int, **changes: Any) -> dict[Any, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    given = {"steps": 3, "targets": ("x", "y"), **changes}
    composite = pictures()["z"].float() / 255
    return decomposer.decompose(composite, TOLD, PROMPTS, given["steps"], generator, given["targets"])


def test_layers_are_drawn_by_the_seed_alone() -> None:
    decomposer = make_decomposer()
    first, again, other = (decompose(decomposer, seed) for seed in (0, 0, 1))
    for layer in ("x", "y"):
        assert first[layer].shape == (COUNT, 4, SIDE, SIDE)
        assert torch.equal(first[layer], again[layer])
        assert not torch.equal(first[layer], other[layer])
    regression = make_decomposer(regression=True)
    assert torch.equal(decompose(regression, 0)["y"], decompose(regression, 1, steps=7)["y"])


@pytest.mark.parametrize("targets", [("x",), ("y",), ("x", "y")])
def test_either_layer_alone_can_be_asked_for(targets: Any) -> None:
    lengths = []
    decomposer = make_decomposer()
    predict = decomposer.backbone.predict

    def watch(tokens: Tensor, *more: Any) -> Tensor:
        lengths.append(tokens.shape[1])
        return predict(tokens, *more)

    with mock.patch.object(decomposer.backbone, "predict", watch):
        assert set(decompose(decomposer, 0, targets=targets)) == set(targets)
    assert lengths == 3 * [(1 + len(targets)) * TOKENS]


def test_a_network_that_knows_the_layers_gives_them_back() -> None:
    decomposer = make_decomposer()
    backbone, truth = decomposer.backbone, pictures()
    packed = {layer: backbone.pack(backbone.encode(values.float() / 255)) for layer, values in truth.items()}
    with mock.patch.object(backbone, "predict", return_value=torch.cat([packed[layer] for layer in LAYERS], 1)):
        out = decompose(decomposer, 0)
    for layer in ("x", "y"):
        wanted = backbone.decode(backbone.encode(truth[layer].float() / 255))
        assert torch.allclose(out[layer], wanted, atol=1e-4)


def test_only_what_asks_for_gradients_is_trained() -> None:
    module = make(weight_decay=0.25)
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    wanted = [*module.decomposer.backbone.dit.parameters(), module.decomposer.backbone.text.weight]
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in wanted}
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 0.25)


@pytest.mark.parametrize(("constant", "last"), [(False, 0.0), (True, 1e-2)])
def test_step_sizes_fall_or_stay(constant: bool, last: float) -> None:
    configured = make(constant=constant, warmup=2).configure_optimizers()
    schedule, seen = configured["lr_scheduler"]["scheduler"], []
    for _ in range(11):
        seen.append(schedule.get_last_lr()[0])
        configured["optimizer"].step()
        schedule.step()
    assert seen[:3] == pytest.approx([5e-3, 1e-2, 1e-2])
    assert seen[10] == pytest.approx(last, abs=1e-9)


def test_what_it_shows_is_a_row_each_of_composite_layers_and_estimates() -> None:
    shown = make().sample_picture()
    assert shown.dtype == np.uint8
    assert shown.shape[0] * 2 == shown.shape[1] * 5


class MortalInContextDecomposition(Mortal, InContextDecomposition):
    """The module under test, mortal."""


def trained(
    folder: Path, steps: int, adapt: bool, dies: int = -1
) -> tuple[MortalInContextDecomposition, StageRun[Any]]:
    """Through the trainer of the stages; killed at step `dies` and begun again."""
    training = Training(steps=steps, batch=2, accelerator="cpu", checkpoint_every=2, sample_every=steps)
    run: StageRun[Any] = StageRun("train", "diffdecompose", Seeded(), {}, folder / "out", folder / "reports")
    run.work = folder / "work"
    run.begin()
    for step in (dies, -1):
        decomposer = make_decomposer()
        if adapt:
            decomposer.backbone.adapt(2)
        module = make(decomposer, MortalInContextDecomposition, steps)
        module.dies = step
        try:
            fit(run, module, StepBatches({**latents(), "row": torch.arange(COUNT)}, 2, steps, 0), training, "fit")
        except KilledError:
            run.curves.clear()
        else:
            return module, run
    raise AssertionError("killed twice")


@pytest.fixture(autouse=True)
def flags() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)  # the trainer switches it on for the whole process


@pytest.mark.parametrize("adapt", [False, True])
def test_a_killed_training_ends_with_the_same_weights_and_saves_what_learns_alone(tmp_path: Path, adapt: bool) -> None:
    whole, _ = trained(tmp_path / "whole", 6, adapt)
    killed, run = trained(tmp_path / "killed", 6, adapt, dies=5)
    assert killed.began == 4
    wanted = whole.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in killed.state_dict().items())
    stored = torch.load(run.work / "fit" / "last.ckpt", weights_only=True)["state_dict"]
    learning = {name for name, weight in whole.named_parameters() if weight.requires_grad}
    assert set(stored) == learning
    assert all((".lora_" in name) == adapt and ".vae." not in name for name in learning)
    assert all(torch.equal(value, wanted[name]) for name, value in stored.items())


def test_it_learns(tmp_path: Path) -> None:
    before, after = make(), make(trained(tmp_path, 150, adapt=False)[0].decomposer)
    errors = [np.mean([loss_of(module, latents(), 1000 + k).item() for k in range(20)]) for module in (before, after)]
    assert errors[1] < 0.5 * errors[0]
