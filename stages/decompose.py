"""decompose: composites to layers, for a data set's held-out pictures or for any picture a person names.

python -m stages decompose diffdecompose
python -m stages.decompose diffdecompose --image photo.png --out layers/
python -m stages.decompose diffdecompose --image photo.png --out layers/ --format ora
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stages import discover, lineage
from stages.execute import Call, command, perform
from stages.layout import Layout
from stages.pictures.asset import BadPicture, decode
from stages.run import StageRun
from systems.parts.errors import UserError
from systems.parts.layered_files import files, folder
from systems.parts.layered_files.stack import Stack, of_pictures, trimmed
from systems.parts.whole import remove, whole

RELEASED = Path("models/released")
LEAST_SIDE = 8
MOST_PIXELS = 25_000_000
"""A camera of 24 megapixels and its margin; more would not fit into the memory that is promised to suffice."""

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
    parser.add_argument(
        "--format", choices=files.FORMATS, default="png", help="a PNG a layer, or all in one file layers.<format>"
    )
    parser.add_argument("--model", type=Path, help="folder of a trained model (models/released/<name> where not given)")
    parser.add_argument("--weights", type=Path, help="folder of fetched networks, for a system that can use some")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples drawn for --image")
    given = parser.parse_args(arguments)
    if (given.image is None) != (given.out is None):
        parser.error("--image and --out go together")
    if given.image is None:
        perform(LAYOUT, given.name, share=keeping)
    else:
        model = given.model or RELEASED / given.name
        take_apart(given.name, given.image, given.out, model, given.seed, given.format, given.weights)


def keeping(run: StageRun[Any], call: Call) -> Call:
    """The call with a folder `run.work` that a killed run leaves to the next one with the same inputs and code."""
    run.work = Path(".work") / "runs" / lineage.fingerprint(run)

    def whole_call(run: StageRun[Any]) -> None:
        call(run)
        remove(run.work)

    return whole_call


def take_apart(
    name: str, image: Path, out: Path, model: Path, seed: int, kind: files.Format = "png", weights: Path | None = None
) -> None:
    """Make folder `out`: the layers of one picture, and `layers.json` with their order from the bottom.

    The system's `decompose_image` gives them as a `Stack`, or as pictures of one size by their names.
    """
    picture = read_picture(image)
    module = importlib.import_module(discover.system(name).module_for("decompose"))
    if not hasattr(module, "decompose_image"):
        raise UserError(f"system '{name}' cannot take a single picture apart")
    if out.exists() and not (out / folder.CONTENTS).is_file() and any(out.iterdir()):
        raise UserError(f"--out {out}: holds other files; name a new folder or one that this command made")
    more = networks(name, module.decompose_image, weights)
    layers = module.decompose_image(picture, model, seed, **more)
    stack = layers if isinstance(layers, Stack) else of_pictures(layers)
    used = {key: place.as_posix() for key, place in more.items()}
    about = {"system": name, "image": image.name, "model": model.as_posix(), "seed": seed, **used}
    with whole(out) as (growing,):
        written = write_layers(stack, growing, kind, about)
    print(f"layers of {image}: {', '.join(str(out / file) for file in written)}")


def networks(name: str, take: Callable[..., object], weights: Path | None) -> dict[str, Path]:
    """The argument that tells a system's `decompose_image` of fetched networks, where a person names some."""
    if weights is None:
        return {}
    if "weights" not in inspect.signature(take).parameters:
        raise UserError(f"--weights {weights}: system '{name}' uses no fetched networks for a picture")
    return {"weights": weights}


def write_layers(stack: Stack, out: Path, kind: files.Format, about: Mapping[str, object]) -> list[str]:
    """Make folder `out` with the layers and a `layers.json` that begins with `about`; returns the layers' files."""
    if kind == "png":
        files.write(stack, out, kind)
        contents = json.loads((out / folder.CONTENTS).read_text())
        written = [layer["file"] for layer in contents["layers"]]
    else:
        out.mkdir()
        written = [f"layers.{kind}"]
        files.write(Stack(stack.size, tuple(map(trimmed, stack.layers))), out / written[0], kind)
        contents = {"bottom_to_top": [layer.name for layer in stack.layers], "file": written[0]}
    (out / folder.CONTENTS).write_text(json.dumps({**about, **contents}, indent=1, ensure_ascii=False) + "\n")
    return written


def read_picture(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of a file, upright; what is transparent shows white."""
    try:
        content = path.read_bytes()
        refuse_huge(path, content)
        picture = decode(content)
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


def refuse_huge(path: Path, content: bytes) -> None:
    """Refuse a picture by the size in its head, before its pixels take memory."""
    with suppress(
        OSError, SyntaxError, ValueError, Image.DecompressionBombError
    ):  # `decode` says what is wrong with it
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
        if size[0] * size[1] > MOST_PIXELS:
            raise UserError(
                f"--image {path}: {size[0]} x {size[1]} px; at most {MOST_PIXELS // 10**6} megapixels are wanted"
            )


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
