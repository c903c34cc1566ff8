"""evaluate@decomp: exact match over length for every method, what replacing handlers changes, and card 51's checks.

python -m stages evaluate decomp
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from systems.language.decomp import draw
from systems.parts.programs import Node, ProgramError, from_plain, replay, to_text, to_value
from systems.parts.run import SCORE, Run, Strict

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""Answers by method, those of all seeds together."""
SUITES = {"letters": "words", "reverse": "items of the list", "long": "letters of the word", "look_up": "hops"}
OURS, ONE_LEVEL, SWAPPED = "decomposed", "one level", ("replaced", "replaced lookup")
ALONE = ("chain", "control")
"""Baselines of the same budget that answer in one generation."""


class Params(Strict):
    """Parameters of the evaluation."""

    data: str = Field(description="data set whose questions were asked")
    layers: str = Field(description="runs to score, as decomp")
    model: str = Field(default="", description="models that answered, as decomp")
    trained_words: int = Field(default=3, gt=0, description="most words, and items, of a task trained on")


def evaluate(run: Run[Params]) -> None:
    """Score every method, record the checks, and draw what there is to see."""
    rows = read(run.inputs["layers"])
    handlers = rows.pop("handlers", [])
    traces = {name: [trace(row) for row in own] for name, own in rows.items()}
    found = {suite: accuracy(rows, suite) for suite in SUITES}
    record_scores(run, found, handlers)
    record_replays(run, traces)
    if OURS in rows:
        record_lengths(run, found)
        record_handlers(run, handlers)
        record_replacements(run, rows, found["letters"])
        record_hierarchy(run, found["long"])
    record_calls(run, rows, traces)
    for suite, what in SUITES.items():
        if len(found[suite]) > 1:
            caption = f"Exact match over {what}: mean over seeds, in a band from the worst to the best seed."
            trained = run.params.trained_words if suite in ("letters", "reverse") else None
            run.figure(f"accuracy-{suite}", draw.over_length(found[suite], what, trained), caption)


def read(folder: Path) -> dict[str, list[Row]]:
    """Every row that `decompose` wrote, by method, in the order of the files."""
    found: dict[str, list[Row]] = defaultdict(list)
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            found[row["method"]].append(row)
    return found


def trace(row: Row) -> Node | None:
    """The trace of a run; none where it failed."""
    return from_plain(to_value(row["trace"])) if row["trace"] else None


def right(row: Row) -> bool:
    """Exact match; the answers of look-ups are compared as sets."""
    answer = to_value(row["answer"])
    given = to_value(row["given"]) if row["given"] else None
    if row["suite"] == "look_up" and isinstance(given, list):
        return sorted(map(to_text, answer)) == sorted(set(map(to_text, given)))
    return bool(answer == given)


def accuracy(rows: Rows, suite: str) -> dict[str, dict[int, list[float]]]:
    """Share of right answers by method and size, one a seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for method, own in rows.items():
        groups: dict[tuple[int, int], list[bool]] = defaultdict(list)
        for row in own:
            if row["suite"] == suite:
                groups[row["size"], row["seed"]].append(right(row))
        for (size, _), hits in sorted(groups.items()):
            found.setdefault(method, {}).setdefault(size, []).append(mean(hits))
    return found


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    listed = list(values)
    return sum(listed) / len(listed)


def record_scores(run: Run[Params], found: Mapping[str, draw.Accuracy], handlers: Sequence[Row]) -> None:
    """A table of all shares, the headline, and the score: the share of wrong answers over all tasks and lengths."""
    table = [
        {
            "suite": suite,
            "size": size,
            "method": method,
            "exact match": round(mean(seeds), 4),
            "worst seed": round(min(seeds), 4),
            "best seed": round(max(seeds), 4),
            "seeds": len(seeds),
        }
        for suite, methods in found.items()
        for method, by_size in methods.items()
        for size, seeds in by_size.items()
    ]
    run.table("exact match", pa.Table.from_pylist(table))
    ours = OURS if OURS in found["letters"] else next(iter(found["letters"]))
    longest = max(found["letters"][ours])
    for method in dict.fromkeys((ours, *ALONE)):
        if longest in found["letters"].get(method, {}):
            words = f"headline/exact match at {longest} words: {method}"
            run.metric(words, mean(found["letters"][method][longest]))
    shares = [share for suite in ("letters", "reverse") for share in found[suite].get(ours, {}).values()]
    run.metric(SCORE, 1 - mean(value for share in shares for value in share))
    for row_handler, share in handler_shares(handlers).items():
        run.metric(f"handler alone/{row_handler}", mean(share))


def handler_shares(handlers: Sequence[Row]) -> dict[str, list[float]]:
    """Exact match of each handler on its own sub-questions, a seed each."""
    groups: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for row in handlers:
        groups[row["suite"], row["seed"]].append(right(row))
    found: dict[str, list[float]] = defaultdict(list)
    for (name, _), hits in sorted(groups.items()):
        found[name].append(mean(hits))
    return found


def record_lengths(run: Run[Params], found: Mapping[str, draw.Accuracy]) -> None:
    """Check 51.3: ahead where baselines were not trained, not behind where they were."""
    letters, lists = found["letters"], found["reverse"]
    seeds = len(letters[OURS][max(letters[OURS])])
    longest = max(letters[OURS])
    known = [size for size in letters[OURS] if size <= run.params.trained_words]
    for other in (name for name in ALONE if name in letters):
        gap = 100 * (mean(letters[OURS][longest]) - mean(letters[other][longest]))
        run.hold("51.3", gap, ">=", 30, f"points of exact match ahead of '{other}' at {longest} words", seeds)
        for size in known:
            behind = 100 * (mean(letters[other][size]) - mean(letters[OURS][size]))
            run.hold("51.3", behind, "<=", 5, f"points of exact match behind '{other}' at {size} words", seeds)
    most = max(lists[OURS])
    flat = max((mean(lists[name][most]), name) for name in (*ALONE, "direct") if name in lists)
    gap = 100 * (mean(lists[OURS][most]) - flat[0])
    statement = f"points of exact match of the recursive reversal ahead of the best flat model ('{flat[1]}')"
    run.hold("51.3", gap, ">=", 50, f"{statement} at {most} items", seeds)


def record_handlers(run: Run[Params], handlers: Sequence[Row]) -> None:
    """Check 51.3's condition: every handler knows its own task."""
    for name, shares in handler_shares(handlers).items():
        run.hold("51.3", 100 * mean(shares), ">=", 98, f"percent right of handler '{name}' alone", len(shares))


