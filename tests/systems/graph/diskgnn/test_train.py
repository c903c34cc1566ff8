"""The stages train and evaluate on a small graph: loaders, what is kept, resuming, checks, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.run import StageRun
from stages.settings import check
from stages.training import fit
from systems.graph.diskgnn import evaluate, train
from systems.graph.diskgnn.dataset import Dataset
from systems.graph.diskgnn.module import NodeClassification
from systems.graph.diskgnn.networks import load_network, read_model
from systems.graph.diskgnn.storage import Layers
from systems.parts.errors import UserError
from systems.parts.graph_sampling import undirected
from systems.parts.step_stream import of_epoch
from tests.systems.graph.diskgnn.conftest import NODES, lists_of

EPOCH = 10  # batches of 16 of 150 nodes
NETWORK = {"hidden": 8}
TOY: dict[str, Any] = {
    "data": "diskgnn",
    "layers": "diskgnn",
    "training": {"steps": 2 * EPOCH, "batch": 16, "accelerator": "cpu", "checkpoint_every": 7, "clip": 0},
    "lr": 0.02,
    "watched": 40,
    "variants": {
        "stored": {"network": NETWORK, "seeds": [0, 1]},
        "fresh": {"batches": "fresh", "network": NETWORK},
        "confined": {"batches": "confined", "network": NETWORK},
        "gat": {"network": {"kind": "gat", **NETWORK}},
        "left out": {"seeds": []},
    },
    "best": "stored",
}


def run_of(folder: Path, data: Dataset, layers: Layers, **changes: Any) -> StageRun[train.Params]:
    params = check(train.Params, {**TOY, **changes}, "graph.train.diskgnn")
    inputs = {"data": data.folder, "layers": layers.folder}
    run = StageRun("train", "diskgnn", params, inputs, folder / "model", folder / "reports", fitter=fit)
    run.work = folder / "work"
    run.begin()
    return run


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, data: Dataset, layers: Layers
) -> Iterator[StageRun[train.Params]]:
    run = run_of(tmp_path_factory.mktemp("train"), data, layers)
    train.train(run)
    run.finish([run.final])
    yield run
    torch.use_deterministic_algorithms(False)  # the trainer switched it on for the whole process


def test_every_network_is_kept_with_what_rebuilds_it(trained: StageRun[train.Params]) -> None:
    saved = read_model(trained.final)
    assert list(saved.networks) == ["stored-0", "stored-1", "fresh-0", "confined-0", "gat-0"]
    assert saved.variants == ["stored", "fresh", "confined", "gat"]
    assert (saved.dim, saved.classes, saved.fanouts, saved.best) == (20, 4, (3, 4), "stored")
    for label in saved.networks:
        weights = load_file(trained.final / f"{label}.safetensors")
        state = load_network(trained.final, saved, label).state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights.items())
    one, other = (load_file(trained.final / f"stored-{seed}.safetensors") for seed in (0, 1))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_accuracy_is_followed_once_an_epoch_and_rises(trained: StageRun[train.Params]) -> None:
    for label, curve in read_model(trained.final).accuracies.items():
        assert trained.curves[f"{label}/accuracy"] == list(zip((0, EPOCH, 2 * EPOCH), curve, strict=True))
        assert curve[-1] > max(curve[0], 0.5), label


def test_an_interrupted_training_ends_with_the_same_weights_and_curves(
    trained: StageRun[train.Params], data: Dataset, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path, data, layers)
    step = NodeClassification.training_step
    fitted: list[int] = []

    def mortal(module: NodeClassification, *given: Any) -> Any:
        fitted.append(module.global_step)
        if len(fitted) == 17:
            raise KeyError("killed")
        return step(module, *given)

    monkeypatch.setattr(NodeClassification, "training_step", mortal)
    with pytest.raises(KeyError, match="killed"):
        train.train(run)
    run.begin()
    train.train(run)
    run.finish([run.final])
    assert fitted[17] == 14, "it did not go on from the last checkpoint"
    for path in trained.final.iterdir():
        assert path.read_bytes() == (run.final / path.name).read_bytes(), path.name


def test_stored_batches_come_back_every_epoch_and_fresh_ones_do_not(
    data: Dataset, layers: Layers, tmp_path: Path
) -> None:
    run, steps = run_of(tmp_path, data, layers), range(2 * EPOCH)
    lists = lists_of(layers)
    stored = list(train.Loader(run, data, layers, "stored", 5).load(steps))
    for step, batch in zip(steps, stored, strict=True):
        assert np.array_equal(batch.x, data.features[lists[of_epoch(EPOCH, 5, step)]])
    fresh = [train.Loader(run, data, layers, "fresh", 5).sample(step) for step in steps]
    for epoch in (fresh[:EPOCH], fresh[EPOCH:]):
        seeds = np.concatenate([sample.seeds for sample in epoch])
        assert sorted(seeds.tolist()) == data.of("train").tolist()
    assert not any(np.array_equal(one.nodes, other.nodes) for one in fresh[:EPOCH] for other in fresh[EPOCH:])
    loaded = list(train.Loader(run, data, layers, "fresh", 5).load(range(3)))
    assert all(
        np.array_equal(batch.x, data.features[sample.nodes]) for batch, sample in zip(loaded, fresh, strict=False)
    )


def test_a_confined_graph_has_parts_of_one_size_that_nothing_joins() -> None:
    ring = undirected(40, np.arange(40), (np.arange(40) + 1) % 40)
    cut = train.confined(ring, 4)
    assert 40 - len(cut.indices) // 2 in range(3, 9), "an order that keeps neighbours close cuts few edges"
    assert len(train.confined(ring, 1).indices) == 80


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"best": "left out"}, "best = left out: one of stored, fresh, confined, gat is wanted"),
        ({"training": {**TOY["training"], "devices": 2}}, "training.devices = 2: a stored batch is for one device"),
    ],
)
def test_parameters_that_do_not_go_together_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"parameter {words}"):
        check(train.Params, {**TOY, **changes}, "train")


def test_layers_that_do_not_fit_are_named(data: Dataset, layers: Layers, tmp_path: Path) -> None:
    run = run_of(tmp_path, data, layers, training={**TOY["training"], "batch": 8})
    with pytest.raises(UserError, match=r"parameter training.batch = 8: 16, as stored, is wanted"):
        train.train(run)
    other = Layers(layers.folder, layers.saved.model_copy(update={"nodes": NODES + 1}))
    with pytest.raises(UserError, match="parameter layers = diskgnn: packed from other data than diskgnn"):
        train.check_fit(run.params, data, other)


def evaluated(folder: Path, trained: StageRun[Any], data: Dataset, layers: Layers) -> StageRun[evaluate.Params]:
    given = {"data": "d", "model": "m", "layers": "l", "shares": [0, 0.3, 1], "blowups": [-1, 0.5]}
    params = check(evaluate.Params, given, "graph.evaluate.diskgnn")
    inputs = {"data": data.folder, "model": trained.final, "layers": layers.folder}
    run = StageRun("evaluate", "diskgnn", params, inputs, folder / "no", folder / "reports")
    run.begin()
    evaluate.evaluate(run)
    return run


def test_evaluate_counts_scores_and_records_every_hold(
    trained: StageRun[train.Params], data: Dataset, layers: Layers, tmp_path: Path
) -> None:
    run = evaluated(tmp_path, trained, data, layers)
    assert [hold["id"] for hold in run.holds] == ["39.3", "39.3", "39.4", "39.4", "39.6", "39.6"]
    assert run.metrics["headline/batches assembled byte for byte, share"] == 1
    counted = run.metrics["pages read an epoch, counted by the reader"]
    assert counted == run.metrics["pages read an epoch, stored layout"] > 0
    assert run.metrics["score"] == pytest.approx(1 - run.metrics["test accuracy/stored"])
    assert 0.5 < run.metrics["test accuracy/stored"] <= 1
    between = 100 * abs(run.metrics["test accuracy/stored"] - run.metrics["test accuracy/fresh"])
    assert run.holds[4]["value"] == pytest.approx(between)
    drawn = {path.stem for path in run.plots.glob("*.png")}
    assert drawn == {"pages", "bytes", "amplification", "accuracy"}


def test_bytes_that_are_not_those_of_the_raw_file_are_seen(
    trained: StageRun[train.Params], data: Dataset, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate.StoredBatches.assemble

    def spoilt(batches: Any, read: Any) -> Any:
        batch = whole(batches, read)
        batch.x[0, 0] += 1 if read.indexed.number == 3 else 0
        return batch

    monkeypatch.setattr(evaluate.StoredBatches, "assemble", spoilt)
    run = evaluated(tmp_path, trained, data, layers)
    assert run.metrics["headline/batches assembled byte for byte, share"] == pytest.approx(0.9)
