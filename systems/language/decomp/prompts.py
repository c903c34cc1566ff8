"""Prompts with worked examples for models that were not trained on the tasks: a hosted one, or a local one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from systems.language.decomp import tasks
from systems.language.decomp import words as make
from systems.parts.chat import Chat, Message
from systems.parts.programs import to_text

SYSTEM = "Go on with the text in exactly the form of its examples. Write one line and nothing else."
MOST_TOKENS = 160
EXAMPLES = 3
"""Worked examples a prompt; those of tasks have at most three words, as the paper's."""
Draw = Callable[[np.random.Generator, int], tasks.Parts]


def _task(rng: np.random.Generator, number: int) -> tuple[list[str], int, str]:
    return make.words(rng, number + 1, 3, 5), 1 + number % 3, list(tasks.DELIMITERS)[number % 2]


def _letter_cat(rng: np.random.Generator, number: int) -> tasks.Parts:
    drawn = _task(rng, number)
    return tasks.program("letter_cat", tasks.letter_cat(*drawn)[0], tasks.letter_cat_steps(*drawn, "str_position"))


def _str_position(rng: np.random.Generator, number: int) -> tasks.Parts:
    (word,), k = make.words(rng, 1, 3, 5), number % 3 + 1
    return tasks.program("str_position", tasks.LETTER.format(k=k, word=word), tasks.str_position_steps(word, k))


def _reverse(rng: np.random.Generator, number: int) -> tasks.Parts:
    items = make.nouns(rng, (2, 4, 5)[number % 3])
    return tasks.program("reverse", tasks.reversal(items)[0], tasks.reverse_steps(items))


def _split(rng: np.random.Generator, number: int) -> tasks.Parts:
    if number % 2:
        (word,) = make.words(rng, 1, 3, 5)
        return tasks.answered("split", tasks.SPELL.format(word=word), tasks.spelled(word))
    words = make.words(rng, number + 1, 3, 5)
    return tasks.answered("split", tasks.WORDS.format(words=" ".join(words)), words)


def _arr_position(rng: np.random.Generator, number: int) -> tasks.Parts:
    (word,), k = make.words(rng, 1, 3, 5), number % 3 + 1
    return tasks.answered("arr_position", tasks.ITEM.format(k=k, items=to_text(tasks.spelled(word))), word[k - 1])


def _letter(rng: np.random.Generator, number: int) -> tasks.Parts:
    (word,), k = make.words(rng, 1, 3, 5), number % 3 + 1
    return tasks.answered("letter", tasks.LETTER.format(k=k, word=word), word[k - 1])


def _merge(rng: np.random.Generator, number: int) -> tasks.Parts:
    words, _, delimiter = _task(rng, number)
    letters = [word[0] for word in words]
    question = tasks.MERGE.format(items=to_text(letters), delimiter=delimiter)
    return tasks.answered("merge", question, tasks.DELIMITERS[delimiter].join(letters))


def _base(rng: np.random.Generator, number: int) -> tasks.Parts:
    return tasks.answered("base", *tasks.reversal(make.nouns(rng, number % 3 + 1)))


def _half(question: str, second: bool) -> Draw:
    def draw(rng: np.random.Generator, number: int) -> tasks.Parts:
        items = make.nouns(rng, 4 + number)
        half = items[len(items) // 2 :] if second else items[: len(items) // 2]
        return tasks.answered("half", question.format(items=to_text(items)), half)

    return draw


def _join(rng: np.random.Generator, number: int) -> tasks.Parts:
    first, second = make.nouns(rng, 2 + number), make.nouns(rng, 2)
    return tasks.answered("join", tasks.JOIN.format(items=to_text(first), more=to_text(second)), first + second)


def _direct(rng: np.random.Generator, number: int) -> tasks.Parts:
    return tasks.answered("direct", *tasks.letter_cat(*_task(rng, number)))


def _chain(rng: np.random.Generator, number: int) -> tasks.Parts:
    return tasks.chain(*_task(rng, number))


DRAWN: dict[str, Draw] = {
    "letter_cat": _letter_cat,
    "str_position": _str_position,
    "reverse": _reverse,
    "split": _split,
    "arr_position": _arr_position,
    "letter": _letter,
    "merge": _merge,
    "base": _base,
    "first_half": _half(tasks.FIRST, second=False),
    "second_half": _half(tasks.SECOND, second=True),
    "join": _join,
    "direct": _direct,
    "chain": _chain,
}
"""How an example of each handler is drawn."""


def worked(handler: str, prompt_set: int, count: int) -> list[tasks.Parts]:
    """Worked examples of a handler, without its tag; each set has words of its own."""
    drawn = [DRAWN[handler](np.random.default_rng([prompt_set, number]), number) for number in range(count)]
    return [[parts[0].partition("] ")[2], *parts[1:]] for parts in drawn]


def examples(handler: str, prompt_set: int, count: int) -> str:
    """Worked examples of a handler as one text."""
    return "\n".join("".join(parts) for parts in worked(handler, prompt_set, count))


class ChatModel:
    """A hosted model, prompted."""

    def __init__(self, chat: Chat, prompt_set: int) -> None:
        self.chat, self.prompt_set = chat, prompt_set

    def complete(self, handler: str, texts: Sequence[str]) -> list[str]:
        """The line with which the endpoint goes on from each text."""
        shown = examples(handler, self.prompt_set, EXAMPLES)
        asked: list[list[Message]] = [
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{shown}\n{text.rstrip()}"}]
            for text in texts
        ]
        return [one_line(answer, texts[0]) for answer in self.chat.complete(asked, MOST_TOKENS, "\n")] if texts else []


def one_line(answer: str, text: str) -> str:
    """The first line of an answer, without the mark after which it stands if the model repeated it."""
    mark = text.rsplit("\n", 1)[-1].strip()
    lines = answer.strip().splitlines()
    return lines[0].removeprefix(mark).strip() if lines else ""
