"""WordNet as tables: a row a synset with its gloss and lexicographer file, and a row a pointer between two synsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from systems.parts.errors import UserError
from systems.parts.graph_sampling import Graph, Nodes, undirected

FILES = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute"),
    *("noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group"),
    *("noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant"),
    *("noun.possession", "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state"),
    *("noun.substance", "noun.time", "verb.body", "verb.change", "verb.cognition", "verb.communication"),
    *("verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion"),
    *("verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl"),
)
"""Lexicographer files by their numbers, which stand in the data."""


class Synset(NamedTuple):
    """A set of words of one meaning."""

    name: str
    """Part of speech and offset in its file, as n00001740."""
    words: str
    file: int
    gloss: str


class Pointer(NamedTuple):
    """A relation, as `@` for a hypernym, from one synset to another, both by their places."""

    source: int
    target: int
    symbol: str


@dataclass(frozen=True)
class WordNet:
    """Synsets in the order of the data files."""

    names: list[str]
    glosses: list[str]
    labels: Nodes
    """Lexicographer file of each synset, 0..44."""
    graph: Graph
    """Synsets that a pointer joins, in both directions, once."""


def write_wordnet(folder: Path, synsets: Sequence[Synset], pointers: Sequence[Pointer]) -> None:
    """`synsets.parquet` and `pointers.parquet`."""
    for name, rows, kind in (("synsets", synsets, Synset), ("pointers", pointers, Pointer)):
        columns = dict(zip(kind._fields, zip(*rows, strict=True), strict=True))
        pq.write_table(pa.table({key: list(values) for key, values in columns.items()}), folder / f"{name}.parquet")


def read_wordnet(folder: Path) -> WordNet:
    """The tables as texts, labels and one graph."""
    try:
        synsets, pointers = (pq.read_table(folder / f"{name}.parquet") for name in ("synsets", "pointers"))
    except FileNotFoundError as error:
        raise UserError(f"sources {folder}: no WordNet in it; run: python -m stages fetch wordnet") from error
    source, target = (pointers[end].to_numpy().astype(np.int64) for end in ("source", "target"))
    labels = synsets["file"].to_numpy().astype(np.int64)
    graph = undirected(len(labels), source, target)
    return WordNet(synsets["name"].to_pylist(), synsets["gloss"].to_pylist(), labels, graph)
