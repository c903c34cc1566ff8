"""reports/index.html: one self-contained page with the ledger, the layers to look at and the curves."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from stages.reporting import curves, ledger

REPORTS = Path("reports")
WIDEST = 900
SHOWN_STAGES = ("evaluate", "decompose", "synthesize")
CAPTIONS = {
    "evaluate": "Rows: composite, true and estimated foreground, true and estimated background, mean of the samples.",
    "decompose": "Rows: composite, true and estimated foreground, true and estimated background.",
    "synthesize": "Three rows a sub-task: foregrounds, backgrounds, composites.",
}


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("stages.reporting", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(number=ledger.number, mark=ledger.mark)
    return environment.get_template("page.html.j2").render(
        rows=rows,
        headline=headline(rows),
        galleries=list(galleries()),
        charts=list(charts()),
        tables=list(tables()),
        hashes=list(hashes()),
    )


def headline(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """(system, what, figure) of every metric named `headline/...`."""
    return [
        (row["name"], name.removeprefix("headline/"), value)
        for row in rows
        for name, value in row["measured"].items()
        if name.startswith("headline/")
    ]


def galleries() -> Iterator[dict[str, Any]]:
    """Pictures of the stages worth a look, as data URIs, with what they show."""
    for stage in SHOWN_STAGES:
        for folder in sorted((REPORTS / stage).glob("*/plots")):
            pictures = [{"name": path.stem, "uri": data_uri(path)} for path in sorted(folder.glob("*.png"))]
            if pictures:
                name = folder.parent.name
                yield {"title": f"{stage} {name}", "caption": CAPTIONS[stage], "pictures": pictures}


def data_uri(path: Path) -> str:
    """A picture as lossless WebP in the page, no wider than `WIDEST` px."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def charts() -> Iterator[dict[str, Any]]:
    """One chart a system and metric."""
    for folder in sorted((REPORTS / "train").glob("*/plots")):
        found = curves.read(folder)
        for metric in sorted(found):
            groups: dict[str, dict[str, curves.Points]] = {}
            for label, points in found[metric].items():
                group = label.split("_")[0] if label.split("_")[0] == "autoencoder" else "transformer"
                groups.setdefault(group, {})[label] = points
            for group, lines in groups.items():
                title = f"{metric} of {folder.parent.name}, {group}"
                yield {"title": title, "svg": curves.svg(metric, lines), "legend": curves.legend(lines)}


def tables() -> Iterator[dict[str, Any]]:
    """Tables that the evaluations wrote as CSV."""
    for path in sorted((REPORTS / "evaluate").glob("*/plots/*.csv")):
        with path.open(newline="") as file:
            head, *body = csv.reader(file)
        if head[0] != "step":
            yield {"title": f"{path.stem} of {path.parents[1].name}", "head": head, "body": body}


def hashes() -> Iterator[tuple[str, str]]:
    """(path, md5) of every data set and model, from the locks of DVC."""
    for lock in (Path("dvc.lock"), *sorted(Path("systems").glob("*/dvc.lock"))):
        if lock.is_file():
            for stage in yaml.safe_load(lock.read_text()).get("stages", {}).values():
                for out in stage.get("outs", []):
                    if not out["path"].startswith(("reports", "docs")):
                        yield out["path"], out["md5"]
