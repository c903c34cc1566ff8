"""train: a data set to weights, by Lightning, with checkpoints from which a killed run goes on.

python -m stages train diffdecompose
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stages.devices import share
from stages.execute import command, only_name, perform
from stages.layout import Layout
from stages.training import fit

LAYOUT = Layout(
    "train",
    inputs={
        "data": "data/{data}",
        "validated": "reports/validate/{data}/metrics.json",
        "layers": "data/layers/{layers}",
        "weights": "data/sources/{weights}",
    },
    output="models/{name}",
    reports=True,
)


def main(arguments: Sequence[str]) -> None:
    """Train the system named by the arguments."""
    perform(LAYOUT, only_name("train", arguments), fit=fit, share=share)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
