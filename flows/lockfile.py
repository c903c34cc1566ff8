"""Writes dvc.lock and .gitignore as DVC does, byte for byte, at a cost that does not grow with their length.

For each stage that ends, DVC parses the whole dvc.lock into a document that keeps comments and writes it anew: four
fifths of the time of 232 small stages. A dvc.lock that DVC wrote is a list of blocks, one a stage; here only the block
of that stage is made, by DVC's own dumper. Anything else in the file (comments, data sets) is left to DVC.

Stages that run side by side end in any order. Entries that are new are put where `dvc repro` would have put them: after
the old ones, in the order of the plan.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.repo.scm_context import SCMContext
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml, parse_yaml

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

HEAD = "schema: '2.0'\nstages:\n"
KEY = re.compile(r"^  (?![ ?#&*|>])(.+):$")
INSIDE = re.compile(r"^(?:    .*)?$")
ELSEWHERE = re.compile(r"^ *#|[&*]id\d", re.MULTILINE)
"""Comments and YAML's references: a block that holds one does not stand for itself."""


class LockFile:
    """One dvc.lock. It is read again whenever somebody else wrote it."""

    def __init__(self, path: Path, repo: Repo, order: Mapping[str, int]) -> None:
        """`order` is the place of each stage of this file in the plan."""
        self.path, self.repo, self.order = path, repo, order
        self.partial = Path(repo.tmp_dir) / f"{path.name}.partial"
        self.partial.unlink(missing_ok=True)  # a flow was killed while it wrote
        self.seen: tuple[int, ...] | None = None
        self.blocks: dict[str, str] | None = {}
        self.old: set[str] | None = None

    def put(self, stage: PipelineStage) -> None:
        """Write the entry of a stage; the file is whole at every moment."""
        self._read()
        block = _block(stage)
        if self.blocks is None or ELSEWHERE.search(block):
            stage.dump(update_pipeline=False)
            return
        if self.blocks.get(stage.name) == block:
            return
        self.blocks = self._with(stage.name, block)
        mode = self.seen[0] if self.seen else None
        replace(self.path, HEAD + "".join(self.blocks.values()), self.partial, mode)
        self.seen = stamp(self.path)
        self.repo.scm_context.track_file(stage.dvcfile._lockfile.relpath)

    def _read(self) -> None:
        now = stamp(self.path)
        if now == self.seen and self.old is not None:
            return
        text = self.path.read_text(encoding="utf-8") if now else HEAD
        self.seen, self.blocks = now, split(text)
        if self.old is None:
            self.old = set(self.blocks or ())

    def _with(self, name: str, block: str) -> dict[str, str]:
        blocks = dict(self.blocks or {})
        place = self.order[name]
        later = [] if name in blocks else [key for key in blocks if self._new(key) and self.order[key] > place]
        return {key: blocks[key] for key in blocks if key not in later} | {name: block} | _picked(blocks, later)

    def _new(self, name: str) -> bool:
        return name in self.order and name not in (self.old or ())


def _picked(blocks: Mapping[str, str], names: list[str]) -> dict[str, str]:
    return {name: blocks[name] for name in names}


def _block(stage: PipelineStage) -> str:
    text: str = dumps_yaml({"stages": {stage.name: to_single_stage_lockfile(stage)}})
    return text.removeprefix("stages:\n")


def split(text: str) -> dict[str, str] | None:
    """The text of a dvc.lock as blocks by stage; None where it is not exactly as DVC writes it."""
    if not text.startswith(HEAD) or not text.endswith("\n") or ELSEWHERE.search(text):
        return None
    blocks: dict[str, str] = {}
    name = ""
    for line in text[len(HEAD) :].splitlines():
        if key := KEY.match(line):
            name = str(parse_yaml(key[1], "dvc.lock")) if key[1][0] in "'\"" else key[1]
            blocks[name] = ""
        elif not name or not INSIDE.match(line):
            return None
        blocks[name] += f"{line}\n"
    return blocks


class Ignores(SCMContext):  # type: ignore[misc]
    """Puts outputs into .gitignore in the order of the plan, and keeps them there when another stage fails."""

    def __init__(self, repo: Repo, order: Mapping[str, int]) -> None:
        """`order` is the place of each output, by its path, in the plan."""
        super().__init__(repo.scm, repo.config)
        self.order = order
        self.added: dict[str, dict[str, int]] = {}

    def ignore(self, path: str) -> None:
        """Add an output to the .gitignore of its folder unless Git ignores it already."""
        super().ignore(path)
        if self.ignored_paths and self.ignored_paths[-1] == path:
            self.ignored_paths.clear()
            self._sort(Path(path).parent / ".gitignore", path)

    def _sort(self, file: Path, path: str) -> None:
        """Move the line just written before those of later stages that ended earlier."""
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        ours, place = self.added.setdefault(str(file), {}), self.order.get(path, len(self.order))
        later = [line for line in lines if ours.get(line, -1) > place]
        ours[lines[-1]] = place
        if later:
            kept = [line for line in lines if line not in later]
            file.write_text("".join([*kept, *later]), encoding="utf-8")


def replace(path: Path, text: str, partial: Path, mode: int | None) -> None:
    """Give a file a new text in one step; what is half-written is `partial`. `mode` is the file's old permissions."""
    partial.write_text(text, encoding="utf-8")
    if mode is not None:
        partial.chmod(mode)
    partial.replace(os.path.realpath(path))


def stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when somebody writes a file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode), found.st_ino, found.st_mtime_ns, found.st_size
