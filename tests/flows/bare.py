"""The engine alone, without Prefect, as a process that tests can kill: python -m tests.flows.bare [jobs]."""

from __future__ import annotations

import signal
import sys

from flows.engine import Engine
from flows.graph import Selection
from flows.project import Options, opened
from flows.reproduce import interrupted
from flows.resources import limits
from flows.summary import table


def main() -> None:
    """Run everything in the current folder."""
    signal.signal(signal.SIGTERM, interrupted)
    with opened(Selection(all_pipelines=True), Options()) as project:
        print(table(Engine(project, limits(int(sys.argv[1]) if len(sys.argv) > 1 else 4)).run()))


if __name__ == "__main__":
    main()
