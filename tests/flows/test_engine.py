"""The engine on small projects: side by side, longest first, what a stage asks for, failures, tries and time-outs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows import durations
from flows.engine import Engine, OnError
from flows.graph import Selection, Step
from flows.progress import Terminal, described
from flows.project import Options, opened
from flows.resources import Limits
from flows.summary import Result, table
from systems.parts.errors import UserError
from tests.flows.pipelines import template

PLENTY = Limits(8, 8, 2**33)
MEET = "touch {me}.here; for i in $(seq 600); do [ -e {other}.here ] && exit 0; sleep 0.1; done; exit 1"
"""A command that ends well only while another runs."""
Run = Callable[..., dict[str, Result]]


class Starts:
    """A watcher that keeps the order in which stages start, and their lines."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lines: list[str] = []

    def started(self, step: Step) -> None:
        self.names.append(step.name)

    def line(self, step: Step, text: str) -> None:
        self.lines.append(text)

    def ended(self, result: Result) -> None:
        pass

    def moved(self, view: object) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write stages into a new project, on the first call, and run the engine there."""
    folder = template(tmp_path / "project")
    monkeypatch.chdir(folder)

    def perform(
        stages: dict[str, Any] | None = None,
        limits: Limits = PLENTY,
        on_error: OnError = OnError.KEEP_GOING,
        watcher: Any = None,
        selection: Selection = Selection(all_pipelines=True),  # noqa: B008 - frozen
        **options: Any,
    ) -> dict[str, Result]:
        if stages:
            Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
        with opened(selection, Options(**options)) as project:
            watchers = [watcher] if watcher else []
            return {r.step.name: r for r in Engine(project, limits, on_error, watchers).run()}

    return perform


def ends(results: dict[str, Result]) -> dict[str, str]:
    return {name: str(result.outcome) for name, result in results.items()}


def test_independent_stages_meet(run: Run) -> None:
    stages = {me: {"cmd": MEET.format(me=me, other=other)} for me, other in ("ab", "bc", "cd", "da")}
    assert set(ends(run(stages)).values()) == {"ran"}


def test_a_shared_unchanged_dependency_blocks_nobody(run: Run) -> None:
    both = {me: {"cmd": MEET.format(me=me, other=other), "deps": ["s.txt"]} for me, other in ("ab", "ba")}
    source = {"source": {"cmd": "echo 1 > s.txt", "outs": ["s.txt"]}}
    run(source)
    assert ends(run({**source, **both})) == {"source": "up to date", "a": "ran", "b": "ran"}


def test_one_job_means_one_at_a_time(run: Run) -> None:
    alone = "[ ! -e busy ] && touch busy && sleep 0.2 && rm busy"
    assert set(ends(run({f"s{n}": {"cmd": alone} for n in range(4)}, Limits(1, 8, 2**33))).values()) == {"ran"}


def test_longest_known_first_and_the_head_of_a_long_chain_before_it(run: Run) -> None:
    stages: dict[str, Any] = {name: {"cmd": f"echo {name}"} for name in ("unknown", "short", "long")}
    stages["head"] = {"cmd": "echo head > head.txt", "outs": ["head.txt"]}
    stages["tail"] = {"cmd": "echo tail", "deps": ["head.txt"]}
    known = {"short": 1.0, "long": 10.0, "head": 2.0, "tail": 20.0}
    durations.write(Path(".dvc/tmp"), known)
    run(stages, Limits(1, 8, 2**33), watcher=(starts := Starts()))
    assert starts.names == ["head", "tail", "long", "short", "unknown"]
    assert set(durations.read(Path(".dvc/tmp"))) == {*known, "unknown"}


@pytest.mark.parametrize(
    ("meta", "limits"),
    [
        ({"cores": 3}, Limits(8, 4, 2**33)),
        ({"memory": "5 GiB"}, Limits(8, 8, 2**33)),
        ({"gpus": 1}, Limits(8, 8, 2**33, ("5",))),
    ],
)
def test_what_does_not_fit_waits(run: Run, meta: dict[str, Any], limits: Limits) -> None:
    alone = "[ ! -e busy ] && touch busy && sleep 0.2 && rm busy"
    stages: dict[str, Any] = {f"s{n}": {"cmd": alone, "meta": meta} for n in range(3)}
    assert set(ends(run(stages, limits)).values()) == {"ran"}


def test_a_gpu_is_for_one_stage_alone(run: Run) -> None:
    stages = {
        me: {"cmd": f"echo $CUDA_VISIBLE_DEVICES > {me}.gpu; {MEET.format(me=me, other=other)}", "meta": {"gpus": 1}}
        for me, other in ("ab", "ba")
    }
    run(stages, Limits(8, 8, 2**33, ("3", "7")))
    assert {Path(f"{me}.gpu").read_text().strip() for me in "ab"} == {"3", "7"}


def test_what_can_never_fit_is_refused_by_name_before_anything_runs(run: Run) -> None:
    stages = {"small": {"cmd": "touch ran"}, "big": {"cmd": "true", "meta": {"cores": 9, "gpus": 2, "memory": "1 kB"}}}
    with pytest.raises(UserError, match=r"'big' asks for 9 cores of 8; 'big' asks for 2 GPUs of 0"):
        run(stages)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("meta", "wanted"),
    [
        ({"cores": "many"}, "a number of cores"),
        ({"memory": "4 apples"}, "4 GiB"),
        ({"gpus": 1.5}, "whole number of GPUs"),
        ({"timeout": 0}, "30 min"),
        ({"retries": -1}, "further tries"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_line(run: Run, meta: dict[str, Any], wanted: str) -> None:
    with pytest.raises(UserError, match=wanted) as caught:
        run({"s": {"cmd": "true", "meta": {**meta, "owner": "somebody"}}})
    assert f"stage 's': meta.{next(iter(meta))} = " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_retries_start_from_nothing_and_end(run: Run) -> None:
    flaky = "echo x >> out.txt; echo x >> tries; [ $(wc -l < tries) = 3 ]"
    starts = Starts()
    results = run({"s": {"cmd": flaky, "outs": ["out.txt"], "meta": {"retries": 2}}}, watcher=starts)
    assert ends(results) == {"s": "ran"}
    assert Path("out.txt").read_text() == "x\n"
    assert sum("try" in line and "of 3" in line for line in starts.lines) == 2
    results = run({"s": {"cmd": "echo x >> more; false", "meta": {"retries": 1}}})
    assert (ends(results), Path("more").read_text()) == ({"s": "failed"}, "x\nx\n")


def test_a_time_out_ends_the_whole_family_of_the_command(run: Run) -> None:
    command = "(sleep 600 & echo $! > child; wait) & wait"
    results = run({"slow": {"cmd": command, "meta": {"timeout": "4 s"}}, "other": {"cmd": "echo fine"}})
    assert ends(results) == {"slow": "failed", "other": "ran"}
    assert "timed out after 4 s" in results["slow"].why
    child = int(Path("child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_failure_stops_only_what_depends_on_it(run: Run) -> None:
    stages = {
        "bad": {"cmd": "echo first; echo last words >&2; exit 3", "outs": ["bad.txt"]},
        "after": {"cmd": "touch after", "deps": ["bad.txt"]},
        "last": {"cmd": "echo x > last", "deps": ["last.in"], "outs": ["last"]},
        "good": {"cmd": "echo in > last.in", "outs": ["last.in"]},
    }
    results = run(stages)
    assert ends(results) == {"bad": "failed", "after": "not reached", "last": "ran", "good": "ran"}
    assert results["bad"].why.splitlines()[:2] == ["first", "last words"]
    assert results["bad"].why.endswith("exited with 3")
    printed = table(list(results.values()))
    assert "1 failed" in printed
    assert "| last words" in printed


def test_errors_can_be_ignored_as_in_dvc(run: Run) -> None:
    stages = {
        "bad": {"cmd": "echo x > bad.txt; exit 1", "outs": ["bad.txt"]},
        "after": {"cmd": "cat bad.txt > after.txt", "deps": ["bad.txt"], "outs": ["after.txt"]},
    }
    assert ends(run(stages, on_error=OnError.IGNORE)) == {"bad": "failed", "after": "ran"}


def test_a_missing_output_fails_the_stage_that_promised_it(run: Run) -> None:
    results = run({"s": {"cmd": "true", "outs": ["promised.txt"]}})
    assert ends(results) == {"s": "failed"}
    assert "promised.txt" in results["s"].why


def test_single_items_wait_for_each_other_but_not_for_what_is_not_named(run: Run) -> None:
    stages = {
        "one": {"cmd": "sleep 0.2; date +%N > one.txt", "outs": ["one.txt"]},
        "two": {"cmd": "cat one.txt > two.txt", "deps": ["one.txt"], "outs": ["two.txt"]},
    }
    run(stages)
    both = Selection(["one", "two"], single_item=True)
    assert ends(run(selection=both, force=True)) == {"one": "ran", "two": "ran"}
    assert Path("one.txt").read_text() == Path("two.txt").read_text()
    Path("one.txt").write_text("by hand\n")
    assert ends(run(selection=Selection(["two"], single_item=True))) == {"two": "ran"}


def test_other_dvc_processes_see_what_a_running_stage_holds(run: Run) -> None:
    copy = "mkdir -p seen; cp .dvc/tmp/rwlock seen/rwlock; cat in.txt > out.txt"
    Path("in.txt").write_text("in\n")
    run({"s": {"cmd": copy, "deps": ["in.txt"], "outs": ["out.txt"]}})
    held = json.loads(Path("seen/rwlock").read_text())
    (entry,) = held["write"].items()
    assert entry[0].endswith("out.txt")
    assert entry[1]["pid"] == os.getpid()
    assert not any(json.loads(Path(".dvc/tmp/rwlock").read_text()).values())


def test_a_stage_may_call_dvc(run: Run) -> None:
    source = {"cmd": "echo '{\"m\": 1}' > m.json", "metrics": [{"m.json": {"cache": False}}]}
    assert ends(run({"source": source, "s": {"cmd": "dvc metrics show > shown", "deps": ["m.json"]}}))["s"] == "ran"
    assert "m.json" in Path("shown").read_text()


def test_a_comment_in_dvc_lock_stays(run: Run) -> None:
    run({"a": {"cmd": "echo a"}})
    lock = Path("dvc.lock")
    lock.write_text("# mine\n" + lock.read_text())
    run({"a": {"cmd": "echo a"}, "b": {"cmd": "echo b"}})
    assert lock.read_text().startswith("# mine\n")
    assert list(yaml.safe_load(lock.read_text())["stages"]) == ["a", "b"]


def test_a_long_number_stays_what_it_is(run: Run) -> None:
    """DVC's YAML library writes 4.477116866966169e-291 as 4.477116866966168e-291 when it rewrites the file."""
    number = 4.477116866966169e-291
    Path("params.yaml").write_text(f"p: {number!r}\n")
    stages = {f"s{n}": {"cmd": f"echo {n}", "params": ["p"]} for n in range(3)}
    run(stages)
    kept = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    assert [kept[name]["params"]["params.yaml"]["p"] for name in stages] == [number] * 3
    assert set(ends(run()).values()) == {"up to date"}


def test_progress_says_who_runs_who_waits_for_what_and_how_long(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    class Watching(Terminal):
        views: list[str] = []  # noqa: RUF012 - one test

        def moved(self, view: Any) -> None:
            self.views.append(described(view()))

    stages: dict[str, Any] = {"one": {"cmd": "echo said > one.txt", "outs": ["one.txt"]}}
    stages |= {"two": {"cmd": "echo two", "deps": ["one.txt"]}, "wide": {"cmd": "echo wide", "meta": {"cores": 2}}}
    durations.write(Path(".dvc/tmp"), {"one": 300.0, "two": 240.0})
    run(stages, Limits(8, 2, 2**33), watcher=Watching())
    assert any("runs one (0 s)" in view and "two (for one)" in view and "min left" in view for view in Watching.views)
    assert "two | two\n" in capsys.readouterr().out
