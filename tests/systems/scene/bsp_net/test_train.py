"""The stages from training to evaluation at a toy scale: what they keep, refuse and draw, and resuming."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file

from stages.run import StageRun
from stages.settings import check, read_params
from stages.training import fit
from systems.parts.errors import UserError
from systems.parts.run import SCORE
from systems.scene.bsp_net import decompose, evaluate, files, pieces, polyhedra, shapes, storage, train
from systems.scene.bsp_net.module import Optimisation, Phase, beside_edges, decay
from systems.scene.bsp_net.network import Architecture, BSPNet
from tests.systems.image_layers.diffdecompose.mortal import KilledError, Mortal
from tests.systems.scene.bsp_net.test_data import hdf5

SHORT = {"steps": 4, "batch": 3, "clip": 0, "accelerator": "cpu", "checkpoint_every": 2, "sample_every": 4}
FIT = {"continuous": SHORT, "discrete": SHORT, "optimisation": {"points": 64}}
FITS: dict[str, Any] = {
    "figures": {**FIT, "architecture": {"width": 2, "planes": 16, "convexes": 4}, "phases": [0, 1, 2], "seeds": [0, 1]},
    "boxes": {
        **FIT,
        "architecture": {"dims": 3, "side": 16, "width": 2, "planes": 12, "convexes": 3},
        "phases": [0, 3],
        "optimisation": {"points": 64, "near": 0.5},
        "single_view": {"training": SHORT},
    },
}


def params(**changes: Any) -> train.Params:
    return check(train.Params, {"data": "bsp_net", "fits": {**FITS, **changes}}, "train")


def trained(folder: Path, data: Path, given: train.Params) -> Path:
    run: StageRun[train.Params] = StageRun(
        "train", "bsp_net", given, {"data": data}, folder / "model", folder / "reports", fitter=fit
    )
    run.work = folder / "work"
    run.begin()
    train.train(run)
    run.finish([run.final])
    return run.final


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield trained(tmp_path_factory.mktemp("whole"), data, params())
    torch.use_deterministic_algorithms(False)  # the trainer switched it on for the whole process


@pytest.fixture(scope="module")
def layers(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    inputs = {"data": data, "model": model}
    run = StageRun("decompose", "bsp_net", decompose.Params(data="d", model="m"), inputs, folder / "out", folder / "r")
    run.begin()
    decompose.decompose(run)
    run.finish([run.final])
    return run.final


def test_every_phase_is_kept_and_hard_phases_keep_the_matrix_of_phase_0(model: Path) -> None:
    saved = storage.read_saved(model)
    assert [network.label for network in saved.networks][:3] == [f"figures-0-phase{phase}" for phase in range(3)]
    first, hard, soft = (
        load_file(model / f"{name}.safetensors") for name in ("figures-0-phase0", "figures-0-phase1", "boxes-0-phase3")
    )
    assert torch.equal(first["T"], hard["T"])
    assert not torch.equal(first["encoder.offsets.weight"], hard["encoder.offsets.weight"])
    assert not torch.equal(load_file(model / "boxes-0-phase0.safetensors")["T"], soft["T"])
    assert torch.equal(load_file(model / "boxes-0-phase0.safetensors")["w"], soft["w"])
    with pytest.raises(UserError, match=r"no model\.json"):
        storage.read_saved(model.parent)


def test_holds_12_8_a_discrete_phase_wants_phase_0_before_it(tmp_path: Path) -> None:
    for phases in ((1,), (2, 0), (0, 0)):
        with pytest.raises(UserError, match=r"phases = .*starts from a checkpoint of phase 0"):
            params(figures={**FITS["figures"], "phases": phases})
    with pytest.raises(UserError, match="starts from a checkpoint of phase 0"):
        storage.load_weights(BSPNet(Architecture(side=16, width=2)), tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"phases": (0, 7)}, "phases = 7"),
        ({"architecture": {"planes": 0}}, "figures.architecture: planes = 0"),
        ({"architecture": {"convexes": -1}}, "figures.architecture: convexes = -1"),
        ({"resolutions": (48,)}, "resolutions = 48"),
    ],
)
def test_holds_12_8_parameters_that_cannot_be_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        params(figures={**FITS["figures"], **wrong})


def test_shapes_of_another_size_and_points_that_are_not_there_are_refused(data: Path, tmp_path: Path) -> None:
    small = {**FITS["figures"], "architecture": {"side": 32}}
    with pytest.raises(UserError, match="shapes of 64 x 64 for a network of 32 x 32"):
        trained(tmp_path, data, params(figures=small))
    with pytest.raises(UserError, match="no points sampled at 16"):
        train.samples_of(shapes.read(data, "figures", "test"), 16)


class MortalPhase(Mortal, Phase):
    """A phase that dies."""


def test_a_killed_phase_goes_on_and_ends_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = check(train.Params, {"data": "d", "fits": {"figures": {**FITS["figures"], "seeds": [0]}}}, "train")
    whole = trained(tmp_path / "whole", data, given)
    monkeypatch.setattr(train, "Phase", MortalPhase)
    monkeypatch.setattr(MortalPhase, "dies", 3)
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", data, given)
    monkeypatch.setattr(MortalPhase, "dies", -1)
    again = trained(tmp_path / "killed", data, given)
    for path in whole.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_points_lie_beside_edges_as_often_as_asked_and_carry_their_values(data: Path) -> None:
    voxels = torch.from_numpy(shapes.read(data, "figures", "train").voxels[:2])
    net = BSPNet(Architecture(width=2, planes=4, convexes=2))
    module = Phase(net, Optimisation(points=400, near=0.75), 10, 0, voxels)
    edges = beside_edges(voxels.float())
    points, values = module.drawn(voxels.float(), {"voxels": voxels})
    cells = ((points + 0.5) * 64 - 0.5).round().long()
    rows = cells[..., 0] * 64 + cells[..., 1]
    assert torch.equal(values, voxels.flatten(1).gather(1, rows).float())
    assert all(len(set(row.tolist())) == 400 for row in rows)
    near = edges.gather(1, rows).mean()
    assert near > edges.mean() + 0.2
    flat = torch.zeros(1, 16, 16)
    flat[0, :, 8:] = 1
    assert torch.equal(beside_edges(flat).reshape(16, 16).sum(0) > 0, (torch.arange(16) >= 6) & (torch.arange(16) < 10))


def test_the_step_size_is_constant_and_then_falls_to_the_last() -> None:
    factor = decay(Optimisation(lr=1e-2, last_lr=1e-4, constant=0.5), 100)
    assert [factor(0), factor(50)] == [1, 1]
    assert factor(75) == pytest.approx(0.1)
    assert factor(100) == pytest.approx(0.01)
    assert decay(Optimisation(lr=1e-3, last_lr=1e-3, constant=1.0), 10)(9) == 1
    warm = decay(Optimisation(lr=1e-2, last_lr=1e-4, constant=0.5, warmup=20), 100)
    assert [warm(0), warm(9), warm(19)] == pytest.approx([0.05, 0.5, 1])
    assert warm(75) == factor(75)


def test_solids_open_elsewhere_and_polygons_are_drawn(tmp_path: Path) -> None:
    cube = pieces.Piece(3, polyhedra.extract(np.array([[1.0, 0, 0, 0.25], [1.0, 1.0, 1.0, 0.7]])))
    wedge = pieces.Piece(5, polyhedra.extract(np.array([[1.0, -1.0, 0, 0]])))
    for name in ("a", "b"):
        files.write_solid(tmp_path / name, [cube, wedge])
        assert (tmp_path / f"{name}.obj").read_text().count("o convex-") == 2
    for kind in ("obj", "glb"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
        meshes = trimesh.load_scene(tmp_path / f"a.{kind}", process=False).geometry.values()
        solids = [solid for mesh in meshes for solid in mesh.split()]
        wanted = sorted([cube.body.volume, wedge.body.volume])  # type: ignore[union-attr]
        assert sorted(solid.volume for solid in solids) == pytest.approx(wanted, rel=1e-5)
        assert all(solid.is_watertight and solid.euler_number == 2 for solid in solids)
    square = pieces.Piece(1, np.array([(-0.25, -0.25), (0.25, -0.25), (0.25, 0.25), (-0.25, 0.25)]))
    text = files.svg([[square], []])
    assert 'viewBox="0 0 200 100"' in text
    assert 'points="25.000,25.000 25.000,75.000 75.000,75.000 75.000,25.000"' in text


def test_pieces_come_back_and_those_inside_others_can_be_left_out(tmp_path: Path) -> None:
    big = pieces.Piece(0, polyhedra.extract(np.array([[1.0, 0, 0, 0.4]])))
    small = pieces.Piece(2, polyhedra.extract(np.array([[1.0, 0, 0, 0.0], [0, 1.0, 0, 0.1]])))
    apart = pieces.Piece(4, polyhedra.extract(np.array([[-1.0, 0, 0, -0.3]])))
    assert [piece.convex for piece in pieces.outer([small, big, apart])] == [0, 4]
    pieces.write(tmp_path / "p.parquet", ["one", "two"], [[big, small], []])
    first, second = pieces.read(tmp_path / "p.parquet", ["one", "two"])
    assert second == []
    assert [piece.convex for piece in first] == [0, 2]
    assert first[1].body.volume == pytest.approx(small.body.volume)  # type: ignore[union-attr]


def test_layers_and_evaluation_say_what_they_found(data: Path, model: Path, layers: Path, tmp_path: Path) -> None:
    assert {path.suffix for path in layers.iterdir()} == {".parquet", ".svg", ""}
    inputs = {"data": data, "model": model, "layers": layers}
    given = evaluate.Params(data="d", model="m", layers="l")
    run = StageRun("evaluate", "bsp_net", given, inputs, tmp_path / "out", tmp_path / "reports")
    run.begin()
    evaluate.evaluate(run)
    run.finish([run.reports / name for name in ("metrics.json", "holds.json", "plots")])
    metrics = json.loads((tmp_path / "reports" / "metrics.json").read_text())
    mine = np.mean([metrics[f"IoU/figures-{seed}-phase2"] for seed in (0, 1)])
    assert metrics[SCORE] == pytest.approx(1 - mine)
    assert metrics["headline/IoU: figures"] == pytest.approx(mine)
    assert 0 <= metrics["IoU from one view/boxes-0-phase3"] <= 1
    assert (tmp_path / "reports" / "plots" / "view-boxes-0-phase3.png").is_file()
    holds = json.loads((tmp_path / "reports" / "holds.json").read_text())
    assert [hold["id"] for hold in holds] == ["12.4", "12.4", "12.5", "12.5", "12.6", "12.6", "12.7"]
    assert {hold["seeds"] for hold in holds} == {2}
    assert {path.name for path in (tmp_path / "reports" / "plots").glob("grid-*.png")} == {
        "grid-boxes.png",
        "grid-figures.png",
    }


def test_the_full_scale_of_the_card_takes_a_step_of_each_resolution(tmp_path: Path) -> None:
    project = Path(__file__).resolve().parents[4]
    shipped = read_params(project / "params.yaml")["scene"]["train"]["bsp_net"]["fits"]["shapenet"]
    fitting = train.Fitting.model_validate(shipped)
    assert (fitting.architecture.planes, fitting.architecture.convexes, fitting.architecture.side) == (4096, 256, 64)
    file = hdf5(1)
    stored = shapes.Shapes(
        ["a"],
        ["a"],
        [[]],
        file["voxels"][..., 0],
        {key: value if key.startswith("points") else value[..., 0] for key, value in file.items() if key != "voxels"},
    )
    net = BSPNet(fitting.architecture)
    for side in fitting.resolutions:
        module = Phase(net, fitting.optimisation, 10, 0, torch.from_numpy(stored.voxels))
        samples = train.samples_of(stored, side)
        points, values = module.drawn(samples["voxels"].float(), samples)
        assert points.shape == (1, len(file[f"points_{side}"][0]), 3)
        assert points.abs().max() < 0.5
        loss = net.loss(net.distances(net.encoder(samples["voxels"].float()), points), values)
        assert torch.isfinite(loss)
    loss.backward()
    assert net.T.grad is not None
