"""ShapeNet as its authors share it: HDF5 files of voxels at 64^3 with points sampled near the surface.

The reader of HDF5 is no part of this project's environment: `pip install h5py` where this is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from systems.parts.errors import UserError
from systems.scene.bsp_net.shapes import RESOLUTIONS, Split, row

NAMES: Mapping[Split, str] = {"train": "all_vox256_img_train.hdf5", "test": "all_vox256_img_test.hdf5"}
KEYS = ("voxels", *(f"{kind}_{side}" for side in RESOLUTIONS for kind in ("points", "values")))


def rows(folder: Path, split: Split) -> Iterator[dict[str, Any]]:
    """Rows of the table for every shape of a split; one shape at a time is held in memory."""
    path = folder / NAMES[split]
    if not path.is_file():
        raise UserError(f"parameter shapenet = {folder}: {path.name} is not there")
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise UserError(f"parameter shapenet = {folder}: reading HDF5 needs h5py; run `pip install h5py`") from error
    with h5py.File(path, "r") as file:
        yield from rows_of(file, split, str(path))


def rows_of(file: Mapping[str, Any], split: Split, where: str) -> Iterator[dict[str, Any]]:
    """Rows of an open file, or of anything that holds arrays by the same keys."""
    if missing := [key for key in KEYS if key not in file]:
        raise UserError(f"file {where}: no {', '.join(missing)}; voxels with points at 16, 32 and 64 are wanted")
    for number in range(len(file["voxels"])):
        found = {key: np.asarray(file[key][number], np.uint8) for key in KEYS}
        voxels = found.pop("voxels")[..., 0]
        sampled = {key: values[..., 0] if key.startswith("values") else values for key, values in found.items()}
        yield row(f"shapenet-{split}-{number:06d}", voxels, sampled=sampled)
