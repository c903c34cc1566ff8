"""synthesize: sources to a data set.

python -m stages synthesize alphablend
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stages.execute import command, only_name, perform
from stages.layout import Layout

LAYOUT = Layout(
    "synthesize",
    inputs={
        "sources": "data/sources/{sources}",
        "validated": "reports/validate/{sources}/metrics.json",
        "pictures": "data/sources/{pictures}",
        "weights": "data/sources/{weights}",
    },
    output="data/{name}",
    reports=True,
)


def main(arguments: Sequence[str]) -> None:
    """Synthesise the data set named by the arguments."""
    perform(LAYOUT, only_name("synthesize", arguments))


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
