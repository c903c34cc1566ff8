"""Layers from an annotation and its base picture, as MuLAn's own rebuild script names them.

python -m systems.image_layers.mulan.rebuild 000000000139.p.zl --image 000000000139.jpg --out layers/
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from systems.image_layers.mulan import annotation
from systems.parts.errors import UserError
from systems.parts.whole import whole


def main(arguments: Sequence[str]) -> int:
    """Write `<id>-layer_<k>.png` from the bottom up, and `<id>.csv` with their captions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotation", type=Path, help="FILE.p.zl, or FILE.annotation.json with its NPZ file beside it")
    parser.add_argument("--image", type=Path, required=True, help="the base picture")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; a new one")
    given = parser.parse_args(arguments)
    try:
        rebuild(given.annotation, given.image, given.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def rebuild(path: Path, image: Path, out: Path) -> None:
    """Rebuild every layer into a new folder."""
    if out.exists():
        raise UserError(f"--out {out}: is there already; a new folder is wanted")
    read, name = annotation.read(path), image.stem
    layers, captions = annotation.rebuilt(base(image), read), annotation.captions(read)
    with whole(out) as (growing,):
        growing.mkdir()
        files = [f"{name}-layer_{number}.png" for number in range(len(layers))]
        for file, pixels in zip(files, layers, strict=True):
            Image.fromarray(pixels).save(growing / file)
        with (growing / f"{name}.csv").open("w", newline="") as table:
            csv.writer(table).writerows([("path", "caption"), *zip(files, captions, strict=True)])


def base(path: Path) -> np.ndarray:
    """RGB pixels of the base picture, as they stand in its file."""
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise UserError(f"--image {path}: truncated or not a picture ({error})") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
