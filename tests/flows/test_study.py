"""The memory of a sweep: however often it is stopped, it asks for the same trials and repeats no finished one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.space import Range, Space, Values
from flows.study import Plan, Row, Study
from systems.parts.errors import UserError

DRAWN = Plan(Space(ranges={"x": Range(-5.0, 5.0)}, choices={"kind": ["a", ["b"]]}), trials=12, metric="m.json:loss")
GRID = Plan(Space(grid={"x": [1, 2, 3], "kind": [None, "a"]}), metric="m.json:loss")


def worth(values: Values) -> float:
    return float((values["x"] - 1) ** 2 + (0.5 if values["kind"] == "a" else 0))


def run(folder: Path, plan: Plan, trials: int, break_off: bool = False) -> list[Row]:
    """Run so many trials, and leave one more open if asked, as a kill does."""
    study = Study(folder, "s", plan)
    for _ in range(trials):
        if asked := study.next():
            study.finished(asked, worth(asked.values), 1.0)
    if break_off:
        study.next()
    return study.rows()


@pytest.mark.parametrize("plan", [DRAWN, GRID], ids=["drawn", "grid"])
@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, 4), max_size=3))
def test_a_stopped_study_goes_on_as_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, cuts: list[int]
) -> None:
    whole = run(tmp_path_factory.mktemp("whole"), plan, 20)
    folder = tmp_path_factory.mktemp("cut")
    for cut in cuts:
        run(folder, plan, cut, break_off=True)
    assert run(folder, plan, 20) == whole
    assert [row.name for row in whole] == [f"s-{place + 1}" for place in range(12 if plan is DRAWN else 6)]
    assert len({str(row.values) for row in whole}) == len(whole)
    kept = Study(folder, "s", plan).study.trials
    assert [trial.state.name for trial in kept] == ["COMPLETE"] * len(whole)


def test_a_grid_is_tried_in_order_and_its_best_found(tmp_path: Path) -> None:
    rows = run(tmp_path, GRID, 20)
    assert [row.values for row in rows] == list(GRID.space.combinations())
    best = Study(tmp_path, "s", GRID).best()
    assert best is not None
    assert best.values == {"x": 1, "kind": None}
    worst = Study(tmp_path / "other", "s", replace(GRID, maximise=True))
    while asked := worst.next():
        worst.finished(asked, worth(asked.values), 1.0)
    found = worst.best()
    assert found is not None
    assert found.values == {"x": 3, "kind": "a"}


@pytest.mark.parametrize("plan", [DRAWN, GRID], ids=["drawn", "grid"])
def test_what_failed_is_tried_again_under_its_name_by_the_next_command(tmp_path: Path, plan: Plan) -> None:
    study = Study(tmp_path, "s", plan)
    asked = study.next()
    assert asked is not None
    study.failed(asked, "no luck", 2.0)
    second = study.next()
    assert second is not None
    assert second.name == "s-2"
    assert study.rows()[0] == Row("s-1", asked.values, "failed", None, 2.0, "no luck")
    study = Study(tmp_path, "s", plan)
    again = [study.next(), study.next(), study.next()]
    assert [one and one.name for one in again] == ["s-1", "s-2", "s-3"]
    assert again[0] is not None
    assert again[0].values == asked.values
    study.finished(again[0], 3.0, 1.0)
    assert study.rows()[0] == Row("s-1", asked.values, "finished", 3.0, 1.0)


def test_what_was_killed_before_it_had_values_does_not_count(tmp_path: Path) -> None:
    study = Study(tmp_path, "s", DRAWN)
    study.study.ask()
    asked = study.next()
    assert asked is not None
    assert asked.name == "s-1"
    assert asked.values == Study(tmp_path / "fresh", "s", DRAWN).next().values  # type: ignore[union-attr]


def test_trials_side_by_side_differ(tmp_path: Path) -> None:
    study = Study(tmp_path, "s", DRAWN)
    asked = [study.next() for _ in range(12)]
    assert study.next() is None
    assert len({str(one and one.values) for one in asked}) == 12


def test_a_name_is_for_one_plan(tmp_path: Path) -> None:
    run(tmp_path, GRID, 1)
    Study(tmp_path, "s", replace(GRID, space=Space(grid={"kind": ["a", "b"], "x": [1]})))
    for other in (DRAWN, replace(GRID, metric="m.json:other"), replace(GRID, targets=["x"])):
        with pytest.raises(UserError, match="was asked for with other keys"):
            Study(tmp_path, "s", other)
    with pytest.raises(UserError, match="began on other files"):
        Study(tmp_path, "s", replace(GRID, tree="other"))
