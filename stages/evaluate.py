"""evaluate: results, once they are sound, to figures, pictures and recorded acceptance checks.

python -m stages evaluate diffdecompose
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stages.execute import command, only_name, perform
from stages.expectations import expect
from stages.layout import Layout

LAYOUT = Layout(
    "evaluate",
    inputs={
        "data": "data/{data}",
        "model": "models/{model}",
        "layers": "data/layers/{layers}",
        "weights": "data/sources/{weights}",
    },
    reports=True,
    holds=True,
)


def main(arguments: Sequence[str]) -> None:
    """Evaluate the system named by the arguments."""
    perform(LAYOUT, only_name("evaluate", arguments), expect=expect)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
