"""synthesize@diskgnn: a graph, and the raw file of its nodes' features that does not fit into memory at scale.

python -m stages synthesize diskgnn
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from systems.graph.diskgnn import features, pictures
from systems.graph.diskgnn.dataset import FEATURES, Meta, random_splits, write_dataset, write_features
from systems.graph.diskgnn.large import Name, Source, open_source
from systems.parts.errors import UserError
from systems.parts.run import Run, Strict
from systems.parts.wordnet import FILES, read_wordnet


class Params(Strict):
    """Parameters of the data set."""

    sources: str = Field(description="fetched WordNet, as wordnet")
    weights: str = Field(default="", description="fetched text encoder, as minilm, which `features: minilm` needs")
    graph: Literal["wordnet"] | Name = Field(default="wordnet", description="WordNet, or a graph from files of yours")
    folder: str = Field(default="", description="folder with the files of papers100m, mag240m, igb or friendster")
    seed: int = Field(default=0, ge=0, description="seed of the splits and of the decomposition")
    features: Literal["tfidf", "minilm"] = Field(default="tfidf", description="what WordNet's glosses become")
    dim: int = Field(default=128, gt=0, description="floats a row, of tfidf")
    train: float = Field(default=0.5, gt=0, lt=1, description="share of WordNet's synsets to train on")

    @model_validator(mode="after")
    def _files_are_named(self) -> Params:
        if self.graph != "wordnet" and not self.folder:
            raise UserError(f"parameter folder is empty: graph = {self.graph} needs the folder of its files")
        return self


def synthesize(run: Run[Params]) -> None:
    """Write the raw features, the graph, and labels and splits of the nodes."""
    params = run.params
    name = params.graph
    made = wordnet(run) if name == "wordnet" else open_source(name, Path(params.folder), run.generator("large"))
    size = write_features(run.output / FEATURES, made.rows)
    write_dataset(run.output, made.meta, made.graph, made.labels, made.splits)
    run.metric("nodes", made.meta.nodes)
    run.metric("edges, undirected", len(made.graph.indices) // 2)
    run.metric("feature file MB", size / 1e6)
    run.metric("pages a row", 4 * made.meta.dim / 4096)
    names = FILES if name == "wordnet" else tuple(map(str, range(made.meta.classes)))
    counts = np.bincount(made.labels[made.labels >= 0], minlength=len(names))
    run.table("classes", pa.table({"class": list(names), "nodes": counts}))
    run.figure("degrees", pictures.degrees(made.graph.degrees), caption="How many nodes have how many neighbours.")


def wordnet(run: Run[Params]) -> Source:
    """Synsets that a pointer joins, with features of their glosses and their lexicographer file as label."""
    params, net = run.params, read_wordnet(run.inputs["sources"])
    if params.features == "minilm":
        if "weights" not in run.inputs:
            raise UserError("parameter weights is empty: features = minilm needs a fetched text encoder, as minilm")
        rows = features.minilm(net.glosses, run.inputs["weights"])
    else:
        rows = features.tfidf(net.glosses, params.dim, params.seed)
    nodes = len(net.labels)
    splits = random_splits(np.arange(nodes), nodes, params.train, run.generator("splits"))
    return Source(Meta(nodes=nodes, dim=rows.shape[1], classes=len(FILES)), net.graph, net.labels, splits, iter([rows]))
