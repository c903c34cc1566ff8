"""Every system found: its card is complete, its parameters are described, and wrong ones are refused."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from stages import closure, discover
from stages.settings import block, check, keys_of, read_params
from systems.parts.errors import UserError
from systems.parts.run import Strict

VALUES = read_params(closure.PROJECT / "params.yaml")
SYSTEMS = discover.walk()
PAIRS = sorted(closure.pairs(VALUES))
CARDS = sorted(
    name for name, found in SYSTEMS.items() if re.match(r"\d\d\. ", importlib.import_module(found.module).__doc__ or "")
)


def parts(stage: str, name: str) -> tuple[type[Strict], dict[str, Any], str]:
    """Class of the parameters, their shipped values, and where these stand."""
    found, _, kind = discover.function(stage, name)
    where = found.track, stage, name
    return kind, dict(block(VALUES, *where)), ".".join(keys_of(*where))


def test_systems_of_cards_are_found() -> None:
    assert "diffdecompose" in CARDS


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_what_where_from_and_how_to_run(name: str) -> None:
    card = importlib.import_module(SYSTEMS[name].module).__doc__ or ""
    title = card.splitlines()[0]
    assert re.fullmatch(r"\d\d\. .+ \(\d{4}\): .+", title), title
    for wanted, why in {
        r"arXiv|doi|proceedings|github": "the paper",
        r"[Cc]hecked against": "what the code was checked against",
        r"[Aa]pproximat": "what is approximated",
        r"\d+ min": "how long it takes at small scale",
        rf"python -m stages \w+ {name}": "the command",
    }.items():
        assert re.search(wanted, card), f"the card of {name} does not say {why}"


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_every_stage_of_params_yaml_has_its_function(stage: str, name: str) -> None:
    _, call, kind = discover.function(stage, name)
    assert call.__name__ == stage
    assert call.__doc__
    assert issubclass(kind, Strict)


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_parameters_are_frozen_and_described(stage: str, name: str) -> None:
    kind, _, _ = parts(stage, name)
    assert kind.model_config["frozen"]
    assert [field for field, about in kind.model_fields.items() if not about.description] == []


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_a_value_of_the_wrong_kind_is_refused_by_name(stage: str, name: str) -> None:
    kind, given, where = parts(stage, name)
    for field in kind.model_fields:
        with pytest.raises(UserError) as caught:
            check(kind, {**given, field: object()}, where)
        assert f"parameter {where}.{field}" in str(caught.value)
        assert "\n" not in str(caught.value)
