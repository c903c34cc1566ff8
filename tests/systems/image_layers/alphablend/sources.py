"""Made-up sources in the layout of `data/sources/images`: shapes, gradients and noise of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from systems.parts.pictures import digest, image_column, write_table

COUNTS = {"cutout": 20, "photo": 20, "mark": 6, "light": 6, "cell": 6, "frost": 5, "glass": 5}
SIDE = 40


def picture(kind: str, number: int) -> np.ndarray:
    """A disc of noise with soft alpha; noise on black for lights; coarse noise for photographs."""
    rng = np.random.default_rng([len(kind), number])
    noise = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    if kind == "photo":
        return noise
    rows, columns = np.indices((SIDE, SIDE)) / SIDE - 0.5
    alpha = (8 * (0.45 - np.hypot(rows, columns))).clip(0, 1)
    if kind == "light":
        return (noise * alpha[..., None]).astype(np.uint8)
    return np.dstack((noise, (alpha * 255).astype(np.uint8)))


def make_sources(folder: Path) -> Path:
    """Write `catalogue.parquet` and one file a kind."""
    folder.mkdir()
    tables = []
    for kind, count in COUNTS.items():
        pictures = [picture(kind, number) for number in range(count)]
        table = pa.table(
            {
                "asset_id": [f"made/{kind}{number}" for number in range(count)],
                "kind": [kind] * count,
                "phrase": [f"{kind} {number}" for number in range(count)],
                "licence": ["CC0-1.0"] * count,
                "sha256": [digest(each) for each in pictures],
                "image": image_column(pictures),
            }
        )
        write_table(table, folder / f"{kind}.parquet")
        tables.append(table.drop_columns(["image"]))
    write_table(pa.concat_tables(tables), folder / "catalogue.parquet")
    return folder
