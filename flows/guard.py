"""Ends process groups whose starter is gone: a process of its own, told +GROUP and -GROUP by its `Guard`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


class Guard:
    """A small process that waits for the end of this one and then ends the process groups it was told of."""

    def __init__(self) -> None:
        """Start it in a session of its own: Ctrl-C at the terminal does not reach it."""
        self.process = subprocess.Popen(
            [sys.executable, "-IS", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.lock = threading.Lock()

    def add(self, group: int) -> None:
        """Watch over a process group."""
        self._say(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Forget a process group that has ended."""
        self._say(f"-{group}\n")

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        with self.lock, suppress(BrokenPipeError):
            self.process.stdin.write(word.encode())
            self.process.stdin.flush()

    def close(self) -> None:
        """End it, and with it every group it still watches."""
        with suppress(BrokenPipeError):
            self.process.communicate()


def main() -> None:
    """Read until the writer closes its end, which the system does for a killed one too."""
    for request in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(request, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
