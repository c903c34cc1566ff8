"""validate: Great Expectations on a data set; a violation stops the pipeline and shows the failing rows.

python -m stages validate alphablend
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stages.execute import command, only_name, perform
from stages.expectations import expect
from stages.layout import Layout

LAYOUT = Layout("validate", inputs={"data": "data/{data}"}, reports=True)


def main(arguments: Sequence[str]) -> None:
    """Validate the data set named by the arguments."""
    perform(LAYOUT, only_name("validate", arguments), expect=expect)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
