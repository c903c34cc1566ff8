"""System metrics of this process and its children, once a second, under the keys `system/...`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import psutil

MEBIBYTE = 2**20


class Sampler:
    """A thread that reports CPU (percent of one core), memory (MiB), IO (MiB) and threads until it is stopped."""

    def __init__(self, report: Callable[[str, float, int], None], seconds: float = 1.0) -> None:
        """Report (key, value, step) every so many seconds once started."""
        self.report, self.seconds, self.peak = report, seconds, 0
        self.stopped = threading.Event()
        self.known: dict[int, psutil.Process] = {}
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def start(self) -> None:
        """Take a first sample and go on in the background."""
        self.thread.start()

    def stop(self) -> int:
        """Stop; returns the largest memory of the process tree seen, in bytes."""
        self.stopped.set()
        self.thread.join()
        return self.peak

    def _loop(self) -> None:
        step = 0
        while True:
            for key, value in self.sample().items():
                self.report(f"system/{key}", value, step)
            step += 1
            if self.stopped.wait(self.seconds):
                return

    def sample(self) -> dict[str, float]:
        """One reading of the whole tree."""
        own = psutil.Process()
        tree = {process.pid: process for process in [own, *own.children(recursive=True)]}
        self.known = {pid: self.known.get(pid, process) for pid, process in tree.items()}
        totals = dict.fromkeys(("cpu_percent", "memory_mib", "threads", "read_mib", "written_mib"), 0.0)
        for process in self.known.values():
            for key, value in _read(process).items():
                totals[key] += value
        self.peak = max(self.peak, int(totals["memory_mib"] * MEBIBYTE))
        return totals | _gpu()


def _read(process: psutil.Process) -> dict[str, float]:
    try:
        with process.oneshot():
            found = {
                "cpu_percent": process.cpu_percent(),
                "memory_mib": process.memory_info().rss / MEBIBYTE,
                "threads": float(process.num_threads()),
            }
            if hasattr(process, "io_counters"):
                io = process.io_counters()
                found |= {"read_mib": io.read_bytes / MEBIBYTE, "written_mib": io.write_bytes / MEBIBYTE}
            return found
    except psutil.Error:  # it ended between being listed and being read
        return {}


def _gpu() -> dict[str, float]:
    """GPU memory of this process, only where torch is imported already and CUDA in use."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return {}
    return {"gpu_memory_mib": cuda.memory_allocated() / MEBIBYTE}
