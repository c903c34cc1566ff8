"""`python -m stages`: the names it knows, and the line it ends in for those it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.__main__ import kinds, main
from systems.parts.errors import UserError

PROJECT = Path(__file__).resolve().parents[2]


def test_stages_are_the_modules_with_a_layout() -> None:
    assert {"fetch", "synthesize", "validate", "train", "decompose", "evaluate"} <= set(kinds())
    assert not {"run", "layout", "closure", "execute", "tracking"} & set(kinds())


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "no stage named; usage"), (["tarin"], "'tarin' is not a stage; usage")]
)
def test_an_unknown_stage_is_named_beside_those_there_are(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        main(arguments)
    assert message in str(caught.value)
    assert "{decompose," in str(caught.value)


def test_the_command_works_from_any_folder_of_the_project(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy / "systems" / "toys")
    main(["synthesize", "toy"])
    assert (toy / "data" / "toy" / "size.txt").read_text() == "3"


@pytest.mark.parametrize("arguments", [["tarin"], ["synthesize"], ["synthesize", "nobody"]])
def test_the_process_ends_in_one_line_and_code_2(arguments: list[str]) -> None:
    given = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, "-m", "stages", *arguments],
        cwd=PROJECT,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("delaminate: ")
