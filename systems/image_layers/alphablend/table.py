"""What a row of AlphaBlend holds, and which blends a sub-task may use (table A of card 04)."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from systems.parts.pictures import IMAGE

PICTURES = ("fg", "bg", "comp")
"""Image columns; `sha256_<column>` is the digest of the pixels."""

TAUS: Mapping[str, tuple[str, ...]] = {
    "flare": ("screen", "additive"),
    "occlusion": ("screen",),
    "watermark": ("over",),
    "glassware": ("glass",),
    "cells": ("over",),
    "xray": ("multiply",),
}
"""Blends by sub-task."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("subtask", pa.string()),
        ("tau", pa.string()),
        ("params", pa.string()),
        ("seed", pa.int64()),
        ("fg_assets", pa.list_(pa.string())),
        ("bg_asset", pa.string()),
        ("fg_phrase", pa.string()),
        ("bg_phrase", pa.string()),
        ("prompt", pa.string()),
        *(field for name in PICTURES for field in ((name, IMAGE), (f"sha256_{name}", pa.string()))),
    ]
)
"""`params` is JSON; `fg_assets` is empty where a foreground is made of numbers alone; pictures are straight colour."""
