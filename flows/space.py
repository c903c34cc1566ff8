"""What a sweep tries: values of keys of params.yaml, typed as YAML, each checked before anything runs."""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.scale import put
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna import Trial

Values = dict[str, Any]
"""A value for each key of a sweep, the keys dotted."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both among them; whole numbers if both are; by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial, key: str) -> float:
        """One of them, as the sampler likes."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Space:
    """Either a grid, all of whose combinations are tried, or ranges and choices that a sampler draws from."""

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def combinations(self) -> Iterator[Values]:
        """Every point of the grid, the last key varying fastest."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def draw(self, trial: Trial) -> Values:
        """A point that the sampler chooses. Choices are handed to it as text: it takes no lists."""
        drawn = {key: one.suggest(trial, key) for key, one in self.ranges.items()}
        texts = {key: [json.dumps(value) for value in values] for key, values in self.choices.items()}
        return {**drawn, **{key: json.loads(trial.suggest_categorical(key, texts[key])) for key in texts}}

    def plain(self) -> dict[str, Any]:
        """The space as JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Space:
        """The space that `plain` gave."""
        return cls(plain["grid"], {key: Range(**one) for key, one in plain["ranges"].items()}, plain["choices"])


def parsed(grid: Sequence[str], ranges: Sequence[str], choices: Sequence[str], known: Collection[str]) -> Space:
    """A space from the words of the command line: KEY=a,b for a grid or choices, KEY=low..high[:log] for ranges."""
    if bool(grid) == bool(ranges or choices):
        raise UserError("sweep: either --grid or --range and --choice are wanted, to say what to try")
    space = Space(
        {key: _values("--grid", key, text) for key, text in _split("--grid", grid, known)},
        {key: _range(key, text) for key, text in _split("--range", ranges, known)},
        {key: _values("--choice", key, text) for key, text in _split("--choice", choices, known)},
    )
    if twice := set(space.ranges) & set(space.choices):
        raise UserError(f"--choice {twice.pop()}: has a --range too; one of them is wanted")
    return space


def _split(option: str, words: Sequence[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"{option} {word}: KEY=VALUES is wanted")
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UserError(f"{option} {key}: no value of params.yaml{f'; {near[0]} is one' if near else ''}")
        if key in seen:
            raise UserError(f"{option} {key}: given twice; put all its values into one")
        seen.add(key)
        yield key, text


def _values(option: str, key: str, text: str) -> list[Any]:
    try:
        values = _typed(f"[{text}]")
        texts = [json.dumps(value, sort_keys=True, allow_nan=False) for value in values]
    except (YAMLError, TypeError, ValueError) as error:
        raise UserError(f"{option} {key}={text}: values as YAML writes them are wanted, with commas between") from error
    if not values or any(isinstance(value, dict) for value in values):
        raise UserError(f"{option} {key}={text}: one or more values are wanted, no blocks")
    if len(set(texts)) < len(texts):
        raise UserError(f"{option} {key}={text}: a value is there twice")
    return values


def _range(key: str, text: str) -> Range:
    span, _, scale = text.partition(":")
    low, dots, high = span.partition("..")
    try:
        ends = [_typed(f"[{end}]")[0] for end in (low, high)] if dots else []
    except (YAMLError, IndexError):
        ends = []
    if not ends or not all(_is_number(end) for end in ends) or scale not in {"", "log"}:
        raise UserError(f"--range {key}={text}: low..high or low..high:log is wanted, as 1e-4..1e-1:log")
    if ends[0] >= ends[1]:
        raise UserError(f"--range {key}={text}: the low end must be below the high end")
    if scale and ends[0] <= 0:
        raise UserError(f"--range {key}={text}: with :log both ends must be above 0")
    return Range(ends[0], ends[1], bool(scale))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _typed(text: str) -> list[Any]:
    """YAML's list, as DVC reads it."""
    found: list[Any] = YAML(typ="safe").load(text)
    return found


def write(path: Path, values: Values) -> None:
    """Put values into a params.yaml, all else in it untouched."""
    with modify_yaml(path) as params:
        for key, value in values.items():
            put(params, tuple(key.split(".")), _spelled(value))


def _spelled(value: Any) -> Any:
    """A number that every reader of YAML takes for one: older ones see a word in 1e-05, but not in 1.0e-05."""
    if not isinstance(value, float) or "e" not in repr(value) or "." in repr(value):
        return value
    return YAML().load(repr(value).replace("e", ".0e"))
