"""The Prefect server that a run reports to: the one PREFECT_API_URL names, else a real one of the project's own.

Its SQLite database stays in .work/prefect, where `python -m flows.dashboard` shows every run later. Prefect's built-in
temporary server is not used: it may lose a run's last events when the run ends.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows.guard import Guard
from systems.parts.errors import UserError

HOST = "127.0.0.1"
START_SECONDS = 180.0
ANSWER_SECONDS = 30.0
"""Time that a server which others started has to answer."""


def settle(root: Path) -> Path:
    """Keep Prefect's files in the project, unless PREFECT_HOME says otherwise; call before prefect is imported."""
    home = Path(os.environ.setdefault("PREFECT_HOME", str(root / ".work" / "prefect")))
    home.mkdir(parents=True, exist_ok=True)
    return home


def command(port: int) -> list[str]:
    """Command line of a server on this machine only."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def environment(port: int) -> dict[str, str]:
    """Environment of such a server: without being told, its page looks for the records at port 4200."""
    return {"PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api", **os.environ}


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def launch(home: Path) -> bool:
    """Start a server and name it in PREFECT_API_URL; False where one is named already. It ends with this process.

    What stops it is registered before prefect is imported, so at the end prefect sends its last records first.
    """
    if os.environ.get("PREFECT_API_URL"):
        return False
    guard = Guard()
    atexit.register(guard.close)
    process, os.environ["PREFECT_API_URL"] = start(home)
    guard.add(process.pid)
    atexit.register(stop, process)
    return True


def require() -> None:
    """Refuse the server that PREFECT_API_URL names if nobody answers there; any answer will do."""
    if not (url := os.environ.get("PREFECT_API_URL")):
        return
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=ANSWER_SECONDS):  # noqa: S310 - as the user has named it
            return
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise UserError(f"PREFECT_API_URL={url}: no answer ({type(error).__name__}); start it, or unset it") from error


def start(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server that logs to `home` and wait for it; returns its process and the address of its API."""
    port = free_port()
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command(port),
            env=environment(port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://{HOST}:{port}/api"
    try:
        _await(url, process, home / "server.log")
    except BaseException:
        stop(process)
        raise
    return process, url


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and wait until its database is closed."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers; say in one line where to look when it does not."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise UserError(f"Prefect server {url}: did not start in {START_SECONDS:.0f} s; see {log}")
