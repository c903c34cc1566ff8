"""Kills a process and its whole group, without a chance to clean up, right after it has written checkpoint number N.

Python loads this file by itself when it starts. The moment is one in the program, not on the clock.
"""

import os
import signal
import sys
import threading


def kill_after(count: int) -> None:
    """Die at the first thing that the thread does once checkpoint number `count` stands under its name."""
    seen: list[int] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if threading.get_ident() in seen[count - 1 :] and event != "os.killpg":
            os.killpg(0, signal.SIGKILL)
        if event == "os.rename" and str(arguments[1]).endswith(".ckpt"):  # about to happen
            seen.append(threading.get_ident())

    sys.addaudithook(watch)


if "DELAMINATE_KILL" in os.environ:
    kill_after(int(os.environ["DELAMINATE_KILL"]))
