"""One stage of one system run whole: its result, or one line and nothing."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import closure
from stages.execute import command, only_name, perform
from stages.layout import Layout
from stages.run import NoTracker, StageRun
from systems.parts.errors import UserError

PLAN = Layout("synthesize", output="data/{name}", reports=True)


def tree(toy: Path) -> set[str]:
    """What a run may leave."""
    return {path.name for folder in ("data", "reports") for path in (toy / folder).rglob("*") if path.is_file()}


def system(toy: Path, body: str) -> None:
    """Give the toy another body."""
    path = toy / "systems" / "toys" / "toy.py"
    path.write_text(path.read_text() + f"\n    (run.output / 'half').write_text('half')\n    {body}\n")


def fails(arguments: Any = None) -> int:
    return command(lambda _: perform(PLAN, "toy"), [])


def test_a_stage_leaves_its_outputs(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lambda _: perform(PLAN, "toy"), []) == 0
    assert (toy / "data" / "toy" / "size.txt").read_text() == "3"
    assert tree(toy) == {"size.txt", "metrics.json", "sizes.csv"}
    assert "done in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("size: 3\n      sise: 4", "parameter toys.synthesize.toy.sise = 4: Extra inputs are not permitted"),
        ("size: big", "parameter toys.synthesize.toy.size = 'big': Input should be a valid integer"),
        ("size: 10", "parameter toys.synthesize.toy.size = 10: Input should be less than or equal to 9"),
        ("size: [", "params.yaml: cannot be read as YAML"),
    ],
)
def test_wrong_parameters_end_in_one_line_and_code_2(
    toy: Path, block: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (toy / "params.yaml").write_text(f"toys:\n  synthesize:\n    toy:\n      {block}\n")
    assert fails() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert tree(toy) == set()


def test_a_missing_input_is_named(toy: Path) -> None:
    plan = Layout("synthesize", inputs={"model": "models/{name}"}, output="data/{name}")
    with pytest.raises(UserError, match="input model of stage 'synthesize' of 'toy': models/toy does not exist"):
        perform(plan, "toy")


def test_stale_links_stop_the_stage(toy: Path) -> None:
    (toy / "stages" / "closures" / "synthesize" / "toy" / "stages.run.py").unlink()
    with pytest.raises(UserError, match="links do not match"):
        perform(PLAN, "toy")


def test_a_users_error_inside_a_system_leaves_nothing(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system(toy, "from systems.parts.errors import UserError; raise UserError('picture a.png:\\n  too small')")
    assert fails() == 2
    assert capsys.readouterr().err == "delaminate: picture a.png: too small\n"
    assert tree(toy) == set()


def test_our_own_fault_keeps_its_traceback_and_leaves_nothing(toy: Path) -> None:
    system(toy, "raise ZeroDivisionError('ours')")
    with pytest.raises(ZeroDivisionError, match="ours"):
        fails()
    assert tree(toy) == set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_a_line(toy: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    system(toy, f"import os; raise OSError({number}, os.strerror({number}))")
    assert fails() == 2
    assert "delaminate: file data/toy: cannot be written" in capsys.readouterr().err
    assert tree(toy) == set()


def test_other_faults_of_the_machine_are_not_hidden(toy: Path) -> None:
    system(toy, f"raise OSError({errno.EPIPE}, 'Broken pipe')")
    with pytest.raises(BrokenPipeError):
        fails()


def test_a_failed_stage_keeps_the_result_before(toy: Path) -> None:
    perform(PLAN, "toy")
    (toy / "params.yaml").write_text("toys:\n  synthesize:\n    toy:\n      size: 0\n")
    assert fails() == 2
    assert (toy / "data" / "toy" / "size.txt").read_text() == "3"


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--all"]])
def test_a_stage_takes_one_name(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="stage 'train' takes one name"):
        only_name("train", arguments)
    assert only_name("train", ["net"]) == "net"


class Told(NoTracker):
    """A tracker that remembers models and scores."""

    def __init__(self) -> None:
        self.heard: list[tuple[Path, ...]] = []

    def model(self, folder: Path) -> None:
        self.heard.append((folder,))

    def score(self, model: Path, data: Path) -> None:
        self.heard.append((model, data))


@pytest.mark.parametrize(
    ("stage", "metric", "heard"),
    [
        ("train", "loss", [(Path("models/toy"),)]),
        ("evaluate", "rmse", []),
        ("evaluate", "score", [(Path("models/toy"), Path("data/toy"))]),
    ],
)
def test_a_model_is_recorded_when_it_is_trained_and_judged_when_it_is_scored(
    toy: Path, monkeypatch: pytest.MonkeyPatch, stage: str, metric: str, heard: list[tuple[Path, ...]]
) -> None:
    code = toy / "systems" / "toys" / "toy.py"
    code.write_text(
        code.read_text().replace("def synthesize", f"def {stage}").replace('"size", run', f'"{metric}", run')
    )
    (toy / "params.yaml").write_text(f"toys:\n  {stage}:\n    toy:\n      size: 3\n")
    closure.main()
    inputs = {"data": "data/{name}", "model": "models/{name}"} if stage == "evaluate" else {}
    for folder in ("data/toy", "models/toy"):
        (toy / folder).mkdir(parents=True)
    told = Told()

    @contextlib.contextmanager
    def tracked(run: StageRun[Any], _: object) -> Iterator[None]:
        run.tracker = told
        yield

    monkeypatch.setattr("stages.execute.tracked", tracked)
    perform(Layout(stage, inputs=inputs, output="models/{name}" if stage == "train" else None, reports=True), "toy")
    assert told.heard == heard
