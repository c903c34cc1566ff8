"""The pages of the report, each whole in one file: an overview with the ledger, and one for every system."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from stages.reporting import curves, gallery, ledger, pictures
from systems.parts.layered_files.strip import FOLDER

REPORTS = Path("reports")
STAGES = ("synthesize", "validate", "train", "decompose", "evaluate")
"""Stages whose pictures, curves and tables are shown, in this order."""


def overview(rows: Mapping[str, ledger.Row]) -> str:
    """reports/index.html: headline figures, a card for every system, and the first layers of each that finds any."""
    cards = [card(name, rows.get(name)) for name in names()]
    cards.sort(key=lambda one: (one["row"] is None, one["title"]))
    first = [sample for name in names() for sample in islice(samples(name), 1)]
    return _template("index.html.j2").render(
        cards=cards, headline=headline(rows.values()), samples=first, hashes=list(hashes())
    )


def pages(rows: Mapping[str, ledger.Row]) -> dict[str, str]:
    """The page of every system, by its name."""
    return {name: page(name, rows.get(name)) for name in names()}


def page(name: str, row: ledger.Row | None) -> str:
    """reports/pages/<name>.html: what a person looks at, its ledger, its curves and its tables."""
    return _template("page.html.j2").render(
        title=title(name, row),
        row=row,
        headline=headline([row] if row else []),
        samples=list(samples(name)),
        galleries=list(galleries(name)),
        charts=list(charts(name)),
        tables=list(tables(name)),
    )


def names() -> list[str]:
    """Every system and source that left something to show."""
    return sorted({folder.parent.name for stage in STAGES for folder in (REPORTS / stage).glob("*/plots")})


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("stages.reporting", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(number=ledger.number, mark=ledger.mark)
    return environment.get_template(name)


def title(name: str, row: ledger.Row | None) -> str:
    """Card and name of a system; of what has no card, as a source, the name alone."""
    return f"{row['system']}. {row['name']}" if row else name


def card(name: str, row: ledger.Row | None) -> dict[str, Any]:
    """A system in the overview: its first picture and how its checks came out."""
    outcomes = [ledger.mark(check["holds"]) for check in row["checks"]] if row else []
    shown = next((path for stage in reversed(STAGES) for path, _ in captioned(stage, name)), None)
    return {
        "page": f"pages/{name}.html",
        "title": title(name, row),
        "row": row,
        "outcomes": {word: outcomes.count(word) for word in dict.fromkeys(outcomes)},
        "picture": pictures.embedded(shown, pictures.THUMBNAIL) if shown else None,
    }


def headline(rows: Iterable[ledger.Row]) -> list[tuple[str, str, float]]:
    """(system, what, figure) of every metric named `headline/...`."""
    return [
        (row["name"], name.removeprefix("headline/"), value)
        for row in rows
        for name, value in row["measured"].items()
        if name.startswith("headline/")
    ]


def captioned(stage: str, name: str) -> Iterator[tuple[Path, str]]:
    """Pictures of a stage that carry a caption, and the caption; samples of layers are shown by themselves."""
    for path in sorted((REPORTS / stage / name / "plots").rglob("*.png")):
        if path.parent.name == FOLDER:
            continue
        if caption := pictures.caption(path):
            yield path, caption


def galleries(name: str) -> Iterator[dict[str, Any]]:
    """Captioned pictures of every stage, as data URIs, the results first."""
    for stage in reversed(STAGES):
        shown = [{**pictures.embedded(path), "caption": caption} for path, caption in captioned(stage, name)]
        if shown:
            yield {"title": stage, "pictures": shown}


def samples(name: str) -> Iterator[dict[str, Any]]:
    """Layers of every stage that a person can switch, move and re-order, the results first."""
    for stage in reversed(STAGES):
        for sample in gallery.samples(REPORTS / stage / name / "plots"):
            yield {**sample, "title": f"{name}, {stage}: {sample['name']}"}


def charts(name: str) -> Iterator[dict[str, Any]]:
    """One chart a metric and group of fits."""
    for stage in STAGES:
        for (group, metric), lines in sorted(curves.read(REPORTS / stage / name / "plots").items()):
            title = f"{metric} of {group}" if group else metric
            yield {"title": title, "svg": curves.svg(metric, lines), "legend": curves.legend(lines)}


def tables(name: str) -> Iterator[dict[str, Any]]:
    """Tables that the stages wrote as CSV."""
    for stage in STAGES:
        for path in sorted((REPORTS / stage / name / "plots").glob("*.csv")):
            with path.open(newline="") as file:
                head, *body = csv.reader(file)
            if head[0] != "step":
                yield {"title": f"{stage}: {path.stem}", "head": head, "body": body}


def hashes() -> Iterator[tuple[str, str]]:
    """(path, md5) of every data set and model, from the locks of DVC."""
    for lock in (Path("dvc.lock"), *sorted(Path("systems").glob("*/dvc.lock"))):
        if lock.is_file():
            for stage in yaml.safe_load(lock.read_text()).get("stages", {}).values():
                for out in stage.get("outs", []):
                    if not out["path"].startswith(("reports", "docs")):
                        yield out["path"], out["md5"]
