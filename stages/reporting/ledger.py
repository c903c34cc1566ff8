"""The ledger: for every card the published figures, ours, and each acceptance check with the figure measured."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import discover

EVALUATED = Path("reports/evaluate")
TESTS = Path("reports/tests.json")
Row = dict[str, Any]


def build(scale: str) -> dict[str, Row]:
    """By name, an object for each system that says what it was published with; the same again over the same results."""
    tests = read_json(TESTS, {})
    rows = {}
    for found in discover.walk().values():
        claims = f"{found.module}.published"
        if importlib.util.find_spec(found.module).submodule_search_locations and importlib.util.find_spec(claims):  # type: ignore[union-attr]
            rows[found.name] = entry(found, importlib.import_module(claims), scale, tests)
    return dict(sorted(rows.items(), key=lambda item: str(item[1]["system"])))


def entry(found: discover.Found, claims: Any, scale: str, tests: Mapping[str, Mapping[str, str]]) -> Row:
    """The object of one system."""
    results = EVALUATED / found.name
    return {
        "system": claims.CARD,
        "name": claims.NAME,
        "track": found.track,
        "scale": scale,
        "published": claims.PUBLISHED,
        "measured": read_json(results / "metrics.json", {}),
        "checks": list(checks(claims.CHECKS, read_json(results / "holds.json", []), tests)),
    }


def checks(asked: Sequence[Row], holds: Sequence[Row], tests: Mapping[str, Mapping[str, str]]) -> Iterator[Row]:
    """A row for every hold and test of every check asked for; one with neither was not run and says so."""
    for check in asked:
        found = [hold for hold in holds if hold["id"] == check["id"]]
        found += [tested(check["id"], name, outcome) for name, outcome in tests.get(check["id"], {}).items()]
        missing = {"value": None, "op": "==", "bound": 1, "seeds": 1, "holds": None}
        yield from found or [{**check, **missing}]


def tested(check: str, name: str, outcome: str) -> Row:
    """The row of one test: value 1 if it passed, 0 if it failed, none if it was skipped."""
    value = {"passed": 1, "failed": 0}.get(outcome)
    words = name.split("_", 4)[-1].replace("_", " ")
    holds = None if value is None else bool(value)
    return {
        "id": check,
        "statement": words,
        "kind": "test",
        "value": value,
        "op": "==",
        "bound": 1,
        "seeds": 1,
        "holds": holds,
    }


def read_json(path: Path, otherwise: Any) -> Any:
    """Contents of a JSON file, or `otherwise` where it is not there."""
    return json.loads(path.read_text()) if path.is_file() else otherwise


def mark(holds: bool | None) -> str:
    """How a check is shown in words."""
    return {True: "holds", False: "FAILS", None: "not run"}[holds]


def number(value: float | str | None) -> str:
    """A figure for people: four significant digits."""
    return "–" if value is None else f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


def markdown(rows: Iterable[Row]) -> str:
    """The ledger as a page of docs."""
    lines = ["# Ledger", "", "Made by `python -m stages report` from the results; do not edit.", ""]
    for row in rows:
        lines += [f"## {row['system']}. {row['name']}", "", f"Track {row['track']}, scale {row['scale']}.", ""]
        lines += ["| published | value | source |", "| --- | --- | --- |"]
        lines += [f"| {claim['what']} | {number(claim['value'])} | {claim['source']} |" for claim in row["published"]]
        lines += ["", "| ours | value |", "| --- | --- |"]
        lines += [f"| {name} | {number(value)} |" for name, value in row["measured"].items()]
        lines += [
            "",
            "| check | statement | kind | figure | wanted | seeds | |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for check in row["checks"]:
            wanted = f"{check['op']} {number(check['bound'])}"
            cells = (check["id"], check["statement"], check["kind"], number(check["value"]), wanted, check["seeds"])
            lines.append(f"| {' | '.join(map(str, cells))} | {mark(check['holds'])} |")
        lines.append("")
    return "\n".join(lines)
