"""Random DVC pipelines: what stages are made of, how they hang together, and the project that holds them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo
from hypothesis import strategies as st

KINDS = ("out", "folder", "persist", "uncached", "metric", "cached metric", "plot")
SECTIONS = {"metric": "metrics", "cached metric": "metrics", "plot": "plots"}
FLAGS = {
    "persist": {"persist": True},
    "uncached": {"cache": False},
    "metric": {"cache": False},
    "plot": {"cache": False},
}
WORDS = st.text("ab 'é:#\n", max_size=8)
PLAIN = st.floats(-1, 1).filter(lambda number: "e" not in repr(number))
"""Numbers without an exponent: the last digits of others change when DVC rewrites dvc.lock (see test_engine)."""
VALUES = st.one_of(st.integers(-5, 5), PLAIN, WORDS, st.lists(st.booleans(), max_size=2))


@dataclass
class Drawn:
    """A stage before it is written: which earlier ones it takes from, its parameters, what it makes and how."""

    inputs: list[int]
    params: list[str]
    kinds: list[str]
    file: str = "."
    many: str = ""
    flag: str = ""


@dataclass
class Pipelines:
    """The files of a project."""

    stages: list[Drawn]
    params: dict[str, Any]
    added: bool = False
    imported: bool = False
    made: dict[int, list[str]] = field(default_factory=dict)


@st.composite
def drawn(draw: st.DrawFn, place: int) -> Drawn:
    """A stage that may take what any earlier one makes."""
    return Drawn(
        draw(st.lists(st.integers(-1, place - 1), unique=True, max_size=2)),
        draw(st.lists(st.sampled_from(["a", "b", "deep.c"]), unique=True, max_size=2)),
        draw(st.lists(st.sampled_from(KINDS), unique=True, max_size=2)),
        draw(st.sampled_from([".", ".", "sub"])),
        draw(st.sampled_from(["", "", "foreach", "matrix"])),
        draw(st.sampled_from(["", "", "", "frozen", "always_changed"])),
    )


@st.composite
def pipelines(draw: st.DrawFn) -> Pipelines:
    """A project of two to six stages, some of them templates of two."""
    stages = [draw(drawn(place)) for place in range(draw(st.integers(2, 6)))]
    params = {"a": draw(VALUES), "b": draw(VALUES), "deep": {"c": draw(VALUES), "d": 0}}
    return Pipelines(stages, params, draw(st.booleans()), draw(st.booleans()))


def write(project: Pipelines, folder: Path, template: Path) -> None:
    """Put the project into `folder`, a copy of an empty DVC project."""
    shutil.copytree(template, folder, symlinks=True)
    (folder / "sub").mkdir()
    for name in ("input.txt", "source.txt", "data.txt"):
        (folder / name).write_text(f"{name}\n")
    files: dict[str, dict[str, Any]] = {}
    for place, stage in enumerate(project.stages):
        files.setdefault(stage.file, {})[f"s{place}"] = _entry(project, place, stage)
    for where, stages in files.items():
        (folder / where / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    set_params(folder, project.params)
    if project.added or project.imported:
        with Repo(str(folder)) as repo:
            if project.added:
                repo.add(str(folder / "data.txt"))
            if project.imported:
                repo.imp_url("source.txt", str(folder / "copy.txt"))
                file = folder / "copy.txt.dvc"
                file.write_text(file.read_text().replace("frozen: true\n", ""))


def set_params(folder: Path, params: dict[str, Any]) -> None:
    """Write params.yaml."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))


def _entry(project: Pipelines, place: int, stage: Drawn) -> dict[str, Any]:
    """One entry of a dvc.yaml. Stages of the folder below work from the root."""
    tag = {"": "", "foreach": "-${item}", "matrix": "-${item.one}-${item.two}"}[stage.many]
    tags = {"": [""], "foreach": ["-x", "-y"], "matrix": ["-1-u", "-2-u"]}[stage.many]
    names = {
        kind: f"o{place}{tag}-{kind.replace(' ', '')}" + (".json" if "metric" in kind else "") for kind in stage.kinds
    }
    taken = [name for earlier in stage.inputs for name in _taken(project, earlier)]
    project.made[place] = [name.replace(tag, each) if tag else name for each in tags for name in names.values()]
    what: dict[str, Any] = {"cmd": _command(stage, place, tag, names, taken)}
    if stage.file != ".":
        what["wdir"] = ".."
    if taken:
        what["deps"] = taken
    if stage.params:
        what["params"] = stage.params
    for kind, name in names.items():
        what.setdefault(SECTIONS.get(kind, "outs"), []).append({name: FLAGS[kind]} if kind in FLAGS else name)
    if stage.flag == "always_changed" or (stage.flag == "frozen" and names):
        what[stage.flag] = True
    if stage.many == "foreach":
        return {"foreach": ["x", "y"], "do": what}
    return {"matrix": {"one": [1, 2], "two": ["u"]}, **what} if stage.many == "matrix" else what


def _taken(project: Pipelines, earlier: int) -> list[str]:
    if earlier >= 0:
        return project.made.get(earlier, [])
    return ["input.txt", *(["data.txt"] if project.added else []), *(["copy.txt"] if project.imported else [])]


def _command(stage: Drawn, place: int, tag: str, names: dict[str, str], taken: list[str]) -> str | list[str]:
    """Commands whose output depends on all that the stage takes, whatever order others run in."""
    read = f"echo s{place}{tag}; find {' '.join(taken)} -type f | sort | xargs cat" if taken else f"echo s{place}{tag}"
    read += (
        f"; cat params.yaml | grep -A1 -E '^({'|'.join(p.split('.')[0] for p in stage.params)}):'"
        if stage.params
        else ""
    )
    lines = [f"echo begins {place}{tag}"]
    for kind, name in names.items():
        if "metric" in kind:
            lines.append(f"printf '{{\"size\": %d}}' $( ({read}) | wc -c ) > {name}")
        elif kind == "folder":
            lines.append(f"mkdir -p {name}/in && ({read}) > {name}/in/one && echo two > {name}/two")
        else:
            lines.append(f"({read}) {'>>' if kind == 'persist' else '>'} {name}")
    return lines if place % 2 else " && ".join(lines)


def template(folder: Path) -> Path:
    """An empty DVC project in Git."""
    folder.mkdir()
    subprocess.run(("git", "init", "-q"), cwd=folder, check=True)
    Repo.init(str(folder)).close()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Everything a run leaves: workspace, dvc.lock files, .gitignore files, cache and run cache."""
    left = (path for path in folder.rglob("*") if path.is_file() and not {".git", "tmp"} & set(path.parts[-4:]))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in left
        if ".git" not in path.relative_to(folder).parts
    }
