"""What is taken from each package: one function a source, from the members of its archive to pictures."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import numpy as np
from jaxtyping import Integer
from PIL import Image

from stages.pictures.asset import Kind, Picture, decode, words
from stages.registries.rcc import read_rcc

Members = Iterable[tuple[str, bytes]]
Select = Callable[[Members], Iterator[Picture]]

GPL2 = "GPL-2.0-only"
# Drawn, by the start of the base name; the rest that passes the rule are photographs.
DRAWN = (
    *("button", "feathered_hat", "propeller_hat", "pizza", "eye", "Santa", "bunny-egg", "bunny", "chick"),
    *("wrapped_chocolate", "bluebird", "dreydl", "jackolantern", "xing_", "school_sign", "dead_end_sign"),
    *("railroad", "give_way", "no_entry", "roundabout", "sedan", "sportscar2", "blue-and-yellow"),
)
GLASS = {"household/dishes/glass.png", "household/Lightbulb.png"}  # see-through, so few colours pass the rule
GCOMPRIS = (
    *("categorization", "explore_monuments", "explore_world_animals", "explore_farm_animals"),
    *("explore_world_music", "erase"),
)
SHORT_SIDE = 200  # pixels; smaller pictures in GCompris are buttons
LOGO = 256  # pixels
SLIVER = 200  # pixels; smaller instances are the tips of cells below the focal plane


def tuxpaint(members: Members) -> Iterator[Picture]:
    """Photographed cut-outs: some pixels clear, many colours where opaque, and not on the list of the drawn ones."""
    files = dict(members)
    for name in sorted(files):
        if name in GLASS or _photographed(name, files[name]):
            kind: Kind = "glass" if name in GLASS else "cutout"
            yield Picture(kind, name, _described(files.get(name[:-4] + ".txt", b""), name), files[name], GPL2)


def _drawn(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    easter = name.startswith("seasonal/easter") and base.startswith(("butterfly", "daffodil"))
    return easter or "cartoon" in name or name.startswith("symbols/alphabets") or base.startswith(DRAWN)


def _photographed(name: str, content: bytes) -> bool:
    if not name.endswith(".png") or _drawn(name):
        return False
    pixels = np.asarray(decode(content).convert("RGBA"))
    alpha = pixels[..., 3]
    if (alpha < 10).mean() <= 0.02:
        return False
    red, green, blue = (pixels[alpha > 200][:, :3] >> 2).astype(np.uint32).T
    return len(np.unique(red << 12 | green << 6 | blue)) > 250


def _described(text: bytes, name: str) -> str:
    """The stamp's own English description if it is short, else the words of its name."""
    first = text.decode("utf-8", "replace").split("\n", 1)[0].strip(" .!\r")
    short = re.sub(r"^(an?|the)\s+", "", first, flags=re.IGNORECASE)
    return short[:1].lower() + short[1:] if 0 < len(short.split()) <= 5 else words(name)


def gcompris(members: Members) -> Iterator[Picture]:
    """Photographs whose licence the README of their folder names; the same photograph is taken once."""
    files: dict[str, bytes] = {}
    for name, content in members:
        if name.removesuffix(".rcc") in GCOMPRIS:
            files.update((inner.removeprefix("gcompris/src/activities/"), data) for inner, data in read_rcc(content))
    credit = {path: entry for name in files if name.endswith("/README") for path, entry in credits(name, files[name])}
    seen: set[str] = set()
    for name in sorted(files.keys() & credit.keys()):
        entry = credit[name]
        if not name.endswith((".webp", ".jpg")) or not entry.get("source") or entry["source"] in seen:
            continue
        seen.add(entry["source"])
        if min(decode(files[name]).size) >= SHORT_SIDE:
            yield Picture("photo", name, words(name), files[name], entry["license"], entry["copyright"])


def credits(name: str, readme: bytes) -> Iterator[tuple[str, Mapping[str, str]]]:  # noqa: A001 - the field's word
    """Path and credit of every file that a README names: paragraphs of Copyright, License, Source and Files."""
    folder = name.rsplit("/", 1)[0]
    for paragraph in re.split(r"\n\s*\n", readme.decode("utf-8", "replace")):
        head, _, listed = paragraph.partition("Files:")
        entry = {key.lower(): value.strip() for key, value in re.findall(r"^(\w+):(.*)$", head, flags=re.MULTILINE)}
        if entry.get("license") and entry.get("copyright"):
            yield from ((f"{folder}/{path}", entry) for path in listed.split())


