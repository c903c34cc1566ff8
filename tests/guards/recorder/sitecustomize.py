"""Writes down which modules of the project a process imported; Python loads this file by itself when it starts.

The oracle of the import closures: what really was imported, however the import was written.
"""

import atexit
import json
import os
import sys
import uuid
from pathlib import Path


def record() -> None:
    """Write the command and the project's files among the loaded modules to a file of its own.

    Its name is not the number of the process: the system uses numbers again.
    """
    here = Path.cwd()
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    inside = sorted(path.relative_to(here).as_posix() for path in loaded if path.is_relative_to(here))
    if Path(sys.argv[0]).parent == here / "stages":
        line = json.dumps({"arguments": sys.argv[1:], "modules": inside})
        Path(os.environ["DELAMINATE_RECORD"], f"{uuid.uuid4()}.json").write_text(line)


if "DELAMINATE_RECORD" in os.environ:
    atexit.register(record)