def record_replacements(run: Run[Params], rows: Rows, letters: draw.Accuracy) -> None:
    """Check 51.4: the other handlers see the same, and nothing gets worse."""
    for name in (name for name in SWAPPED if name in rows):
        pairs = list(paired(rows[OURS], rows[name]))
        differ = sum(others(ours) != others(theirs) for ours, theirs in pairs if same_answers(ours, theirs))
        statement = f"runs in which '{name}' changes an input of another handler after the same answers"
        run.hold("51.4", differ, "==", 0, statement, len(letters[OURS][max(letters[OURS])]))
        change = 100 * mean(mean(letters[name][size]) - mean(letters[OURS][size]) for size in letters[OURS])
        seeds = len(letters[OURS][max(letters[OURS])])
        run.hold("51.4", change, ">=", 0, f"points of exact match by which '{name}' changes the letters", seeds)
        run.metric(f"replacement/{name}: runs compared", sum(same_answers(*pair) for pair in pairs))


def paired(ours: Sequence[Row], theirs: Sequence[Row]) -> Iterable[tuple[Node, Node]]:
    """Traces of the same question and seed that both came to an answer."""
    known = {(row["id"], row["seed"]): row for row in ours}
    for row in theirs:
        pair = trace(known[row["id"], row["seed"]]), trace(row)
        if pair[0] is not None and pair[1] is not None:
            yield pair[0], pair[1]


def same_answers(a: Node, b: Node) -> bool:
    """Whether all steps of two programs came to the same intermediate answers."""
    return [done.answer for done in a.steps] == [done.answer for done in b.steps]


def others(node: Node) -> list[tuple[str, str]]:
    """What the top program asked, whoever answered."""
    return [(call.handler, call.question) for done in node.steps for call in done.calls]


def record_hierarchy(run: Run[Params], long: draw.Accuracy) -> None:
    """Check 51.5: two levels against one step, on words longer than the one step was trained on."""
    two, one = ([100 * mean(values) for values in zip(*long[name].values(), strict=True)] for name in (OURS, ONE_LEVEL))
    run.metric("long words/two levels", mean(two))
    run.metric("long words/one step", mean(one))
    statement = "points of exact match by which two levels beat one step on words of 6 to 8 letters"
    run.hold("51.5", mean(two) - mean(one), ">=", 10, statement, len(two))


def record_replays(run: Run[Params], traces: Mapping[str, Sequence[Node | None]]) -> None:
    """Check 51.6: every trace gives its answer again, and holds as many calls as its steps made."""
    nodes = [node for own in traces.values() for node in own if node is not None]
    run.metric("traces replayed", len(nodes))
    lost = sum(not replays(node) for node in nodes)
    run.hold("51.6", lost, "==", 0, "traces that do not replay to their answer")
    miscounted = sum(node.counts() != Counter(calls_made(node)) for node in nodes)
    run.hold("51.6", miscounted, "==", 0, "traces whose calls do not match their steps")


def replays(node: Node) -> bool:
    """Whether a trace alone gives its answer again."""
    try:
        return bool(replay(node) == node.answer)
    except ProgramError:
        return False


def calls_made(node: Node) -> Iterable[str]:
    """Names of all who were called, from the steps' own words."""
    yield node.handler
    for done in node.steps:
        name = done.text.partition("[")[2].partition("]")[0]
        for call in done.calls:
            yield from [name, *list(calls_made(call))[1:]]


def record_calls(run: Run[Params], rows: Rows, traces: Mapping[str, Sequence[Node | None]]) -> None:
    """Mean calls of each handler, by suite and size, of the first method that writes programs."""
    method = OURS if OURS in rows else next(name for name, own in traces.items() if any(n and n.steps for n in own))
    groups: dict[str, list[Counter[str]]] = defaultdict(list)
    for row, node in zip(rows[method], traces[method], strict=True):
        if node is not None:
            groups[f"{row['size']} {SUITES[row['suite']]}"].append(node.counts())
    means = {
        kind: {name: mean(count[name] for count in counts) for name in sorted(set().union(*counts))}
        for kind, counts in groups.items()
    }
    run.figure("calls", draw.calls(means), f"Calls a question by handler (method: {method}).")
    flat = [{"question": k, "handler": n, "calls": round(v, 3)} for k, own in means.items() for n, v in own.items()]
    run.table("calls", pa.Table.from_pylist(flat))
