"""Graphs of the published scale: their files, tiny and random, through the whole pipeline at the full parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flows import scale
from stages.closure import PROJECT
from stages.run import StageRun
from stages.settings import block, check, read_params
from stages.training import fit
from systems.graph.diskgnn import decompose, large, synthesize, train
from systems.graph.diskgnn.dataset import Dataset, open_dataset
from systems.parts.errors import UserError

NODES, EDGES = 60, 200
RNG = np.random.default_rng(0)
ENDS = RNG.integers(NODES, size=(2, EDGES))
LABELS = np.where(RNG.random(NODES) < 0.2, np.nan, RNG.integers(4, size=NODES)).astype(np.float32)
FEATURES = RNG.normal(size=(NODES, 8)).astype(np.float16)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def papers100m(folder: Path) -> None:
    (folder / "raw").mkdir(parents=True)
    np.savez(folder / "raw" / "data.npz", edge_index=ENDS, node_feat=FEATURES.astype(np.float32))
    np.savez_compressed(folder / "raw" / "node-label.npz", node_label=LABELS[:, None])
    (folder / "split" / "time").mkdir(parents=True)
    known = np.flatnonzero(np.isfinite(LABELS))
    for name, some in zip(("train", "valid", "test"), np.split(known, [30, 38]), strict=True):
        pd.Series(some).to_csv(folder / "split" / "time" / f"{name}.csv.gz", header=False, index=False)


def mag240m(folder: Path) -> None:
    papers = folder / "processed" / "paper"
    save(papers / "node_feat.npy", FEATURES)
    save(papers / "node_label.npy", LABELS)
    save(papers / "node_year.npy", 2016 + np.arange(NODES) % 5)
    save(folder / "processed" / "paper___cites___paper" / "edge_index.npy", ENDS)


def igb(folder: Path) -> None:
    papers = folder / "processed" / "paper"
    save(papers / "node_feat.npy", FEATURES.astype(np.float32))
    save(papers / "node_label_19.npy", np.nan_to_num(LABELS))
    save(folder / "processed" / "paper__cites__paper" / "edge_index.npy", ENDS.T)


def friendster(folder: Path) -> None:
    folder.mkdir(parents=True)
    lines = "\n".join(f"{7 * a + 101}\t{7 * b + 101}" for a, b in ENDS.T)
    (folder / "com-friendster.ungraph.txt").write_text(f"# Undirected graph\n# FromNodeId\tToNodeId\n{lines}\n")


WRITERS: dict[str, Callable[[Path], None]] = {
    "papers100m": papers100m,
    "mag240m": mag240m,
    "igb": igb,
    "friendster": friendster,
}


def full(stage: str) -> dict[str, Any]:
    values = scale.merged(read_params(PROJECT / "params.yaml"), scale.overrides(PROJECT, "full"))
    return dict(block(values, "graph", stage, "diskgnn"))


def staged(place: Path, module: Any, inputs: dict[str, Path], **changes: Any) -> Path:
    """What a stage leaves, at the full parameters but for the changes."""
    stage = module.__name__.rpartition(".")[2]
    params = check(module.Params, {**full(stage), **changes}, stage)
    run = StageRun(stage, "diskgnn", params, inputs, place / stage, place / f"reports-{stage}", fitter=fit)
    run.work = place / "work"
    run.begin()
    getattr(module, stage)(run)
    run.finish([run.final])
    return run.final


def made(folder: Path, name: str) -> Dataset:
    WRITERS[name](folder / "files")
    return open_dataset(staged(folder, synthesize, {}, graph=name, folder=str(folder / "files")))


@pytest.mark.parametrize("name", WRITERS)
def test_the_files_become_a_data_set(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "PIECE", 7)
    data = made(tmp_path, name)
    joined = {(a, b) for pair in ENDS.T.tolist() for a, b in (pair, pair[::-1]) if a != b}
    rows = np.repeat(np.arange(data.graph.nodes), data.graph.degrees)
    if name == "friendster":
        assert len(data.graph.indices) == len(joined)
        assert data.meta.classes <= large.FRIENDSTER_CLASSES
        assert data.features.std() == pytest.approx(1, abs=0.1)
        return
    assert set(zip(rows.tolist(), data.graph.indices.tolist(), strict=True)) == joined
    assert np.array_equal(data.features, FEATURES.astype(np.float32))
    wanted = np.nan_to_num(LABELS) if name == "igb" else np.nan_to_num(LABELS, nan=-1)
    assert np.array_equal(data.labels, wanted)
    assert (
        sorted(np.concatenate([data.of(s) for s in ("train", "validation", "test")]))
        == np.flatnonzero(data.labels >= 0).tolist()
    )


def test_mag240m_is_split_by_year(tmp_path: Path) -> None:
    data = made(tmp_path, "mag240m")
    years = 2016 + np.arange(NODES) % 5
    for split, those in {"train": years <= 2018, "validation": years == 2019, "test": years == 2020}.items():
        assert data.of(split).tolist() == np.flatnonzero(those & np.isfinite(LABELS)).tolist()  # type: ignore[arg-type]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"parameter folder = .*: igb needs .*node_feat.npy"):
        large.open_source("igb", tmp_path, np.random.default_rng(0))
    with pytest.raises(UserError, match="parameter folder is empty: graph = igb needs the folder of its files"):
        check(synthesize.Params, {"sources": "wordnet", "graph": "igb"}, "synthesize")


def test_one_step_at_full_scale_on_tiny_files(tmp_path: Path) -> None:
    """Everything as published but the size of the graph, the number of steps, and the device."""
    data = made(tmp_path, "papers100m")
    layers = staged(tmp_path, decompose, {"data": data.folder})
    training = {**full("train")["training"], "steps": 1, "accelerator": "cpu"}
    inputs = {"data": data.folder, "layers": layers}
    model = staged(tmp_path, train, inputs, training=training, direct=False)
    saved = train.SavedModel.model_validate_json((model / "model.json").read_text())
    torch.use_deterministic_algorithms(False)
    assert list(saved.networks) == ["stored-0", "fresh-0"]
    assert saved.fanouts == (10, 15, 20)
    assert saved.networks["stored-0"].hidden == 256
