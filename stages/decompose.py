"""decompose: composites to layers, for a data set's held-out pictures or for any picture a person names.

python -m stages decompose diffdecompose
python -m stages.decompose diffdecompose --image photo.png --out layers/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.execute import command, perform
from stages.layout import Layout

LAYOUT = Layout(
    "decompose",
    inputs={"data": "data/{data}", "model": "models/{name}"},
    output="data/layers/{name}",
    reports=True,
)


def main(arguments: Sequence[str]) -> None:
    """Decompose the data set of the system's parameters, or the one picture of `--image`."""
    parser = argparse.ArgumentParser("python -m stages decompose", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="system, as diffdecompose")
    parser.add_argument("--image", type=Path, help="a picture to take apart (PNG, JPEG or WebP)")
    parser.add_argument("--out", type=Path, help="folder for the layers of --image")
    given = parser.parse_args(arguments)
    if (given.image is None) != (given.out is None):
        parser.error("--image and --out go together")
    if given.image is None:
        perform(LAYOUT, given.name)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
