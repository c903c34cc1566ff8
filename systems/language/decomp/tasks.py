"""The tasks of card 51 as text: their questions, sub-questions, worked programs and chains of thought."""

from __future__ import annotations

from collections.abc import Sequence

from systems.parts.programs import END, Json, to_text

DELIMITERS = {"space": " ", "semicolon": ";"}
BASE = 3
"""A list of at most so many items is reversed directly."""

LETTER_CAT = 'Take the letters at position {k} of the words in "{words}" and concatenate them using a {delimiter}.'
LETTER = 'What is the letter at position {k} in "{word}"?'
WORDS = 'What are the words in "{words}"?'
SPELL = 'What are the letters and positions in "{word}"?'
ITEM = "What is at position {k} in {items}?"
MERGE = "Concatenate {items} using a {delimiter}."
REVERSE = "Reverse the list {items}."
FIRST = "What is the first half of {items}?"
SECOND = "What is the second half of {items}?"
JOIN = "Join {items} and {more}."
LETTER_THOUGHT = 'The letter at position {k} of "{word}" is "{letter}". '
SO = "So the answer is "

PIECES = (
    "Take the letters at position ", ' of the words in "', '" and concatenate them using a ', "space.", "semicolon.",
    "What is the letter at position ", ' in "', '"?', 'What are the words in "',
    'What are the letters and positions in "', "What is at position ", " in ", "Concatenate ", " using a ",
    "Reverse the list ", '["', '", "', '"]', "[split] ", "[str_position] ", "[arr_position] ", "[merge] ", "[letter] ",
    "[base] ", "[letter_cat] ", "[direct] ", "[chain] ", "(project_values) ", END, "QC: ", "QS: ", "\nA: ", "A: ",
    "#1", "#2", "The letter at position ", ' of "', '" is "', '". ', SO,
)  # fmt: skip
"""Phrases that a character model sees as one token: they are the same in every question."""

Parts = list[str]
"""A training text: what is given and what is to be written, in turn."""


def spelled(word: str) -> list[str]:
    """Letters with their positions, as ["1c", "2a", "3t"]."""
    return [f"{place}{letter}" for place, letter in enumerate(word, 1)]


def letter_cat(words: Sequence[str], k: int, delimiter: str) -> tuple[str, str]:
    """Question and answer of a k-th letter concatenation."""
    question = LETTER_CAT.format(k=k, words=" ".join(words), delimiter=delimiter)
    return question, DELIMITERS[delimiter].join(word[k - 1] for word in words)


def reversal(items: Sequence[str]) -> tuple[str, list[str]]:
    """Question and answer of a list reversal."""
    return REVERSE.format(items=to_text(list(items))), list(items[::-1])


def prompt(handler: str, question: str) -> str:
    """What a model is given to answer as `handler`."""
    return f"[{handler}] {question}\nA: "


def answered(handler: str, question: str, answer: Json) -> Parts:
    """A question and its answer, as a handler reads and writes them."""
    return [prompt(handler, question), f"{to_text(answer)}\n"]


def program(decomposer: str, question: str, steps: Sequence[tuple[str, Json]]) -> Parts:
    """A whole program as its decomposer sees it grow: question, then steps to write and answers given in turn."""
    parts = [f"[{decomposer}] QC: {question}\nQS: "]
    for step, answer in steps:
        parts += [f"{step}\n", f"A: {to_text(answer)}\nQS: "]
    return [*parts, f"{END}\n"]


def letter_cat_steps(words: Sequence[str], k: int, delimiter: str, letter: str) -> list[tuple[str, Json]]:
    """The worked program of a letter concatenation; `letter` is the handler of single letters."""
    return [
        ("[split] " + WORDS.format(words=" ".join(words)), list(words)),
        (f"(project_values) [{letter}] " + LETTER.format(k=k, word="#1"), [word[k - 1] for word in words]),
        ("[merge] " + MERGE.format(items="#2", delimiter=delimiter), letter_cat(words, k, delimiter)[1]),
    ]


def str_position_steps(word: str, k: int) -> list[tuple[str, Json]]:
    """The worked program of one letter: spell, then look the position up."""
    return [
        ("[split] " + SPELL.format(word=word), spelled(word)),
        ("[arr_position] " + ITEM.format(k=k, items="#1"), word[k - 1]),
    ]


def reverse_steps(items: Sequence[str]) -> list[tuple[str, Json]]:
    """The worked program of a reversal: directly, or by halves, the longer of which is the second."""
    text, half = to_text(list(items)), len(items) // 2
    if len(items) <= BASE:
        return [(f"[base] {REVERSE.format(items=text)}", list(items[::-1]))]
    first, second = list(items[:half]), list(items[half:])
    return [
        (f"[first_half] {FIRST.format(items=text)}", first),
        (f"[second_half] {SECOND.format(items=text)}", second),
        (f"[reverse] {REVERSE.format(items='#1')}", first[::-1]),
        (f"[reverse] {REVERSE.format(items='#2')}", second[::-1]),
        (f"[join] {JOIN.format(items='#4', more='#3')}", list(items[::-1])),
    ]


def chain(words: Sequence[str], k: int, delimiter: str) -> Parts:
    """A letter concatenation with its chain of thought, in one generation."""
    question, answer = letter_cat(words, k, delimiter)
    thoughts = "".join(LETTER_THOUGHT.format(k=k, word=word, letter=word[k - 1]) for word in words)
    return [prompt("chain", question), f"{thoughts}{SO}{to_text(answer)}\n"]


def reversal_chain(items: Sequence[str]) -> Parts:
    """A reversal in the form of a chain of thought: there is nothing to think of between question and answer."""
    question, answer = reversal(items)
    return [prompt("chain", question), f"{SO}{to_text(answer)}\n"]
