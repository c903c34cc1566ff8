"""Writes the outcome of every test named after a card's check to reports/tests.json, from which the ledger is made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NAME = re.compile(r"test_holds_(\d+)_(\d+)_\w+")
WORST = ("failed", "skipped", "passed")
"""Of a test with several cases the worst outcome counts."""


class Outcomes:
    """Collects outcomes by check and test; merges them into what earlier sessions found."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for every phase of every test; under xdist by the controller."""
        name = NAME.search(report.nodeid)
        if name is None or (report.when != "call" and report.outcome == "passed"):
            return
        check = f"{int(name[1])}.{name[2]}"
        outcomes = self.found.setdefault(check, {})
        outcomes[name[0]] = min(outcomes.get(name[0], "passed"), report.outcome, key=WORST.index)

    def pytest_sessionfinish(self) -> None:
        """Rewrite the file if anything in it changed."""
        if not self.found:
            return
        before = self.file.read_text() if self.file.is_file() else "{}"
        merged = json.loads(before)
        for check, outcomes in self.found.items():
            merged[check] = {**merged.get(check, {}), **outcomes}
        after = json.dumps(merged, indent=1, sort_keys=True) + "\n"
        if after != before:
            self.file.parent.mkdir(exist_ok=True)
            self.file.write_text(after)


def pytest_configure(config: pytest.Config) -> None:
    """Only the controller of a session in the project's own checkout writes."""
    if not hasattr(config, "workerinput") and (config.rootpath / "dvc.yaml").is_file():
        config.pluginmanager.register(Outcomes(config.rootpath / "reports" / "tests.json"), "ledger-outcomes")
