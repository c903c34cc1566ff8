"""Every value we ship fits its `Params`, in params.yaml and with each scale over it. No recipe can rot."""

from __future__ import annotations

from typing import Any

import pytest

from flows import scale
from stages import closure, discover
from stages.settings import block, check, read_params
from systems.parts.errors import UserError

PROJECT = closure.PROJECT
SMALL = read_params(PROJECT / "params.yaml")
PAIRS = sorted(closure.pairs(SMALL))
CASES = [(name, *pair) for name in scale.names(PROJECT) for pair in PAIRS]


def shipped(name: str) -> dict[str, Any]:
    """params.yaml as the scale makes it; a key that params.yaml does not have is refused here."""
    return scale.merged(SMALL, scale.overrides(PROJECT, name))


@pytest.mark.parametrize(("name", "stage", "system"), CASES)
def test_every_block_is_valid_at_every_scale(name: str, stage: str, system: str) -> None:
    found, _, kind = discover.function(stage, system)
    values = block(shipped(name), found.track, stage, system)
    assert check(kind, values, f"{name}:{stage}.{system}")
    with pytest.raises(UserError, match="no_such_parameter"):
        check(kind, {**values, "no_such_parameter": 1}, "")


def test_the_scales_of_the_design_are_there() -> None:
    assert set(scale.names(PROJECT)) >= {"small", "smoke", "full"}


@pytest.mark.parametrize("name", ["smoke", "full"])
def test_a_scale_says_nothing_that_small_says_already(name: str) -> None:
    assert {key: value for key, value in scale.overrides(PROJECT, name).items() if scale.get(SMALL, key) == value} == {}


def test_params_yaml_in_git_is_the_small_scale() -> None:
    assert SMALL["scale"] == "small"
