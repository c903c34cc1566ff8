"""Import closures: every module a stage may import, at any depth and also inside functions, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import closure
from stages.settings import read_params
from systems.parts.errors import UserError

PROJECT = closure.PROJECT
PAIRS = sorted(closure.pairs(read_params(PROJECT / "params.yaml")))


def write(project: Path, /, **sources: str) -> None:
    """Write modules of the toy track and forget what was read before."""
    for name, text in sources.items():
        (project / "systems" / "toys" / f"{name}.py").write_text(text)
    closure.imported.cache_clear()


def of_toy() -> set[str]:
    """Modules of the toy track in the closure of the toy's one stage."""
    return {path.stem for path in closure.modules("synthesize", "toy") if path.parent == Path("systems/toys")}


@pytest.mark.parametrize(
    "statement",
    [
        "import systems.toys.near",
        "from systems.toys import near",
        "from systems.toys.near import thing",
        "import systems.toys.near as other",
        "def work():\n    from systems.toys import near\n    return near",
        "class A:\n    def work(self):\n        import systems.toys.near\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from systems.toys import near\n",
    ],
)
def test_every_form_of_import_is_seen(toy: Path, statement: str) -> None:
    write(toy, toy=statement, near="import systems.toys.far", far="", stranger="")
    assert of_toy() == {"toy", "near", "far", "__init__"}


def test_cycles_end(toy: Path) -> None:
    write(toy, toy="import systems.toys.near", near="import systems.toys.toy")
    assert of_toy() == {"toy", "near", "__init__"}


def test_the_stage_and_the_packages_above_belong_to_it_and_libraries_do_not(toy: Path) -> None:
    found = {path.as_posix() for path in closure.modules("synthesize", "toy")}
    assert {"stages/__init__.py", "stages/__main__.py", "stages/synthesize.py", "stages/run.py"} <= found
    assert {"systems/__init__.py", "systems/parts/run.py", "systems/parts/errors.py"} <= found
    assert "stages/train.py" not in found
    assert all((toy / path).is_file() for path in found)


def test_links_lead_to_the_modules_and_are_remade_after_a_new_import(toy: Path) -> None:
    folder = toy / closure.LINKS / "synthesize" / "toy"
    targets = {link.resolve().relative_to(toy) for link in folder.iterdir()}
    assert targets == closure.modules("synthesize", "toy")
    assert not any(link.readlink().is_absolute() for link in folder.iterdir())

    closure.require_fresh("synthesize", "toy")
    write(toy, toy="import systems.toys.near", near="")
    with pytest.raises(UserError, match=r"links do not match the imports; run: python -m stages\.closure"):
        closure.require_fresh("synthesize", "toy")
    closure.main()
    closure.require_fresh("synthesize", "toy")


def test_pairs_are_the_blocks_of_the_parameters() -> None:
    values = {"scale": "smoke", "fetch": {"images": {}}, "track": {"train": {"net": {}}, "evaluate": {"net": {}}}}
    assert set(closure.pairs(values)) == {("fetch", "images"), ("train", "net"), ("evaluate", "net")}


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_the_committed_links_match_the_imports(stage: str, name: str) -> None:
    closure.require_fresh(stage, name)


def test_no_links_are_left_of_stages_that_are_gone() -> None:
    folders = {(path.parent.name, path.name) for path in (PROJECT / closure.LINKS).glob("*/*")}
    assert folders == {*PAIRS, (closure.REPORT, closure.REPORT)}
