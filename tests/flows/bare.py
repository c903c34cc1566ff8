"""The engine alone, without Prefect, as a process that tests can kill: python -m tests.flows.bare [jobs]."""

from __future__ import annotations

import signal
import sys

from flows.engine import BAD, Engine
from flows.graph import Selection
from flows.project import Options, opened
from flows.reproduce import interrupted
from flows.resources import limits
from flows.summary import table


def main() -> int:
    """Run everything in the current folder; the exit code says whether every stage ended well."""
    signal.signal(signal.SIGTERM, interrupted)
    with opened(Selection(all_pipelines=True), Options()) as project:
        results = Engine(project, limits(int(sys.argv[1]) if len(sys.argv) > 1 else 4)).run()
    print(table(results))
    return int(any(result.outcome in BAD for result in results))


if __name__ == "__main__":
    sys.exit(main())
