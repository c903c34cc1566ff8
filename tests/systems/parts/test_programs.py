"""Programs against a direct evaluation, and each error by the words that name it."""

from __future__ import annotations

import pytest

from systems.parts.interpreter import Limits, solve
from systems.parts.programs import (
    Calls,
    ProgramError,
    calls_of,
    combine,
    from_plain,
    parse,
    replay,
    to_plain,
    to_value,
)
from tests.systems.parts.random_programs import Writer


def planned(text: str, answers: list[object]) -> Calls:
    step = parse(text)
    assert step is not None
    return calls_of(step, answers)


PROGRAMS = 500
WORDS = ("ab", "layer", "peel", "onion", "x")


def test_holds_51_1_random_programs_equal_a_direct_evaluation() -> None:
    used: set[str] = set()
    for seed in range(PROGRAMS):
        writer = Writer(seed)
        question = f"{WORDS[seed % len(WORDS)]}{seed}"
        wanted = writer.program("self", question, depth=2)
        (outcome,) = solve(writer.library(), "self", [question], Limits(calls=100_000))
        assert outcome.node is not None, outcome.error
        assert outcome.node.answer == wanted
        assert [done.answer for done in outcome.node.steps] == [
            line.answer for line in writer.programs["self", question]
        ]
        used |= writer.used
    operators = {"select", "project", "projectValues", "projectKeys", "filter", "filter2"}
    assert used == operators | {"flat", "unique", "keys", "values", "nested"}


def test_holds_51_6_a_saved_trace_replays_to_its_answer_and_a_changed_one_does_not() -> None:
    for seed in range(60):
        writer = Writer(seed)
        wanted = writer.program("self", "trace", depth=2)
        (outcome,) = solve(writer.library(), "self", ["trace"], Limits(calls=100_000))
        assert outcome.node is not None
        saved = to_plain(outcome.node)
        assert from_plain(saved) == outcome.node
        assert replay(from_plain(saved)) == wanted
        if saved["steps"][-1]["calls"]:
            saved["steps"][-1]["calls"][0]["question"] += "?"
            with pytest.raises(ProgramError, match="the trace holds other calls"):
                replay(from_plain(saved))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(project_sorted) [a] #1", "suffix '_sorted' is unknown"),
        ("(reduce) [a] #1", "operator 'reduce' is unknown"),
        ("who knows", "not of the form"),
        ("[a] #3", "#3 is not defined yet; there are 2 answers"),
        ("(project) [a] #2", "'project' wants a list, and #2 is 7"),
        ("(project) [a] #1 and #2", "'project' wants exactly one reference; the question has #1, #2"),
        ("(project) [a] nothing", "'project' wants exactly one reference; the question has none"),
        ("(filter) [a] #1 #2", "'filter' wants one of the question's, as filter(#2), reference"),
        ("(projectValues) [a] #1", "'projectValues' wants pairs, and an item is \"x\""),
    ],
)
def test_holds_51_7_a_wrong_step_is_named_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ProgramError) as caught:
        planned(text, [["x", "y"], 7])
    assert str(caught.value).startswith(f"step {text!r}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "answers", "words"),
    [
        ("(filter) [a] #1", ["perhaps", "no"], "'filter' wants answers of yes or no"),
        ("(select_keys) [a] b", [["x"]], "'select' wants pairs"),
        ("(select_unique) [a] b", ["x"], "suffix '_unique' wants a list"),
        ("(select_flat) [a] b", [3], "suffix '_flat' wants a list"),
    ],
)
def test_an_answer_that_does_not_suit_its_step_is_named(text: str, answers: list[object], words: str) -> None:
    step = parse(text)
    assert step is not None
    calls = calls_of(step, [["x", "y"]])
    with pytest.raises(ProgramError) as caught:
        combine(step, calls, answers)
    assert words in str(caught.value)


def test_what_comes_in_for_a_reference_is_not_looked_at_again() -> None:
    step = parse("[a] #1 then #2, #12")
    assert step is not None
    answers = ["#2", "two", *"cdefghijk", "twelve"]
    assert calls_of(step, answers).questions == ('"#2" then "two", "twelve"',)


@pytest.mark.parametrize("truth", [True, 1, "1", "Yes", "true"])
def test_a_filter_keeps_what_is_true(truth: object) -> None:
    step = parse("(filter) [a] #1")
    assert step is not None
    calls = calls_of(step, [["x", "y"]])
    assert combine(step, calls, [truth, "no"]) == ["x"]


def test_an_answer_that_is_no_json_is_a_string() -> None:
    assert to_value(" two words\n") == "two words"
    assert to_value('["a", 1]') == ["a", 1]
