"""decompose: composites to layers, for a data set's held-out pictures or for any picture a person names.

python -m stages decompose diffdecompose
python -m stages.decompose diffdecompose --image photo.png --out layers/
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stages import discover
from stages.execute import command, perform
from stages.layout import Layout
from stages.pictures.asset import BadPicture, decode
from systems.parts.errors import UserError
from systems.parts.whole import whole

RELEASED = Path("models/released")
CONTENTS = "layers.json"
LEAST_SIDE = 8

LAYOUT = Layout(
    "decompose",
    inputs={"data": "data/{data}", "model": "models/{model}", "weights": "data/sources/{weights}"},
    output="data/layers/{name}",
    reports=True,
)


def main(arguments: Sequence[str]) -> None:
    """Decompose the data set of the system's parameters, or the one picture of `--image`."""
    parser = argparse.ArgumentParser("python -m stages decompose", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="system, as diffdecompose")
    parser.add_argument("--image", type=Path, help="a picture to take apart (PNG, JPEG or WebP)")
    parser.add_argument("--out", type=Path, help="folder for the layers of --image; made, or its layers replaced")
    parser.add_argument("--model", type=Path, help="folder of a trained model (models/released/<name> where not given)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples drawn for --image")
    given = parser.parse_args(arguments)
    if (given.image is None) != (given.out is None):
        parser.error("--image and --out go together")
    if given.image is None:
        perform(LAYOUT, given.name)
    else:
        take_apart(given.name, given.image, given.out, given.model or RELEASED / given.name, given.seed)


def take_apart(name: str, image: Path, out: Path, model: Path, seed: int) -> None:
    """Write the layers of one picture, `<layer>.png` each, and `layers.json` with their order from the bottom."""
    picture = read_picture(image)
    module = importlib.import_module(discover.system(name).module_for("decompose"))
    if not hasattr(module, "decompose_image"):
        raise UserError(f"system '{name}' cannot take a single picture apart")
    if out.exists() and not (out / CONTENTS).is_file() and any(out.iterdir()):
        raise UserError(f"--out {out}: holds other files; name a new folder or one that this command made")
    layers = module.decompose_image(picture, model, seed)
    described = {"system": name, "image": image.name, "model": model.as_posix(), "seed": seed}
    order = ["background", *(layer for layer in layers if layer != "background")]
    with whole(out) as (growing,):
        growing.mkdir()
        for layer, pixels in layers.items():
            Image.fromarray(pixels).save(growing / f"{layer}.png")
        (growing / CONTENTS).write_text(json.dumps({**described, "bottom_to_top": order}, indent=1) + "\n")
    print(f"layers of {image}: {', '.join(f'{out / layer}.png' for layer in order)}")


def read_picture(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of a file, upright; what is transparent shows white."""
    try:
        picture = decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"--image {path}: cannot be read ({error.strerror})") from error
    except BadPicture as error:
        raise UserError(f"--image {path}: {error}") from error
    if picture.mode == "RGBA":
        if picture.getchannel("A").getextrema()[1] == 0:
            raise UserError(f"--image {path}: alpha is zero everywhere; a visible picture is wanted")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if min(picture.size) < LEAST_SIDE:
        size = f"{picture.width} x {picture.height}"
        raise UserError(f"--image {path}: {size} px; at least {LEAST_SIDE} px a side are wanted")
    return np.asarray(picture.convert("RGB"))


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
