"""A page as a real browser shows it, after its scripts have run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=60000",
)

wanted = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; `make system` installs it as root")
"""Marks a test that looks at a page."""


def seen(address: str, profile: Path, width: int, height: int) -> str:
    """The document at an address in a window of so many px; `profile` is a folder for the browser's own files."""
    window = (f"--window-size={width},{height}", f"--user-data-dir={profile}")
    command = (str(BROWSER), *FLAGS, *window, "--dump-dom", address)
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
