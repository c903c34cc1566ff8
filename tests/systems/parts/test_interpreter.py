"""The search: recursion, limits, best first, and batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.language.decomp import symbolic, tasks
from systems.parts.interpreter import Draft, Guess, Library, Limits, solve
from systems.parts.programs import ProgramError, replay


def base_calls(n: int) -> int:
    """Of the halving rule: one for a list of at most three, else those of its halves."""
    return 1 if n <= 3 else base_calls(n // 2) + base_calls(n - n // 2)


def echo(questions: Sequence[str]) -> list[str]:
    return [json.dumps(question) for question in questions]


def scripted(*lines: str) -> Callable[[Sequence[Draft]], list[list[Guess]]]:
    return lambda drafts: [[Guess([*lines, "[EOQ]"][min(len(d.steps), len(lines))])] for d in drafts]


def failing(library: Library, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    (outcome,) = solve(library, "top", ["q"], limits)
    assert outcome.node is None
    return outcome.error


def test_holds_51_2_reversal_is_exact_with_the_depth_and_base_calls_of_the_halving_rule() -> None:
    lists = [[f"w{place}" for place in range(n)] for n in range(1, 65)]
    outcomes = solve(symbolic.library(), "reverse", [tasks.reversal(items)[0] for items in lists])
    for items, outcome in zip(lists, outcomes, strict=True):
        n = len(items)
        assert outcome.node is not None, outcome.error
        assert outcome.node.answer == items[::-1]
        assert outcome.node.depth() <= max(1, math.ceil(math.log2(n)))
        assert outcome.node.counts()["base"] == base_calls(n)
        assert replay(outcome.node) == items[::-1]


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map("".join), min_size=1, max_size=12))
def test_any_list_is_reversed(items: list[str]) -> None:
    (outcome,) = solve(symbolic.library(), "reverse", [tasks.reversal(items)[0]])
    assert outcome.node is not None
    assert outcome.node.answer == items[::-1]


def test_holds_51_7_unknown_handlers_and_limits_are_named_with_their_step() -> None:
    lost = Library({"a": echo}, {"top": scripted("[nobody] x")})
    assert failing(lost) == "step '[nobody] x': handler 'nobody' is unknown; there are a, top"
    again = Library({"a": echo}, {"top": scripted("[top] again")})
    assert failing(again, Limits(depth=5)) == "step '[top] again': the depth limit of 5 is reached"
    endless = Library({"a": echo}, {"top": lambda drafts: [[Guess("[a] x")] for _ in drafts]})
    assert failing(endless, Limits(steps=4, at_steps="fail")) == "step '[a] x': the limit of 4 steps is reached"
    assert "the limit of 3 calls is reached" in failing(endless, Limits(calls=3))
    nothing = Library({"a": echo}, {"top": scripted()})
    assert failing(nothing) == "step '[EOQ]': 'top' ends before its first step"
    with pytest.raises(ProgramError, match="handler 'other' is unknown; there are a, top"):
        solve(nothing, "other", ["q"])


def test_a_program_that_reaches_its_steps_ends_with_what_it_has() -> None:
    endless = Library({"a": echo}, {"top": lambda drafts: [[Guess(f"[a] {len(d.steps)}")] for d in drafts]})
    (outcome,) = solve(endless, "top", ["q"], Limits(steps=4))
    assert outcome.node is not None
    assert outcome.node.answer == "3"
    assert len(outcome.node.steps) == 4


def test_the_cheapest_program_that_ends_is_the_answer() -> None:
    def choose(drafts: Sequence[Draft]) -> list[list[Guess]]:
        first = [Guess("[nobody] x", 0.1), Guess("[a] dear", 3.0), Guess("[a] cheap", 1.0)]
        return [first if not d.steps else [Guess("[EOQ]", 0.5 if d.steps[0][1] == "dear" else 1.0)] for d in drafts]

    (outcome,) = solve(Library({"a": echo}, {"top": choose}), "top", ["q"])
    assert outcome.node is not None
    assert (outcome.node.answer, outcome.cost) == ("cheap", 2.0)


def test_tasks_go_together_in_batches_and_equal_questions_are_asked_once() -> None:
    seen: list[list[str]] = []

    def count(questions: Sequence[str]) -> list[str]:
        seen.append(list(questions))
        return echo(questions)

    library = Library({"a": count}, {"top": scripted("[a] same", "(project_values) [a] #1 here")})
    outcomes = solve(library, "top", ["p", "q", "r"])
    assert [outcome.node.answer for outcome in outcomes if outcome.node] == [["same here"]] * 3
    assert seen == [["same"], ["same here"]]


def test_one_task_that_fails_leaves_the_others_alone() -> None:
    def step(draft: Draft) -> str:
        return "[EOQ]" if draft.steps else f"[{draft.question}] x"

    library = Library({"a": echo}, {"top": lambda drafts: [[Guess(step(draft))] for draft in drafts]})
    good, bad, last = solve(library, "top", ["a", "b", "a"])
    assert bad.node is None
    assert "handler 'b' is unknown" in bad.error
    assert all(outcome.node and outcome.node.answer == "x" for outcome in (good, last))


def test_a_draft_reads_as_the_models_are_trained_to_see_it() -> None:
    parts = tasks.program("str_position", "q?", tasks.str_position_steps("cat", 2))
    steps = tuple(tasks.str_position_steps("cat", 2))
    for done in range(len(steps) + 1):
        assert "[str_position] " + Draft("q?", steps[:done]).text() == "".join(parts[: 2 * done + 1])
