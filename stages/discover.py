"""Finds systems by walking the package: no registry, no list. The first import error stops everything."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from systems.parts.errors import UserError
from systems.parts.run import Strict

SOURCES = "stages.sources"


@dataclass(frozen=True)
class Found:
    """A system as the walk sees it, before it is imported."""

    name: str
    track: str
    module: str

    def module_for(self, stage: str) -> str:
        """Module that holds the function of `stage`: the system itself or, in a folder, the file named after it."""
        inner = f"{self.module}.{stage}"
        is_folder = importlib.util.find_spec(self.module).submodule_search_locations  # type: ignore[union-attr]
        return inner if is_folder and importlib.util.find_spec(inner) else self.module


def walk() -> dict[str, Found]:
    """Every system by name, with the sources as a track of their own. A name used twice is refused."""
    found: dict[str, Found] = {}
    for package, track in _tracks():
        for item in pkgutil.iter_modules(importlib.import_module(package).__path__):
            system = Found(item.name, track, f"{package}.{item.name}")
            if item.name in found:
                raise UserError(f"system '{item.name}' is defined twice: {found[item.name].module} and {system.module}")
            found[item.name] = system
    return found


def _tracks() -> Iterator[tuple[str, str]]:
    for item in pkgutil.iter_modules(importlib.import_module("systems").__path__):
        if item.ispkg and item.name != "parts":
            yield f"systems.{item.name}", item.name
    yield SOURCES, "sources"


def system(name: str) -> Found:
    """The system of a name, or one line with the names there are."""
    systems = walk()
    if name not in systems:
        raise UserError(f"system '{name}' is unknown; there are {', '.join(sorted(systems))}")
    return systems[name]


def function(stage: str, name: str) -> tuple[Found, Callable[[Any], None], type[Strict]]:
    """The function of `stage` in system `name` and the class of its parameters, read from `run: Run[Params]`."""
    found = system(name)
    module = importlib.import_module(found.module_for(stage))
    call = getattr(module, stage, None)
    if not callable(call):
        raise UserError(f"system '{name}' has no stage '{stage}'")
    return found, call, params_class(call, module)


def params_class(call: Callable[[Any], None], module: ModuleType) -> type[Strict]:
    """`Params` of a stage function annotated `run: Run[Params]`."""
    annotation = call.__annotations__["run"]
    if isinstance(annotation, str):
        annotation = eval(annotation, vars(module))  # noqa: S307 - our own source, as typing.get_type_hints does
    (params,) = typing.get_args(annotation)
    return typing.cast("type[Strict]", params)
