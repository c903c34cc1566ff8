"""Pictures in tables: lossless, open everywhere alike, and resized without bleeding."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from systems.parts.errors import UserError
from systems.parts.pictures import (
    Codec,
    decode,
    digest,
    encode,
    image_column,
    premultiply,
    quantise,
    resize,
    unit,
    unpremultiply,
    write_table,
)
from systems.parts.triplets import read_triplets

CODECS: tuple[Codec, ...] = ("webp", "tiff")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """A picture of noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def shapes(channels: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Small pictures of any form."""
    return array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, channels))


pictures = st.sampled_from((3, 4)).flatmap(lambda channels: arrays(np.uint8, shapes(channels)))


@pytest.mark.parametrize("codec", CODECS)
@given(picture=pictures)
@example(picture=np.full((3, 5, 4), 255, np.uint8))
def test_encoding_loses_nothing_not_even_hidden_colours(codec: Codec, picture: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(picture, codec)), picture)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", encode(noise(9, 9, 3))[:40], encode(noise(9, 9, 3), "tiff")[:40]]
)
def test_broken_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=f"picture of {len(content)} bytes: truncated or not a picture"):
        decode(content)


@given(picture=pictures)
def test_quantising_undoes_the_unit(picture: np.ndarray) -> None:
    again = quantise(unit(picture))
    shown = picture[..., 3] > 0 if picture.shape[2] == 4 else np.full(picture.shape[:2], True)
    np.testing.assert_array_equal(again[shown], picture[shown])
    assert not again[~shown].any()


def test_quantising_rounds_and_clips() -> None:
    values = np.float32([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.4])
    picture = np.repeat(values[None, :, None], 3, axis=2)
    assert quantise(picture)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_digest_is_that_of_the_pixels() -> None:
    picture = noise(4, 6, 3)
    assert digest(picture[:, ::-1]) == hashlib.sha256(picture[:, ::-1].tobytes()).hexdigest()


@given(picture=arrays(np.uint8, (8, 12, 4)))
def test_shrinking_averages_premultiplied_colours(picture: np.ndarray) -> None:
    exact = picture / 255
    blocks = np.concatenate((exact[..., :3] * exact[..., 3:], exact[..., 3:]), axis=2).reshape(4, 2, 6, 2, 4)
    flat = blocks.mean(axis=(1, 3))
    colour = flat[..., :3] / np.where(flat[..., 3:] > 0, flat[..., 3:], 1)
    small = resize(unit(picture), 4, 6)
    np.testing.assert_allclose(small[..., 3], flat[..., 3], atol=1e-5)
    np.testing.assert_allclose(small[..., :3], colour, atol=1e-4)


def test_colours_under_zero_alpha_do_not_bleed() -> None:
    picture = np.zeros((8, 8, 4), np.float32)
    picture[:, :4], picture[:, 4:] = (1, 0, 0, 1), (0, 1, 0, 0)
    for side in (3, 5, 20):
        large = resize(picture, side, side)
        shown = large[large[..., 3] > 0.01]
        np.testing.assert_allclose(shown[:, :3], np.tile([1, 0, 0], (len(shown), 1)), atol=1e-4)


@given(picture=arrays(np.uint8, shapes(4)))
def test_premultiplied_colours_come_back_where_they_show(picture: np.ndarray) -> None:
    straight = unit(picture)
    again = unpremultiply(premultiply(straight))
    shown = picture[..., 3] > 0
    np.testing.assert_allclose(again[shown], straight[shown], atol=1e-5)
    assert not again[~shown].any()


@pytest.mark.parametrize("codec", CODECS)
def test_image_columns_open_alike_in_pandas_pyarrow_and_datasets(tmp_path: Path, codec: Codec) -> None:
    """Each reader, with Pillow for the pixels, sees the pictures that were written."""
    written = [noise(8, 10, 4, seed=i) for i in range(3)]
    names = [f"{i}.{codec}" for i in range(3)]
    table = pa.table({"id": ["a", "b", "c"], "parts": [["x"], [], ["y"]], "fg": image_column(written, names, codec)})
    path = tmp_path / "train-00000.parquet"
    write_table(table, path, rows=2)

    def opened(contents: list[bytes]) -> list[np.ndarray]:
        return [np.asarray(Image.open(io.BytesIO(content))) for content in contents]

    arrow = opened([cell["bytes"] for cell in pq.read_table(path)["fg"].to_pylist()])
    frame = opened([cell["bytes"] for cell in pd.read_parquet(path)["fg"]])
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["parts"][:] == [["x"], [], ["y"]]
    seen = [np.asarray(picture) for picture in loaded["fg"]]
    for pictures_read in (arrow, frame, seen):
        for read, was in zip(pictures_read, written, strict=True):
            np.testing.assert_array_equal(read, was)


def test_triplets_are_read_in_order_with_hidden_colours_black(tmp_path: Path) -> None:
    comp, bg, fg = noise(4, 8, 8, 3), noise(4, 8, 8, 3, seed=1), noise(4, 8, 8, 4, seed=2)
    fg[:, :3, :, 3] = 0
    for number in (1, 0):
        rows = slice(2 * number, 2 * number + 2)
        columns = {name: image_column(layer[rows]) for name, layer in {"comp": comp, "bg": bg, "fg": fg}.items()}
        write_table(pa.table({"subtask": ["over", "cells"], **columns}), tmp_path / f"train-{number:05d}.parquet")
    triplets = read_triplets(tmp_path, "train")
    fg[:, :3] = 0
    for name, layer in {"comp": comp, "bg": bg, "fg": fg}.items():
        np.testing.assert_array_equal(triplets.pictures[name].numpy(), layer.transpose(0, 3, 1, 2))
    assert triplets.rows_of(["cells"]).tolist() == [1, 3]
    with pytest.raises(UserError, match=r"no shard test-\*.parquet"):
        read_triplets(tmp_path, "test")
