"""StageRun: everything appears at once at the end, or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.reporting import curves, pictures
from stages.run import StageRun, cannot
from systems.parts.errors import UserError
from systems.parts.run import Op, Strict

mpl.use("Agg")

ROWS = pa.table({"a": [1, 2]})


class Seeded(Strict):
    seed: int = 0


@pytest.fixture
def run(tmp_path: Path) -> StageRun[Seeded]:
    return StageRun("train", "net", Seeded(), {}, tmp_path / "models" / "net", tmp_path / "reports" / "net")


def outputs(run: StageRun[Seeded]) -> list[Path]:
    return [run.final, *(run.reports / name for name in ("metrics.json", "plots", "holds.json"))]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_visible_before_the_end_and_all_of_it_after(run: StageRun[Seeded], tmp_path: Path) -> None:
    run.begin()
    (run.output / "weights").write_text("1")
    run.metric("rmse", 2)
    run.metric("loss", 0.5, step=10)
    run.metric("loss", 0.25, step=20)
    run.figure("grid", np.zeros((4, 5, 4), np.uint8))
    run.table("rows", ROWS)
    run.hold("4.6", 0.5, "<=", 0.7, "it decomposes", seeds=3)
    assert not any(path.exists() for path in outputs(run))

    run.finish(outputs(run))
    plots = {f"reports/net/plots/{name}" for name in ("grid.png", "loss.csv", "rows.csv")}
    assert files(tmp_path) == {"models/net/weights", "reports/net/metrics.json", "reports/net/holds.json"} | plots
    assert json.loads((run.reports / "metrics.json").read_text()) == {"rmse": 2.0}
    with (run.reports / "plots" / "loss.csv").open() as file:
        assert list(csv.reader(file)) == [["step", "loss"], ["10", "0.5"], ["20", "0.25"]]
    assert Image.open(run.reports / "plots" / "grid.png").size == (5, 4)
    (hold,) = json.loads((run.reports / "holds.json").read_text())
    assert hold["holds"] is True
    assert (hold["id"], hold["value"], hold["op"], hold["bound"], hold["seeds"]) == ("4.6", 0.5, "<=", 0.7, 3)


@pytest.mark.parametrize("caption", ["", "Zeilen: Vordergründe, α"])
def test_a_picture_carries_its_caption(run: StageRun[Seeded], caption: str) -> None:
    drawn, axes = plt.subplots()
    axes.plot([0, 1])
    run.begin()
    run.figure("array", np.zeros((4, 5, 3), np.uint8), caption)
    run.figure("drawn", drawn, caption)
    plt.close(drawn)
    assert [pictures.caption(run.plots / f"{name}.png") for name in ("array", "drawn")] == [caption, caption]


def test_curves_of_a_group_of_fits_share_a_folder(run: StageRun[Seeded]) -> None:
    run.begin()
    for name in ("loss", "net/loss", "small/first/loss", "small/second/loss"):
        run.metric(name, 1, step=1)
        run.metric(name, 2, step=2)
    run.finish(outputs(run))
    wanted = {"loss.csv", "net_loss.csv", "small/first_loss.csv", "small/second_loss.csv"}
    assert files(run.reports / "plots") == wanted
    assert set(curves.read(run.reports / "plots")) == {("", "loss"), ("small", "loss")}


def test_a_later_run_replaces_the_whole_result(run: StageRun[Seeded]) -> None:
    for name in ("old", "new"):
        run.begin()
        (run.output / name).touch()
        run.table(name, ROWS)
        run.finish(outputs(run))
    assert files(run.final) == {"new"}
    assert files(run.reports / "plots") == {"new.csv"}


def test_a_failed_run_leaves_the_former_result_and_nothing_of_its_own(run: StageRun[Seeded], tmp_path: Path) -> None:
    run.begin()
    (run.output / "old").touch()
    run.table("old", ROWS)
    run.finish(outputs(run))
    before = files(tmp_path)
    run.begin()
    (run.output / "half").touch()
    run.discard()
    assert files(tmp_path) == before


def test_what_a_killed_run_left_does_not_reach_the_next_result(run: StageRun[Seeded], tmp_path: Path) -> None:
    run.begin()
    (run.output / "half").touch()
    run.figure("half", np.zeros((2, 2, 3), np.uint8))
    after_kill = StageRun("train", "net", Seeded(), {}, run.final, run.reports)
    after_kill.begin()
    after_kill.table("rows", ROWS)
    after_kill.finish(outputs(run))
    assert files(tmp_path) == {f"reports/net/{name}" for name in ("metrics.json", "holds.json", "plots/rows.csv")}
    assert run.final.is_dir()


def test_only_declared_outputs_appear(run: StageRun[Seeded], tmp_path: Path) -> None:
    run.begin()
    (run.output / "result").touch()
    run.finish([run.reports / "metrics.json"])
    assert files(tmp_path) == {"reports/net/metrics.json"}
    assert not run.final.exists()


def test_a_stage_that_draws_nothing_is_refused_and_leaves_nothing(run: StageRun[Seeded], tmp_path: Path) -> None:
    run.begin()
    (run.output / "result").touch()
    run.metric("rmse", 2)
    with pytest.raises(RuntimeError, match="train of net drew nothing: Git keeps no empty folder"):
        run.finish(outputs(run))
    run.discard()
    assert files(tmp_path) == set()


@pytest.mark.parametrize("draw", ["curve", "figure", "table"])
def test_one_curve_figure_or_table_is_enough(run: StageRun[Seeded], draw: str) -> None:
    run.begin()
    match draw:
        case "curve":
            run.metric("loss", 1, step=0)
        case "figure":
            run.figure("grid", np.zeros((4, 5, 3), np.uint8))
        case "table":
            run.table("rows", ROWS)
    run.finish(outputs(run))
    assert len(files(run.reports / "plots")) == 1


def test_an_output_that_cannot_be_replaced_is_named(run: StageRun[Seeded], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(target))

    run.begin()
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=r"output .*metrics.json: cannot be written \(Permission denied\)"):
        run.finish([run.reports / "metrics.json"])


@pytest.mark.parametrize(
    ("value", "op", "holds"),
    [
        (1, "<", False),
        (1, "<=", True),
        (1, "==", True),
        (1, ">=", True),
        (1, ">", False),
        (2, "<=", False),
        (float("nan"), "<=", False),
        (float("nan"), ">=", False),
    ],
)
def test_holds_are_recorded_whether_they_hold_or_not(run: StageRun[Seeded], value: float, op: str, holds: bool) -> None:
    run.hold("4.1", value, cast("Op", op), 1, "a statement")
    assert run.holds[0]["holds"] is holds


def test_random_numbers_depend_on_seed_and_key_alone(run: StageRun[Seeded]) -> None:
    def draw(seed: int, *key: Any) -> list[int]:
        other = StageRun("train", "net", Seeded(seed=seed), {}, run.final, run.reports)
        return cast("list[int]", other.generator(*key).integers(1 << 60, size=4).tolist())

    assert draw(1, "shard", 7) == draw(1, "shard", 7)
    distinct = [draw(1, "shard", 7), draw(2, "shard", 7), draw(1, "shard", 8), draw(1, "other", 7), draw(1, 7)]
    assert len({tuple(numbers) for numbers in distinct}) == len(distinct)


def test_a_figure_has_the_same_bytes_whenever_it_is_drawn(run: StageRun[Seeded]) -> None:
    from matplotlib.figure import Figure

    def bytes_of(name: str) -> bytes:
        figure = Figure()
        figure.subplots().plot([1, 2, 4])
        run.figure(name, figure)
        return (run.plots / f"{name}.png").read_bytes()

    run.begin()
    assert bytes_of("one") == bytes_of("two")


def test_track_passes_everything_on(run: StageRun[Seeded]) -> None:
    assert list(run.track(iter("abc"), "letters", total=3)) == list("abc")


def test_a_stage_without_an_ability_says_so() -> None:
    with pytest.raises(TypeError, match="this stage cannot fit"):
        cannot("fit")(1, 2)