SKIMAGE: dict[str, tuple[str, str, str]] = {
    "astronaut.png": ("astronaut in front of a flag", "public domain", "NASA"),
    "brick.png": ("brick wall", "CC0-1.0", "CC0Textures"),
    "camera.png": ("photographer with a camera", "CC0-1.0", "Lav Varshney"),
    "cell.png": ("cell under a microscope", "CC0-1.0", "Paul Müller et al."),
    "chelsea.png": ("cat", "CC0-1.0", "Stefan van der Walt"),
    "coffee.png": ("cup of coffee", "CC0-1.0", "Rachel Michetti"),
    "coins.png": ("Greek coins", "no known copyright restrictions", "Brooklyn Museum"),
    "grass.png": ("grass", "CC0-1.0", "linolafett"),
    "gravel.png": ("gravel", "CC0-1.0", "CC0Textures"),
    "hubble_deep_field.jpg": ("galaxies in deep space", "public domain", "NASA"),
    "ihc.png": ("stained tissue under a microscope", "no known copyright restrictions", "CMMI"),
    "retina.jpg": ("retina of an eye", "CC0-1.0", "Mikael Häggström"),
    "rocket.jpg": ("rocket at night", "public domain", "SpaceX"),
}


def skimage(members: Members) -> Iterator[Picture]:
    """The photographs among scikit-image's own pictures, credited as its documentation does."""
    for name, content in members:
        if name in SKIMAGE:
            phrase, licence, author = SKIMAGE[name]
            yield Picture("photo", name, phrase, content, licence, author)


def simple_icons(members: Members) -> Iterator[Picture]:
    """Logos that the package gives away as CC0, drawn white on nothing; the few with a licence of their own are out."""
    files = dict(members)
    listed = json.loads(files["data/simple-icons.json"])
    for icon in sorted(listed, key=lambda icon: icon["slug"]):
        name = f"icons/{icon['slug']}.svg"
        if icon.get("license", {}).get("type", "CC0-1.0") == "CC0-1.0" and name in files:
            colour = "#" + icon["hex"]
            yield Picture(
                "mark", name, f"{icon['title']} logo", files[name], "CC0-1.0", "", partial(rasterise, colour=colour)
            )


def rasterise(svg: bytes, colour: str) -> Image.Image:
    """An icon of one colour as RGBA, `LOGO` pixels wide and high, the same bytes on every machine."""
    import resvg_py

    drawn = svg.decode().replace("<svg ", f'<svg fill="{colour}" ', 1)
    return decode(bytes(resvg_py.svg_to_bytes(svg_string=drawn, width=LOGO, height=LOGO, skip_system_fonts=True)))


def frost(members: Members) -> Iterator[Picture]:
    """Photographs of frost on black, as light to be screened over a picture."""
    for name, content in members:
        if re.fullmatch(r"frost\d\.(png|jpg)", name):
            yield Picture("frost", name, "frost on glass", content, "Apache-2.0", "", light_on_black)


def light_on_black(content: bytes) -> Image.Image:
    """RGBA whose alpha times colour is the picture: alpha is the brightest channel, so black becomes clear."""
    light = np.asarray(decode(content).convert("RGB"), dtype=np.float32)
    alpha = light.max(axis=2, keepdims=True)
    straight = np.rint(255 * light / np.maximum(alpha, 1))
    return Image.fromarray(np.concatenate([straight, alpha], axis=2).astype(np.uint8), "RGBA")


def nebulae(members: Members) -> Iterator[Picture]:
    """Astronomical photographs, bright on black."""
    for name, content in sorted(members):
        if name.endswith(".png"):
            phrase = name.removesuffix(".png").replace("_", " ").replace("-", " ") + " in the night sky"
            yield Picture("light", name, phrase, content, "GPL-2.0-or-later", "see Stellarium's CREDITS.md")


def cells(members: Members) -> Iterator[Picture]:
    """Every whole nucleus of the fluorescence picture that is not a sliver, cut along its instance mask."""
    files = dict(members)
    mask = np.asarray(Image.open(io.BytesIO(files["mask2d.tif"])))
    border = np.unique(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]))
    labels, areas = np.unique(mask, return_counts=True)
    for label in np.setdiff1d(labels[areas >= SLIVER], np.append(border, 0)):
        render = partial(cut, mask=mask, label=int(label))
        yield Picture("cell", f"img2d.tif#{label:03d}", "cell nucleus", files["img2d.tif"], "BSD-3-Clause", "", render)


def cut(content: bytes, mask: Integer[np.ndarray, "h w"], label: int) -> Image.Image:
    """One instance of a grey fluorescence picture as RGBA; its brightness runs to white, its rim is a pixel soft."""
    rows, columns = np.nonzero(mask == label)
    box = np.s_[max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3]
    inside = np.pad((mask[box] == label).astype(np.float32), 1)
    rim = [np.roll(inside, (dy, dx), (0, 1))[1:-1, 1:-1] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    alpha = 255 * np.mean(rim, axis=0)
    with Image.open(io.BytesIO(content)) as image:
        grey = np.asarray(image)[box].astype(np.float32)
    grey *= 255 / max(grey[mask[box] == label].max(), 1)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], axis=2).clip(0, 255).astype(np.uint8), "RGBA")
