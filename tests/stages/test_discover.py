"""Systems are found by walking; a wrong name, a missing stage and a double name end in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import discover
from systems.parts.errors import UserError


def test_a_module_dropped_into_a_track_is_found_with_its_parameters(toy: Path) -> None:
    found, call, kind = discover.function("synthesize", "toy")
    assert (found.name, found.track, found.module) == ("toy", "toys", "systems.toys.toy")
    assert call.__name__ == "synthesize"
    assert list(kind.model_fields) == ["size"]


def test_a_system_in_a_folder_keeps_a_stage_in_a_file_of_its_name(toy: Path) -> None:
    folder = toy / "systems" / "toys" / "big"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "train.py").touch()
    big = discover.walk()["big"]
    assert big.module_for("train") == "systems.toys.big.train"
    assert big.module_for("evaluate") == "systems.toys.big"


def test_an_unknown_system_is_named_beside_those_there_are(toy: Path) -> None:
    with pytest.raises(UserError, match=r"system 'tow' is unknown; there are .*\btoy\b"):
        discover.function("synthesize", "tow")


def test_a_stage_the_system_lacks_is_named(toy: Path) -> None:
    with pytest.raises(UserError, match="system 'toy' has no stage 'train'"):
        discover.function("train", "toy")


def test_a_name_used_twice_is_refused(toy: Path) -> None:
    other = toy / "systems" / "others"
    other.mkdir()
    for name in ("__init__.py", "toy.py"):
        (other / name).touch()
    with pytest.raises(UserError, match=r"system 'toy' is defined twice: systems\.others\.toy and systems\.toys\.toy"):
        discover.walk()


def test_the_first_import_error_stops_everything(toy: Path) -> None:
    (toy / "systems" / "toys" / "toy.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        discover.function("synthesize", "toy")
