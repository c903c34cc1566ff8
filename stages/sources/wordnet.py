"""WordNet 3.0: 117,659 synsets with glosses and the pointers between them, from Debian's package or a small sample.

    python -m stages fetch wordnet
    python -m stages validate wordnet

`data/sources/wordnet/` gets `synsets.parquet` and `pointers.parquet`, which `systems.parts.wordnet` reads. A quarter of
a minute with the download of 6 MB; the sample needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from stages.registries.archives import members
from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.errors import UserError
from systems.parts.expectations import column
from systems.parts.run import Expectation, Run, Strict
from systems.parts.tables import counted
from systems.parts.wordnet import FILES, Pointer, Synset, write_wordnet

# The content is pinned, not the file: Debian's version may move.
PACKAGE = Package("debian", "wordnet-base", "1:3.0-37", "WordNet 3.0 licence")
PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
"""Data files by the letter under which pointers know them."""
SAMPLE = "wordnet"
CONTENT = "9c33953116f661f96b2af6815ea87a505a54cd48e72994ba47bca5aad58840a6"
"""sha256 over the four data files, one after another."""


class Params(Strict):
    """Where WordNet comes from."""

    source: Literal["package", "sample"] = Field(description="all of the package, or the sample of the repository")


def fetch(run: Run[Params]) -> None:
    """Store synsets and pointers."""
    files = sampled(run.inputs["samples"] / SAMPLE) if run.params.source == "sample" else packaged()
    synsets, pointers = parsed(files)
    write_wordnet(run.output, synsets, pointers)
    run.metric("synsets", len(synsets))
    run.metric("pointers", len(pointers))
    run.table(
        "symbols", counted(pa.table({"symbol": [pointer.symbol for pointer in pointers]}), ["symbol"], "pointers")
    )


def packaged() -> Mapping[str, bytes]:
    """The data files of the package, checked; one line where they cannot be had."""
    try:
        path = obtain(PACKAGE, cache_folder())
        files = {letter: _member(path, f"usr/share/wordnet/data.{part}") for letter, part in PARTS.items()}
        if (found := sha256(b"".join(files.values())).hexdigest()) != CONTENT:
            raise Unavailable(f"content of {path.name}: sha256 expected {CONTENT}, found {found}")
    except Unavailable as error:
        name = "parameter fetch.wordnet.source = package"
        raise UserError(f"{name}: cannot be had ({' '.join(str(error).split())}); `sample` needs no network") from error
    return files


def _member(path: Path, name: str) -> bytes:
    for _, content in members(path, name):
        return content
    raise Unavailable(f"{path.name}: no {name}")


def sampled(folder: Path) -> Mapping[str, bytes]:
    """Lines of the data files that stand in the repository."""
    return {letter: (folder / f"data.{part}").read_bytes() for letter, part in PARTS.items()}


def parsed(files: Mapping[str, bytes]) -> tuple[list[Synset], list[Pointer]]:
    """Synsets in the order of the files, and the pointers between those that are there."""
    lines = [(letter, line) for letter, content in files.items() for line in _lines(content)]
    synsets = [synset(letter, line) for letter, line in lines]
    places = {some.name: place for place, some in enumerate(synsets)}
    pointers = [
        Pointer(place, places[target], symbol)
        for place, (_, line) in enumerate(lines)
        for symbol, target in pointed(line)
        if target in places
    ]
    return synsets, pointers


def _lines(content: bytes) -> Iterator[str]:
    """Lines of a data file (wndb(5WN)) without the licence at its head, which is indented."""
    return (line for line in content.decode("latin-1").splitlines() if line and not line.startswith(" "))


def synset(letter: str, line: str) -> Synset:
    """What a line says of its synset; the number of words is hexadecimal."""
    fields, gloss = line.split(" | ", 1)
    offset, file, _, count, *rest = fields.split()
    words = " ".join(rest[: 2 * int(count, 16) : 2])
    return Synset(letter + offset, words, int(file), gloss.strip())


def pointed(line: str) -> Iterator[tuple[str, str]]:
    """Symbol and target of each pointer of a line."""
    fields = line.split(" | ", 1)[0].split()
    start = 4 + 2 * int(fields[3], 16)
    for place in range(start + 1, start + 1 + 4 * int(fields[start]), 4):
        symbol, offset, letter = fields[place : place + 3]
        yield symbol, letter + offset


class Checks(Strict):
    """What the tables are held to."""

    data: str = Field(description="folder below data/ with the tables")
    synsets: int = Field(gt=0, description="fewest synsets; all of WordNet 3.0 has 117,659")


def validate(run: Run[Checks]) -> None:
    """Check names, glosses and files of the synsets, and that pointers lead from one to another."""
    folder = run.inputs["data"]
    synsets, pointers = (pq.read_table(folder / f"{name}.parquet") for name in ("synsets", "pointers"))
    run.expect("synsets", synsets, SYNSETS)
    run.expect(
        "pointers",
        pointers,
        [
            column("values_to_be_between", end, "it leads nowhere", min_value=0, max_value=synsets.num_rows - 1)
            for end in ("source", "target")
        ],
    )
    enough = Expectation(
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": run.params.synsets},
        why="fewer synsets than there should be",
    )
    run.expect("size", synsets.select(["name"]), [enough])
    named = pa.table({"file": pc.take(pa.array(FILES), synsets["file"])})
    run.metric("synsets", synsets.num_rows)
    run.table("files", counted(named, ["file"], "synsets"))


SYNSETS = [
    column("values_to_be_unique", "name", "a name names one synset"),
    column("values_to_match_regex", "name", "part of speech and offset", regex="^[nvar][0-9]{8}$"),
    column("value_lengths_to_be_between", "gloss", "features are made of glosses", min_value=1),
    column("value_lengths_to_be_between", "words", "a synset has words", min_value=1),
    column("values_to_be_between", "file", "not a lexicographer file", min_value=0, max_value=len(FILES) - 1),
]
