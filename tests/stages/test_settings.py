"""Parameters: what is read, and the one line a wrong value ends in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from stages.settings import block, check, keys_of, read_params
from systems.parts.errors import UserError
from systems.parts.run import Strict

VALUES = {"fetch": {"images": {"size": 1}}, "track": {"train": {"net": {"size": 2}, "flat": 3}}}


class Inner(Strict):
    width: int = Field(default=4, ge=1, le=9)


class Params(Strict):
    size: int = Field(default=3, gt=0)
    inner: Inner = Inner()


def test_blocks_of_a_track_and_of_the_sources() -> None:
    assert block(VALUES, "track", "train", "net") == {"size": 2}
    assert block(VALUES, "sources", "fetch", "images") == {"size": 1}
    assert keys_of("sources", "fetch", "images") == ["fetch", "images"]


@pytest.mark.parametrize(
    ("track", "stage", "name", "message"),
    [
        ("nowhere", "train", "net", "no block nowhere for stage 'train' of 'net'"),
        ("track", "evaluate", "net", "no block track.evaluate for stage 'evaluate' of 'net'"),
        ("track", "train", "other", "no block track.train.other for stage 'train' of 'other'"),
        ("track", "train", "flat", "track.train.flat = 3: a block of parameters is wanted"),
    ],
)
def test_a_missing_block_is_named(track: str, stage: str, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        block(VALUES, track, stage, name)
    assert str(caught.value) == f"params.yaml: {message}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "parameter here.sise = 3: Extra inputs are not permitted"),
        ({"size": "big"}, "parameter here.size = 'big': Input should be a valid integer"),
        ({"size": 0}, "parameter here.size = 0: Input should be greater than 0"),
        ({"inner": {"width": 10}}, "parameter here.inner.width = 10: Input should be less than or equal to 9"),
        ({"inner": {"width": None}}, "parameter here.inner.width = None: Input should be a valid integer"),
        ({"size": -1, "inner": {"width": 0}}, "Input should be greater than 0 (and 1 more)"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check(Params, values, "here")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_right_values_are_taken_and_the_rest_are_defaults() -> None:
    assert check(Params, {"inner": {"width": 9}}, "here") == Params(inner=Inner(width=9))


def test_a_missing_value_is_named_without_what_stands_around_it() -> None:
    class Needs(Strict):
        size: int
        depth: int = 3

    with pytest.raises(UserError, match=r"^parameter here\.size: Field required$"):
        check(Needs, {"depth": 2}, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "cannot be read as YAML"), ("- 1\n- 2\n", "a mapping is wanted at the top, found list")],
)
def test_a_broken_file_ends_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_params(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_params(tmp_path / "params.yaml")
