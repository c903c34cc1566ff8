"""reports/index.html: one self-contained page with the ledger, the layers to look at and the curves."""

from __future__ import annotations

import base64
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from stages.reporting import curves, ledger

REPORTS = Path("reports")
WIDEST = 900
"""Pixels a row of an embedded picture."""
LARGEST = 96 << 10
"""Bytes of a picture that is embedded as it is; a larger one loses a little."""
SHOWN = {
    "evaluate": (
        "*.png",
        "Rows: composite, true and estimated foreground, true and estimated background, mean of the samples.",
    ),
    "synthesize": ("test-*.png", "Three rows a sub-task: foregrounds, backgrounds, composites."),
}
"""By stage, pictures worth a look and what they show. Those of `decompose` are in `evaluate`'s again."""
COUNTED = ("evaluate", "validate")
"""Stages whose tables are shown."""
TRAINED = "train"
"""The stage whose curves are shown."""


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
    for stage, (names, caption) in SHOWN.items():
        for folder in sorted((REPORTS / stage).glob("*/plots")):
            pictures = [embedded(path) for path in sorted(folder.glob(names))]
            if pictures:
                yield {"title": f"{stage} {folder.parent.name}", "caption": caption, "pictures": pictures}


def embedded(path: Path) -> dict[str, Any]:
    """A picture as a data URI, with the size to show it in. The browser enlarges again what was enlarged before."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    times = enlargement(pixels)
    small = Image.fromarray(pixels[times // 2 :: times, times // 2 :: times])
    small.thumbnail((WIDEST, sys.maxsize), Image.Resampling.LANCZOS)
    content = webp(small, lossless=True)
    if len(content) > LARGEST:
        content = webp(small, quality=85)
    uri = "data:image/webp;base64," + base64.b64encode(content).decode()
    return {"name": path.stem, "uri": uri, "width": small.width * times, "height": small.height * times, "times": times}


def enlargement(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """How many times a picture was enlarged without smoothing: the usual distance between columns that differ from the
    one before, or between such rows if that is less. Gaps between tiles may have any width.
    """
    changes = (np.flatnonzero(np.diff(pixels, axis=axis).any(axis=(1 - axis, 2))) for axis in (0, 1))
    usual = (int(np.bincount(np.diff(places), minlength=2).argmax()) for places in changes)
    return max(1, min(usual))


def webp(picture: Image.Image, **options: Any) -> bytes:
    """The bytes of a WebP file."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def charts() -> Iterator[dict[str, Any]]:
    """One chart a system and metric."""
    for folder in sorted((REPORTS / TRAINED).glob("*/plots")):
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
    """Tables that the stages wrote as CSV."""
    for path in sorted(path for stage in COUNTED for path in (REPORTS / stage).glob("*/plots/*.csv")):
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
