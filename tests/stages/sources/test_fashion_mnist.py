"""fetch and validate of Fashion-MNIST: from a tiny package of the real layout, and from the stored sample."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stages.expectations import expect
from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import fashion_mnist
from systems.parts.errors import UserError
from systems.parts.labelled_pictures import FILES, read, read_file
from systems.parts.run import Expectation

SAMPLES = Path("data/samples")


def fetched(folder: Path, **params: Any) -> Path:
    values = {"source": "sample", "validation": 3, **params}
    run = StageRun(
        "fetch",
        "fashion_mnist",
        fashion_mnist.Params(**values),
        {"samples": SAMPLES},
        folder / "fashion_mnist",
        folder / "reports",
    )
    run.begin()
    fashion_mnist.fetch(run)
    return run.output


def as_idx(values: np.ndarray) -> bytes:
    """IDX bytes as the format's page says: magic 00 00 08 axes, big-endian lengths, values."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A package like Debian's with 14 pictures of each class for train and 13 for test, laid out in a folder."""
    rng = np.random.default_rng(0)
    made, sums = {}, {}
    (folder / fashion_mnist.UNDER).mkdir(parents=True)
    for stem, each in {"train": 14, "t10k": 13}.items():
        labels = np.repeat(np.arange(10, dtype=np.uint8), each)
        made[f"{stem}-labels-idx1"] = rng.permutation(labels)
        made[f"{stem}-images-idx3"] = rng.integers(0, 256, (len(labels), 28, 28)).astype(np.uint8)
    for name, values in made.items():
        content = gzip.compress(as_idx(values))
        (folder / fashion_mnist.UNDER / f"{name}-ubyte.gz").write_bytes(content)
        sums[f"{name}-ubyte.gz"] = sha256(content).hexdigest()
    monkeypatch.setattr(fashion_mnist, "SUMS", sums)
    monkeypatch.setattr(fashion_mnist, "obtain", lambda _, __: folder)
    monkeypatch.setattr(fashion_mnist, "version_of", lambda _, __: "1.2-3")
    return made


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_idx_gives_back_what_was_written(values: np.ndarray) -> None:
    np.testing.assert_array_equal(fashion_mnist.idx(as_idx(values)), values)


@given(st.integers(0, 2**16 - 1), st.integers(0, 255))
def test_idx_of_another_kind_is_refused(zeros: int, kind: int) -> None:
    content = struct.pack(">HBB", zeros, kind, 1) + b"\0\0\0\1x"
    if (zeros, kind) == (0, 8):
        assert fashion_mnist.idx(content).tolist() == [ord("x")]
    else:
        with pytest.raises(Unavailable, match="not an IDX file"):
            fashion_mnist.idx(content)


def test_package_is_stored_without_loss_and_says_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = package(tmp_path / "package", monkeypatch)
    output = fetched(tmp_path, source="package")
    for name, stem in {"train": "train", "test": "t10k"}.items():
        stored = read_file(output / f"{name}.parquet")
        np.testing.assert_array_equal(stored.pictures, made[f"{stem}-images-idx3"])
        np.testing.assert_array_equal(stored.labels, made[f"{stem}-labels-idx1"])
    origin = json.loads((output / "origin.json").read_text())
    assert (origin["name"], origin["version"], origin["licence"]) == ("dataset-fashion-mnist", "1.2-3", "MIT")
    assert origin["classes"][9] == "ankle boot"


def test_other_content_than_pinned_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "package", monkeypatch)
    (tmp_path / "package" / fashion_mnist.UNDER / "t10k-labels-idx1-ubyte.gz").write_bytes(b"other")
    with pytest.raises(
        UserError, match=r"fashion_mnist\.source = package: cannot be had \(t10k-labels.*`sample`"
    ) as caught:
        fetched(tmp_path, source="package")
    assert "\n" not in str(caught.value)


def test_the_stored_sample_is_small_whole_and_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    folder = SAMPLES / "fashion_mnist"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e5
    first, second = fetched(tmp_path / "a"), fetched(tmp_path / "b")
    assert sorted(path.name for path in first.iterdir()) == [
        "origin.json",
        "split.json",
        "test.parquet",
        "train.parquet",
    ]
    assert all((first / path.name).read_bytes() == path.read_bytes() for path in second.iterdir())
    for name, each in {"train": 30, "test": 10}.items():
        stored = read_file(first / f"{name}.parquet")
        assert np.bincount(stored.labels).tolist() == [each] * 10
        np.testing.assert_array_equal(stored.pictures, read_file(folder / f"{name}.parquet").pictures)


def test_the_split_takes_train_apart_evenly_and_by_the_seed_alone(tmp_path: Path) -> None:
    output = fetched(tmp_path / "a", validation=4)
    whole, kept, held = read_file(output / "train.parquet"), read(output, "train"), read(output, "validation")
    assert np.bincount(held.labels).tolist() == [4] * 10
    together = np.concatenate((kept.pictures, held.pictures)).reshape(300, -1)
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(whole.pictures.reshape(300, -1), axis=0))
    other = fetched(tmp_path / "b", validation=4, seed=1)
    assert (other / "split.json").read_text() != (output / "split.json").read_text()


def test_image_column_opens_in_datasets_pandas_and_pyarrow(tmp_path: Path) -> None:
    path = fetched(tmp_path) / "test.parquet"
    frame = pd.read_parquet(path)
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    wanted = read_file(path)
    for index, row in enumerate(pq.read_table(path).to_pylist()):
        assert frame["image"][index]["bytes"] == row["image"]["bytes"]
        np.testing.assert_array_equal(np.asarray(rows[index]["image"]), wanted.pictures[index])
        assert rows[index]["label"] == wanted.labels[index] == row["label"]


def test_first_of_each_class_and_too_few(tmp_path: Path) -> None:
    stored = read_file(fetched(tmp_path) / "train.parquet")
    counts = [3, 0, 1, 30, 2, 2, 2, 2, 2, 2]
    chosen = stored.first_of_each(counts)
    assert np.bincount(chosen.labels, minlength=10).tolist() == counts
    np.testing.assert_array_equal(chosen.pictures[3], stored.pictures[np.flatnonzero(stored.labels == 2)[0]])
    with pytest.raises(UserError, match="class 3: 31 pictures are wanted, there are 30"):
        stored.first_of_each([0, 0, 0, 31])


def validation(output: Path, **params: Any) -> StageRun[fashion_mnist.Checks]:
    values = {"data": "sources/fashion_mnist", "train": 30, "test": 10, **params}
    run = StageRun(
        "validate",
        "fashion_mnist",
        fashion_mnist.Checks(**values),
        {"data": output},
        output,
        output.parent / "r" / "validate" / "fashion_mnist",
        expecter=expect,
    )
    fashion_mnist.validate(run)
    return run


def test_validate_passes_the_sample_and_measures_it(tmp_path: Path) -> None:
    output = fetched(tmp_path)
    run = validation(output)
    assert run.metrics["pictures/rows"] == 400
    assert run.metrics["mean of train"] == pytest.approx(read(output, "train").pictures.mean() / 255)
    assert 0.2 < run.metrics["mean of train"] < 0.4


def test_validate_refuses_a_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table classes violates .*the classes are balanced"):
        validation(fetched(tmp_path), train=31)


@pytest.mark.parametrize(
    ("rows", "words"),
    [([0, 0], "values_to_be_unique"), ([0, 300], "a row of train.parquet"), ([-1, 1], "values_to_be_between")],
)
def test_validate_refuses_a_split_that_is_none(tmp_path: Path, rows: list[int], words: str) -> None:
    output = fetched(tmp_path)
    (output / "split.json").write_text(json.dumps({"validation": rows}))
    with pytest.raises(UserError, match=f"table split violates .*{words}"):
        validation(output)


def test_validate_looks_at_every_picture(tmp_path: Path) -> None:
    output = fetched(tmp_path)
    table = pq.read_table(output / "test.parquet")
    labels = table["label"].to_pylist()
    labels[5] = 10
    pq.write_table(table.set_column(1, "label", pa.array(labels)), output / "test.parquet")
    seen: dict[str, tuple[pa.Table, Sequence[Expectation]]] = {}
    run = StageRun("validate", "x", fashion_mnist.Checks(data="x"), {"data": output}, output, output / "r")
    run.expecter = lambda _, name, table, expectations: seen.update({name: (table, expectations)})
    fashion_mnist.validate(run)
    pictures, _ = seen["pictures"]
    assert pictures["file"].to_pylist() == ["train"] * 300 + ["test"] * 100
    assert pictures["label"].to_pylist()[305] == 10
    assert {name: set(pictures[name].to_pylist()) for name in ("height", "width")} == {"height": {28}, "width": {28}}
    with pytest.raises(UserError, match="test-00005"):
        validation(output)


def test_files_are_named_once() -> None:
    assert set(FILES) == set(fashion_mnist.STEMS)
