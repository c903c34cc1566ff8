"""The stage synthesize: the raw file, the features of glosses, and what validation finds in spoilt data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from stages.expectations import expect
from stages.run import StageRun
from stages.settings import check
from systems.graph.diskgnn import features, validate
from systems.graph.diskgnn.dataset import Dataset, open_dataset
from systems.graph.diskgnn.synthesize import Params, synthesize
from systems.parts.errors import UserError
from systems.parts.wordnet import Pointer, Synset, write_wordnet
from tests.systems.graph.diskgnn.conftest import make_dataset

WORDS = ("a", "small", "dog", "that", "runs", "and", "barks", "at", "the", "large", "cat", "of", "another", "house")
COUNT = 40


def glosses() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(list(WORDS), rng.integers(3, 9))) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordnet")
    synsets = [Synset(f"n{i:08d}", "w", i % 5, gloss) for i, gloss in enumerate(glosses())]
    write_wordnet(folder, synsets, [Pointer(i, (i + 1) % COUNT, "@") for i in range(COUNT)])
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT like MiniLM with random weights and few of them."""
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "words.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    vocabulary = {word: place for place, word in enumerate((folder / "words.txt").read_text().split())}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder


def made(folder: Path, inputs: dict[str, Path], **changes: Any) -> Dataset:
    params = check(Params, {"sources": "wordnet", "dim": 6, **changes}, "graph.synthesize.diskgnn")
    run = StageRun("synthesize", "diskgnn", params, inputs, folder / "data", folder / "reports")
    run.begin()
    synthesize(run)
    run.finish([run.final, run.reports / "plots"])
    return open_dataset(run.final)


def checked(folder: Path, reports: Path) -> StageRun[validate.Params]:
    given = validate.Params(data="diskgnn")
    run = StageRun("validate", "diskgnn", given, {"data": folder}, reports / "no", reports, expecter=expect)
    run.begin()
    validate.validate(run)
    return run


def test_row_v_of_the_raw_file_is_the_gloss_of_synset_v(sources: Path, tmp_path: Path) -> None:
    data = made(tmp_path, {"sources": sources})
    raw = np.fromfile(data.raw, np.float32).reshape(COUNT, 6)
    assert np.array_equal(raw, features.tfidf(glosses(), 6, 0))
    assert np.array_equal(raw, data.features)
    assert data.labels.tolist() == [i % 5 for i in range(COUNT)]
    assert data.graph.degrees.tolist() == [2] * COUNT
    assert {split: len(data.of(split)) for split in ("train", "validation", "test", "none")} == {
        "train": 20,
        "validation": 10,
        "test": 10,
        "none": 0,
    }
    run = checked(data.folder, tmp_path / "reports")
    assert run.metrics["nodes/rows"] == COUNT


def test_two_runs_make_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    one, again = (made(tmp_path / name, {"sources": sources}).folder for name in "ab")
    assert all(path.read_bytes() == (again / path.name).read_bytes() for path in one.iterdir())


def test_tfidf_keeps_the_largest_directions() -> None:
    texts = ["cat cat", "cat dog", "dog dog", "dog cat", "bird cat", "bird dog"]
    whole, few = features.tfidf(texts, 3, 0), features.tfidf(texts, 2, 0)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)  # three words: nothing is left out
    assert (few**2).sum() <= (whole**2).sum()
    np.testing.assert_allclose(abs(few), abs(whole[:, :2]), atol=1e-5)
    with pytest.raises(UserError, match="parameter dim = 4: the texts have 3 words in common"):
        features.tfidf(texts, 4, 0)


def test_minilm_is_the_mean_of_the_last_states_of_the_gloss_alone(encoder: Path) -> None:
    texts = glosses()
    several = features.minilm(texts, encoder, batch=16)
    assert several.shape == (COUNT, 24)
    np.testing.assert_allclose(np.linalg.norm(several, axis=1), 1, atol=1e-5)
    model, tokenizer = BertModel.from_pretrained(encoder).eval(), BertTokenizerFast.from_pretrained(encoder)
    for text, row in zip(texts[:5], several, strict=False):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, mean / mean.norm(), atol=1e-5)


def test_minilm_makes_the_raw_file_where_the_parameter_says_so(sources: Path, encoder: Path, tmp_path: Path) -> None:
    inputs = {"sources": sources, "weights": encoder}
    data = made(tmp_path, inputs, features="minilm", weights="minilm")
    assert data.meta.dim == 24
    np.testing.assert_allclose(data.features, features.minilm(glosses(), encoder), atol=1e-6)


def test_an_encoder_that_is_not_there_is_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"features = minilm: no encoder in .*; set fetch.minilm.wanted to true"):
        made(tmp_path, {"sources": sources, "weights": tmp_path}, features="minilm", weights="minilm")
    with pytest.raises(UserError, match="parameter weights is empty: features = minilm needs"):
        made(tmp_path, {"sources": sources}, features="minilm")


def cut_features(data: Path) -> None:
    (data / "features.bin").write_bytes((data / "features.bin").read_bytes()[:-4])


def spoil_features(data: Path) -> None:
    raw = np.fromfile(data / "features.bin", np.float32)
    raw[77] = np.inf
    raw.tofile(data / "features.bin")


def one_way(data: Path) -> None:
    indptr, indices = np.load(data / "indptr.npy"), np.load(data / "indices.npy")
    np.save(data / "indices.npy", indices[1:])
    np.save(data / "indptr.npy", np.maximum(indptr - 1, 0))


def unlabel(data: Path) -> None:
    table = pq.read_table(data / "nodes.parquet")
    labels = pa.array([-1, *table["label"].to_pylist()[1:]], pa.int32())
    pq.write_table(table.set_column(1, "label", labels), data / "nodes.parquet")


def shrink(data: Path) -> None:
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "nodes": 299}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_features, "row v of the raw file has to start at 4 x dim x v"),
        (spoil_features, "a feature is not a number"),
        (one_way, "every edge has its way back"),
        (unlabel, "nodes of a split have a label, others none"),
        (shrink, "not of one graph of 299 nodes"),
    ],
)
def test_spoilt_data_are_found(tmp_path: Path, spoil: Any, words: str) -> None:
    folder = make_dataset(tmp_path / "data")
    checked(folder, tmp_path / "whole")
    spoil(folder)
    with pytest.raises(UserError, match=words):
        checked(folder, tmp_path / "spoilt")


def test_a_folder_without_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data set .*: not a graph on disk"):
        open_dataset(tmp_path)
