"""Scales: named sets of values for keys of params.yaml, written into it as `dvc exp run -S` would.

params.yaml in Git is the small scale. Its key `scale` names the scale that the file in the workspace holds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import modify_yaml

from stages.settings import read_params
from systems.parts.errors import UserError

SMALL = "small"
Key = tuple[str, ...]


def names(root: Path) -> list[str]:
    """The scales there are."""
    return [SMALL, *sorted(path.stem for path in (root / "scales").glob("*.yaml"))]


def overrides(root: Path, name: str) -> dict[Key, Any]:
    """The values scale `name` sets, by the path of their keys; `small` sets none."""
    if name not in names(root):
        raise UserError(f"scale '{name}' is unknown; there are {', '.join(names(root))}")
    return {} if name == SMALL else dict(leaves(read_params(root / "scales" / f"{name}.yaml")))


def apply(root: Path, name: str) -> str:
    """Make params.yaml hold scale `name`, other values and comments untouched; returns one line that says so.

    Refuses a key params.yaml does not have, and to overwrite a value that a person changed and did not commit.
    """
    new, small = overrides(root, name), _committed(root)
    with modify_yaml(root / "params.yaml") as params:
        old = overrides(root, str(params.get("scale", SMALL)))
        for key in old | new:
            if get(params, key) != old.get(key, get(small, key)):
                raise UserError(
                    f"params.yaml: {'.'.join(key)} = {get(params, key)} is a change of yours that scale "
                    f"'{name}' would overwrite; commit it or set it back first"
                )
            put(params, key, new.get(key, get(small, key)))
        params["scale"] = name
    return f"params.yaml now holds scale '{name}' ({len(new)} values set)"


def merged(values: Mapping[str, Any], changes: Mapping[Key, Any]) -> dict[str, Any]:
    """A copy of parameters with changes put in; a key that is not there is refused."""
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(values), sort_keys=False))
    for key, value in changes.items():
        put(copy, key, value)
    return copy


def get(values: Mapping[str, Any], key: Key) -> Any:
    """The value at a path of keys; a path that is not there is refused."""
    inner: Any = values
    for depth, part in enumerate(key):
        if not isinstance(inner, Mapping) or part not in inner:
            raise UserError(
                f"scales: params.yaml has no key {'.'.join(key[: depth + 1])}; a scale only sets what is there"
            )
        inner = inner[part]
    return inner


def put(values: MutableMapping[str, Any], key: Key, value: Any) -> None:
    """Set the value at a path of keys that is there."""
    get(values, key)
    get(values, key[:-1])[key[-1]] = value


def leaves(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is not a mapping itself, with the path of its keys."""
    for name, value in values.items():
        key = (*above, str(name))
        if isinstance(value, Mapping):
            yield from leaves(value, key)
        else:
            yield key, value


def _committed(root: Path) -> dict[str, Any]:
    shown = subprocess.run(["git", "show", "HEAD:./params.yaml"], cwd=root, capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        raise UserError("params.yaml: is not committed in Git, so a scale could not be taken back; commit it first")
    values: dict[str, Any] = yaml.safe_load(shown.stdout)
    if values.get("scale", SMALL) != SMALL:
        raise UserError(f"params.yaml: the committed file holds scale '{values['scale']}', '{SMALL}' is wanted in Git")
    return values
