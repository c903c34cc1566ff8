"""Runs programs that are still being written: decomposers write step by step, handlers answer, many tasks at once.

Each task has a best-first queue of states, ordered by the cost of what was generated; a decomposer with one guess a
step is greedy decoding. What the tasks ask of one handler in a round is asked in one batch.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

from systems.parts.programs import (
    END,
    Calls,
    Done,
    Json,
    Node,
    ProgramError,
    Step,
    calls_of,
    combine,
    parse,
    to_text,
    to_value,
)


@dataclass(frozen=True)
class Draft:
    """A program as far as it is written: what a decomposer sees."""

    question: str
    steps: tuple[tuple[str, Json], ...] = ()

    def text(self) -> str:
        """As a model reads it, up to where its next step stands."""
        lines = "".join(f"QS: {step}\nA: {to_text(answer)}\n" for step, answer in self.steps)
        return f"QC: {self.question}\n{lines}QS: "


@dataclass(frozen=True)
class Guess:
    """A next step, and what it costs: its negative log-probability."""

    text: str
    cost: float = 0.0


Handler = Callable[[Sequence[str]], Sequence[str]]
"""Questions to answers, JSON text or plain words."""
Decomposer = Callable[[Sequence[Draft]], Sequence[Sequence[Guess]]]
"""Drafts to guesses of their next step."""


@dataclass(frozen=True)
class Library:
    """Who answers what, by name."""

    handlers: Mapping[str, Handler]
    decomposers: Mapping[str, Decomposer]


@dataclass(frozen=True)
class Limits:
    """Where a run stops: steps of one decomposer, decomposers inside each other, calls of a whole task.

    A decomposer that reaches its steps ends with the answer it has, or fails.
    """

    steps: int = 10
    depth: int = 20
    calls: int = 10_000
    at_steps: Literal["end", "fail"] = "end"


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with a trace, or with what stopped the last of its states."""

    node: Node | None
    error: str = ""
    cost: float = 0.0


NONE = Calls(())


@dataclass(frozen=True)
class _Level:
    """A decomposer at work: steps done, and the one in work with its calls answered so far."""

    handler: str
    question: str
    done: tuple[Done, ...] = ()
    step: Step | None = None
    calls: Calls = NONE
    answered: tuple[Node, ...] = ()

    @property
    def open(self) -> tuple[str, ...]:
        """Questions of the step in work that have no answer yet."""
        return self.calls.questions[len(self.answered) :]

    def draft(self) -> Draft:
        """What the decomposer sees."""
        return Draft(self.question, tuple((done.text, done.answer) for done in self.done))


@dataclass(order=True)
class _State:
    """A stack of levels; the last one is at work. Without levels, `node` is the task's answer."""

    cost: float
    age: int
    levels: tuple[_Level, ...] = field(compare=False)
    calls: int = field(default=0, compare=False)
    node: Node | None = field(default=None, compare=False)


Ask = tuple[str, str | Draft]
Reply = str | Sequence[Guess]


