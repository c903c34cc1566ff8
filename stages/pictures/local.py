"""Pictures that are on this machine already: the curated sample of the repository and a user's own folders."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stages.pictures.asset import BadPicture, Kind, Picture, decode, words
from systems.parts.errors import UserError

SAMPLES = Path("data/samples")
ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
CLEAR = 0.01  # share of pixels below half alpha from which a picture is a cut-out


def samples(folder: Path = SAMPLES) -> Iterator[tuple[Picture, str]]:
    """The curated sample, each picture with the asset it was made from ("" if that is in no package)."""
    with (folder / "catalogue.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            content = (folder / row["file"]).read_bytes()
            picture = Picture(row["kind"], row["file"], row["phrase"], content, row["licence"], row["author"])  # type: ignore[arg-type]
            yield picture, row["origin"]


def own_pictures(folders: Sequence[str]) -> Iterator[Picture]:
    """Every picture below the user's folders: with real transparency a cut-out, else a photo.

    Raises `UserError` naming the first folder that does not exist or file that is truncated or wholly transparent.
    """
    for given in folders:
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise UserError(f"parameter fetch.images.folders = '{given}': no such folder")
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS):
            yield _own(path, f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}")


def _own(path: Path, origin: str) -> Picture:
    content = path.read_bytes()
    try:
        image = decode(content)
        clear = _clear_share(image)
    except BadPicture as error:
        raise UserError(f"file {path}: {error}") from error
    kind: Kind = "cutout" if clear > CLEAR else "photo"
    return Picture(kind, origin, words(path.name), content, "the user's own")


def _clear_share(image: Image.Image) -> float:
    """Share of the pixels with less than half alpha; a wholly transparent picture is refused."""
    if image.mode != "RGBA":
        return 0.0
    alpha = np.asarray(image.getchannel("A"))
    if alpha.max() == 0:
        raise BadPicture("alpha is zero everywhere")
    return float((alpha < 128).mean())
