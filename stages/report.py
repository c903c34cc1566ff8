"""report: everything the stages found as an overview, a page a system, one ledger and one page of docs.

python -m stages report
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import settings
from stages.execute import command
from stages.layout import Layout
from stages.reporting import ledger, page
from systems.parts.errors import UserError
from systems.parts.whole import whole

LAYOUT = Layout("report")
PAGE, PAGES = Path("reports/index.html"), Path("reports/pages")
LEDGER, DOCS = Path("reports/ledger.json"), Path("docs/ledger.md")


def main(arguments: Sequence[str]) -> None:
    """Write all of it whole, or nothing."""
    if arguments:
        raise UserError(f"stage 'report' takes no name, given: {' '.join(arguments)}")
    scale = settings.scale(Path("params.yaml"))
    rows = ledger.build(scale)
    texts = {
        PAGE: page.overview(rows),
        LEDGER: json.dumps(list(rows.values()), indent=1, ensure_ascii=False) + "\n",
        DOCS: ledger.markdown(rows.values()),
    }
    with whole(PAGES, *texts) as (pages, *growing):
        pages.mkdir()
        for name, text in page.pages(rows).items():
            (pages / f"{name}.html").write_text(text)
        for path, text in zip(growing, texts.values(), strict=True):
            path.write_text(text)


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
