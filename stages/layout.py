"""Where every stage reads and writes: the one place that knows the folders, checked against each dvc.yaml by a test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from systems.parts.errors import UserError
from systems.parts.run import Strict


def root() -> Path:
    """The project: the nearest folder above the current one that holds params.yaml and dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"folder {here}: not inside a Delaminate project (no params.yaml and dvc.yaml here or above)")


def workers() -> int:
    """Processes a stage may use: DELAMINATE_WORKERS, else the cores this process may run on."""
    given = os.environ.get("DELAMINATE_WORKERS")
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not given.isdigit() or int(given) < 1:
        raise UserError(f"DELAMINATE_WORKERS={given}: a whole number of at least 1 is wanted")
    return int(given)


@dataclass(frozen=True)
class Layout:
    """What a stage reads and writes, as paths from the project's root with {name} and parameter fields in them."""

    stage: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    reports: bool = False
    holds: bool = False

    def input_paths(self, name: str, params: Strict) -> dict[str, Path]:
        """Inputs by name; one whose parameter field the system does not have, or left empty, is left out."""
        fields = {key: value for key, value in params.model_dump().items() if isinstance(value, str) and value}
        known = {"name": name, **fields}
        return {
            key: Path(pattern.format(**known))
            for key, pattern in self.inputs.items()
            if all(part in known for part in _fields_of(pattern))
        }

    def outputs(self, name: str) -> list[Path]:
        """Every path that DVC tracks as an output of the stage."""
        paths = [Path(self.output.format(name=name))] if self.output else []
        if self.reports:
            folder = self.report_folder(name)
            paths += [folder / "metrics.json", folder / "plots"]
        return [*paths, self.report_folder(name) / "holds.json"] if self.holds else paths

    def report_folder(self, name: str) -> Path:
        """Folder of the small results that people and DVC read."""
        return Path("reports") / self.stage / name


def _fields_of(pattern: str) -> list[str]:
    return [part.split("}")[0] for part in pattern.split("{")[1:]]
