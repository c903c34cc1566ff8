"""Patience with a Prefect server: while others keep its SQLite database busy, it answers that it is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

AGAIN_SECONDS = 1.0
BUSY_SECONDS = 300.0
"""Time after which a server that is always too busy counts as one that does not work."""


def patiently(ask: Callable[[], T]) -> T:
    """The answer of a server that is asked again as long as it is there but too busy."""
    limit = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return ask()
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500 or time.monotonic() > limit:
                raise
        time.sleep(AGAIN_SECONDS)
