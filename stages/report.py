"""report: everything the stages found as one page, one ledger and one page of docs.

python -m stages report
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import settings
from stages.execute import command
from stages.layout import Layout, partial
from stages.reporting import ledger, page
from systems.parts.errors import UserError

LAYOUT = Layout("report")
PAGE, LEDGER, DOCS = Path("reports/index.html"), Path("reports/ledger.json"), Path("docs/ledger.md")


def main(arguments: Sequence[str]) -> None:
    """Write all three whole, or none."""
    if arguments:
        raise UserError(f"stage 'report' takes no name, given: {' '.join(arguments)}")
    scale = settings.scale(Path("params.yaml"))
    rows = ledger.build(scale)
    texts = {
        PAGE: page.render(rows),
        LEDGER: json.dumps(rows, indent=1, ensure_ascii=False) + "\n",
        DOCS: ledger.markdown(rows),
    }
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial(path).write_text(text)
        for path in texts:
            partial(path).replace(path)
    except OSError as error:
        raise UserError(f"file {error.filename}: cannot be written ({error.strerror})") from error
    finally:
        for path in texts:
            partial(path).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
