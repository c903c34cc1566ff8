"""What a sweep may try: words become typed values, and every reader of YAML finds them again in params.yaml."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import optuna
import pytest
import yaml
from dvc.utils.serialize import load_yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flows.space import Range, Space, parsed, write
from systems.parts.errors import UserError

KNOWN = {"a", "b.c"}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS |= st.text("ab1 ,'\"é:#[]{}-\n")
SOME = st.lists(st.integers(), min_size=1, max_size=3, unique=True)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)


@given(st.lists(VALUES, min_size=1, max_size=4, unique_by=json.dumps))
def test_values_are_what_yaml_says_they_are(values: list[object]) -> None:
    text = json.dumps(values, ensure_ascii=False)[1:-1]  # JSON is YAML
    assert parsed([f"b.c={text}"], [], [], KNOWN).grid == {"b.c": values}


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=3, unique=True), min_size=1)
)
def test_a_grid_is_every_combination_once(grid: dict[str, list[int]]) -> None:
    found = [tuple(point.items()) for point in Space(grid).combinations()]
    pairs = [[(key, value) for value in values] for key, values in grid.items()]
    assert found == list(itertools.product(*pairs))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1..8", Range(1, 8)),
        ("1e-5..1e-2:log", Range(1e-5, 1e-2, log=True)),
        ("-1..0.5", Range(-1, 0.5)),
    ],
)
def test_ranges(text: str, wanted: Range) -> None:
    space = parsed([], [f"a={text}"], [], KNOWN)
    assert space.ranges == {"a": wanted}
    assert Space.of(json.loads(json.dumps(space.plain()))) == space


@pytest.mark.parametrize(
    "text", ["1", "1..", "..1", "2..1", "1..1", "a..b", "0..1:log", "1..2:lin", "true..2", "1...inf"]
)
def test_wrong_ranges_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--range a="):
        parsed([], [f"a={text}"], [], KNOWN)


@pytest.mark.parametrize("text", ["", "[1", "1,,2", "{b: 1}", "x: 1", ".nan", "2020-01-01", "1,1"])
def test_wrong_values_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--grid a="):
        parsed([f"a={text}"], [], [], KNOWN)


@given(st.floats(1e-9, 1e9), st.floats(1.001, 100), st.booleans(), st.integers(0, 2**31))
def test_what_is_drawn_lies_in_the_space(low: float, factor: float, log: bool, seed: int) -> None:
    space = Space(ranges={"a": Range(low, low * factor, log), "i": Range(2, 5)}, choices={"b.c": [None, [1], "x"]})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = space.draw(study.ask())
    assert low <= drawn["a"] <= low * factor
    assert drawn["i"] in {2, 3, 4, 5}
    assert drawn["b.c"] in (None, [1], "x")


@given(value=VALUES)
@example(value=1e-05)
@example(value=1e22)
def test_what_is_written_is_read_again_by_old_and_new_yaml(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = Path(tmp_path_factory.mktemp("params")) / "params.yaml"
    path.write_text("# stays\na: 1\nb:\n  c: 2 # too\n")
    write(path, {"b.c": value})
    text = path.read_text()
    assert text.startswith("# stays\na: 1\n")
    assert load_yaml(path) == {"a": 1, "b": {"c": value}}
    if not isinstance(value, list | str):
        assert yaml.safe_load(text) == {"a": 1, "b": {"c": value}}
