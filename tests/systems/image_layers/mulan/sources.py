"""Made-up sources: cut-outs and photographs of a few pixels, some of which cannot serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.run import StageRun
from systems.image_layers.mulan.synthesize import Params, synthesize
from systems.parts.pictures import digest, image_column, write_table

SIDE = 32


def noise(number: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return (
        rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]
    )


def cutout(number: int, height: int = 40, width: int = 48) -> np.ndarray:
    """An ellipse of coarse noise with a soft rim, transparent around it."""
    rows, columns = (np.indices((height, width)) + 0.5) / np.array([height, width])[:, None, None] - 0.5
    alpha = (20 * (0.46 - np.hypot(rows, columns))).clip(0, 1)
    return np.dstack((noise(number, height, width), np.rint(alpha * 255).astype(np.uint8)))


def make_sources(folder: Path, pictures: dict[str, list[np.ndarray]] | None = None) -> Path:
    """Write `catalogue.parquet` and one file a kind."""
    folder.mkdir(parents=True)
    pictures = pictures or {
        "cutout": [cutout(number) for number in range(30)],
        "photo": [noise(100 + number, 48, 64) for number in range(24)],
        "mark": [cutout(99)],
    }
    tables = []
    for kind, made in pictures.items():
        table = pa.table(
            {
                "asset_id": [f"made/{kind}{number}" for number in range(len(made))],
                "kind": [kind] * len(made),
                "phrase": [f"{kind} {number}" for number in range(len(made))],
                "licence": ["CC0-1.0"] * len(made),
                "sha256": [digest(picture) for picture in made],
                "image": image_column(made),
            }
        )
        write_table(table, folder / f"{kind}.parquet")
        tables.append(table.drop_columns(["image"]))
    write_table(pa.concat_tables(tables), folder / "catalogue.parquet")
    return folder


def make_data(sources: Path, folder: Path, workers: int = 1, **changes: Any) -> Path:
    """Synthesise a data set of tiny scenes into `folder`; returns where it lies."""
    settings = {
        "sources": "images",
        "side": SIDE,
        "train": 12,
        "test": 6,
        "shard": 5,
        "mutual": 0.5,
        "most": 4,
        **changes,
    }
    run = StageRun("synthesize", "mulan", Params(**settings), {"sources": sources}, folder / "data", folder / "r")
    run.workers = workers
    run.begin()
    synthesize(run)
    run.finish([folder / "data", folder / "r" / "metrics.json", folder / "r" / "plots"])
    return folder / "data"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up sources."""
    return make_sources(tmp_path_factory.mktemp("sources") / "images")


@pytest.fixture(scope="session")
def data(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is not to be changed."""
    return make_data(sources, tmp_path_factory.mktemp("mulan"))
