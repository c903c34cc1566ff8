"""The last words of `make run`: the headline figures and where to look.

python -m stages.reporting.summary
"""

from __future__ import annotations

from stages.reporting import page
from stages.reporting.ledger import mark, number, read_json


def main() -> None:
    """Print them from the report's own files."""
    rows = read_json(page.REPORTS / "ledger.json", [])
    for system, what, figure in page.headline(rows):
        print(f"{number(figure):>8}  {what} ({system})")
    outcomes = [mark(check["holds"]) for row in rows for check in row["checks"]]
    counts = ", ".join(f"{outcomes.count(word)} {word}" for word in ("holds", "FAILS", "not run") if word in outcomes)
    print(f"checks: {counts or 'none'}; see docs/ledger.md")
    print(f"look:   {page.REPORTS / 'index.html'} in a browser")
    print("MLflow: make dashboard")
    print("flows:  python -m flows.reproduce, then python -m flows.dashboard")


if __name__ == "__main__":
    main()
