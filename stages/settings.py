"""Reads params.yaml and checks it: a wrong value ends in one line with the parameter, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from systems.parts.errors import UserError
from systems.parts.run import Strict

P = TypeVar("P", bound=Strict)


class Dask(Strict):
    """The block `dask`, which says where work is done and never changes a result: no stage depends on it."""

    address: str | None = Field(
        default=None, pattern=r"^(tcp|tls)://.+:\d+$", description="of a scheduler, as tcp://HOST:8786"
    )


def read_params(path: Path) -> dict[str, Any]:
    """The whole parameter file as plain values."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: a mapping is wanted at the top, found {type(values).__name__}")
    return values


def keys_of(track: str, stage: str, name: str) -> list[str]:
    """Where the block of a stage stands: `track.stage.name`, without the track for sources, which have none."""
    return [stage, name] if track == "sources" else [track, stage, name]


def scale(path: Path) -> str:
    """Name of the scale a parameter file is at; `small`, as shipped, where it says nothing or is not there."""
    return str(read_params(path).get("scale", "small")) if path.is_file() else "small"


def cluster(values: Mapping[str, Any]) -> str | None:
    """Address of the Dask cluster for data-parallel work; none where it is done on this machine."""
    return check(Dask, values.get("dask", {}), "dask").address


def block(values: Mapping[str, Any], track: str, stage: str, name: str) -> Mapping[str, Any]:
    """The parameters of one stage of one system."""
    keys = keys_of(track, stage, name)
    inner: Any = values
    for depth, key in enumerate(keys):
        if not isinstance(inner, Mapping) or key not in inner:
            raise UserError(f"params.yaml: no block {'.'.join(keys[: depth + 1])} for stage '{stage}' of '{name}'")
        inner = inner[key]
    if not isinstance(inner, Mapping):
        raise UserError(f"params.yaml: {'.'.join(keys)} = {inner!r}: a block of parameters is wanted")
    return inner


def check(kind: type[P], values: Mapping[str, Any], where: str) -> P:
    """Build `kind` from plain values, or say in one line what is wrong with them."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"])])
        given = "" if first["type"] == "missing" else f" = {first['input']!r}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"parameter {key}{given}: {first['msg']}{more}") from error