class _Search:
    """One task: its queue of states, the one that waits for answers, and why others failed."""

    def __init__(self, library: Library, limits: Limits, handler: str, question: str) -> None:
        self.library, self.limits = library, limits
        self.ages = count()
        self.queue = [_State(0.0, next(self.ages), (_Level(handler, question),))]
        self.waiting: _State | None = None
        self.outcome: Outcome | None = None
        self.error = ""

    def asks(self) -> list[Ask]:
        """What the best state wants to know; nothing once the task has ended."""
        while self.queue and self.outcome is None:
            state = heapq.heappop(self.queue)
            if state.node is not None:
                self.outcome = Outcome(state.node, cost=state.cost)
                break
            try:
                self.waiting, asks = self._advance(state)
            except ProgramError as error:
                self.error = str(error)
                continue
            if asks:
                return asks
            heapq.heappush(self.queue, self.waiting)
        self.outcome = self.outcome or Outcome(None, self.error)
        return []

    def tell(self, replies: Sequence[Reply]) -> None:
        """The answers to what was asked, in its order."""
        state = self.waiting
        if state is None:
            raise RuntimeError("no state waits for an answer")
        *below, top = state.levels
        if top.step is not None:
            texts = [reply for reply in replies if isinstance(reply, str)]
            fresh = [Node(top.step.handler, q, to_value(text)) for q, text in zip(top.open, texts, strict=True)]
            levels = (*below, replace(top, answered=(*top.answered, *fresh)))
            heapq.heappush(self.queue, replace(state, levels=levels, calls=state.calls + len(fresh)))
            return
        for guess in (guess for reply in replies if not isinstance(reply, str) for guess in reply):
            try:
                heapq.heappush(self.queue, self._written(state, guess))
            except ProgramError as error:
                self.error = str(error)

    def _advance(self, state: _State) -> tuple[_State, list[Ask]]:
        """Go on to where answers are wanted, or to the end of the task."""
        while state.levels:
            *below, top = state.levels
            if top.step is None:
                if len(top.done) < self.limits.steps:
                    return self._counted(state, top), [(top.handler, top.draft())]
                if self.limits.at_steps == "fail":
                    raise ProgramError(f"step {top.done[-1].text!r}: the limit of {self.limits.steps} steps is reached")
                state = self._ended(state)
            elif not top.open:
                answer = combine(top.step, top.calls, [node.answer for node in top.answered])
                done = (*top.done, Done(top.step.text, answer, top.answered))
                state = replace(state, levels=(*below, _Level(top.handler, top.question, done)))
            elif top.step.handler in self.library.handlers:
                return self._counted(state, top), [(top.step.handler, question) for question in top.open]
            elif len(state.levels) < self.limits.depth:
                state = replace(state, levels=(*state.levels, _Level(top.step.handler, top.open[0])))
            else:
                raise top.step.error(f"the depth limit of {self.limits.depth} is reached")
        return state, []

    def _counted(self, state: _State, top: _Level) -> _State:
        """The state, if it has calls left."""
        if state.calls >= self.limits.calls:
            what = top.step.text if top.step else top.question
            raise ProgramError(f"step {what!r}: the limit of {self.limits.calls} calls is reached")
        return state

    def _written(self, state: _State, guess: Guess) -> _State:
        """The state after its decomposer has written a step."""
        *below, top = state.levels
        moved = replace(state, cost=state.cost + guess.cost, age=next(self.ages), calls=state.calls + 1)
        step = parse(guess.text)
        if step is None:
            return self._ended(moved)
        if step.handler not in self.library.handlers and step.handler not in self.library.decomposers:
            there = ", ".join(sorted({*self.library.handlers, *self.library.decomposers}))
            raise step.error(f"handler '{step.handler}' is unknown; there are {there}")
        calls = calls_of(step, [done.answer for done in top.done])
        return replace(moved, levels=(*below, replace(top, step=step, calls=calls)))

    def _ended(self, state: _State) -> _State:
        """The state after its top level has ended: the last answer goes to who asked."""
        *below, top = state.levels
        if not top.done:
            raise ProgramError(f"step {END!r}: '{top.handler}' ends before its first step")
        node = Node(top.handler, top.question, top.done[-1].answer, top.done)
        if not below:
            return replace(state, levels=(), node=node)
        *rest, caller = below
        return replace(state, levels=(*rest, replace(caller, answered=(*caller.answered, node))))


def solve(library: Library, handler: str, questions: Sequence[str], limits: Limits = Limits()) -> list[Outcome]:
    """Answer questions put to `handler`; those of all tasks go forward together."""
    if handler in library.handlers:
        answers = library.handlers[handler](questions)
        return [
            Outcome(Node(handler, question, to_value(text))) for question, text in zip(questions, answers, strict=True)
        ]
    if handler not in library.decomposers:
        there = ", ".join([*library.handlers, *library.decomposers])
        raise ProgramError(f"handler '{handler}' is unknown; there are {there}")
    searches = [_Search(library, limits, handler, question) for question in questions]
    waiting = [(search, asks) for search in searches if (asks := search.asks())]
    while waiting:
        replies = iter(_answers(library, [ask for _, asks in waiting for ask in asks]))
        for search, asks in waiting:
            search.tell([next(replies) for _ in asks])
        waiting = [(search, asks) for search, _ in waiting if (asks := search.asks())]
    return [search.outcome or Outcome(None, search.error) for search in searches]


def _answers(library: Library, asks: Sequence[Ask]) -> list[Reply]:
    """Replies to all that is asked in a round: one batch a handler, and there each question once."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (name, _) in enumerate(asks):
        places[name].append(place)
    replies: dict[int, Reply] = {}
    for name, own in places.items():
        whats = [asks[place][1] for place in own]
        if name in library.handlers:
            questions = list(dict.fromkeys(what for what in whats if isinstance(what, str)))
            known = dict(zip(questions, library.handlers[name](questions), strict=True))
            replies.update({place: known[str(what)] for place, what in zip(own, whats, strict=True)})
        else:
            guesses = library.decomposers[name]([what for what in whats if isinstance(what, Draft)])
            replies.update(zip(own, guesses, strict=True))
    return [replies[place] for place in range(len(asks))]
