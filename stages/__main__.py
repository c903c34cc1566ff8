"""The one command form: `python -m stages <stage> <name>`, from any folder of the project."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import stages
from stages.execute import command
from stages.layout import root
from systems.parts.errors import UserError


def kinds() -> list[str]:
    """Names of the stages: the modules of this package that have a `LAYOUT`."""
    names = [item.name for item in pkgutil.iter_modules(stages.__path__) if not item.name.startswith("_")]
    return [name for name in names if "\nLAYOUT = " in _source(name)]


def _source(name: str) -> str:
    spec = importlib.util.find_spec(f"stages.{name}")
    return Path(spec.origin).read_text() if spec and spec.origin and not spec.submodule_search_locations else ""


def main(arguments: Sequence[str]) -> None:
    """Hand the arguments to the stage named first."""
    if not arguments or arguments[0] not in kinds():
        given = f"'{arguments[0]}' is not a stage" if arguments else "no stage named"
        raise UserError(f"{given}; usage: python -m stages {{{','.join(kinds())}}} NAME [options]")
    module = importlib.import_module(f"stages.{arguments[0]}")
    os.chdir(root())
    module.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
