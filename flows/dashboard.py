"""Shows the runs of this project in Prefect's dashboard, until Ctrl-C.

python -m flows.dashboard [port]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flows import server
from stages.execute import command
from stages.layout import root
from systems.parts.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Become a Prefect server on the project's database."""
    port = arguments[0] if arguments else "4200"
    if len(arguments) > 1 or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"port '{' '.join(arguments)}': one whole number from 1 to 65535 is wanted")
    server.settle(root())
    line = server.command(int(port))
    os.execve(line[0], line, server.environment(int(port)))  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
