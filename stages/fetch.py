"""fetch: packages, the curated sample and a user's own folders to checked, catalogued sources.

python -m stages fetch images
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stages.execute import command, only_name, perform
from stages.layout import Layout

LAYOUT = Layout("fetch", inputs={"samples": "data/samples"}, output="data/sources/{name}", reports=True)


def main(arguments: Sequence[str]) -> None:
    """Fetch the sources named by the arguments."""
    perform(LAYOUT, only_name("fetch", arguments))


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
