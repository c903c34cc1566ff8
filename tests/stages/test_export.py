"""Stored samples as layered files: they flatten to the composites of their data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from stages import export
from systems.parts.blend import blend
from systems.parts.errors import UserError
from systems.parts.layered_files import files
from systems.parts.layered_files.blended import SEEN
from systems.parts.layered_files.stack import flatten
from systems.parts.pictures import image_column, quantise, unit, write_table

TAUS = ("over", "screen", "additive", "multiply", "glass")
PARAMS = json.dumps({"k": 3.0, "s": 0.3})


def layers(count: int, channels: int, key: int) -> np.ndarray:
    return np.random.default_rng(key).integers(0, 256, (count, 16, 16, channels), np.uint8)


FG, BG = layers(len(TAUS), 4, 0), layers(len(TAUS), 3, 1)


def write(path: Path, rows: slice, bg: np.ndarray = BG, **more: pa.Array) -> None:
    """Some of the samples, one a blend."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {"id": [f"s-{tau}" for tau in TAUS[rows]], "tau": TAUS[rows], "params": [PARAMS] * len(TAUS[rows])}
    images = {"fg": image_column(FG[rows]), "bg": image_column(bg[rows])}
    write_table(pa.table({**{name: pa.array(value) for name, value in texts.items()}, **images, **more}), path)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of two shards, and estimates of two variants."""
    block = {"decompose": {"diffdecompose": {"data": "alphablend", "model": "diffdecompose"}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"image_layers": block}))
    monkeypatch.chdir(tmp_path)
    write(Path("data/alphablend/test-00000.parquet"), slice(0, 3))
    write(Path("data/alphablend/test-00001.parquet"), slice(3, 5))
    folder = Path("data/layers/diffdecompose")
    write(folder / "a-0.parquet", slice(0, 5), bg=BG[::-1])
    write(folder / "b-0.parquet", slice(0, 5), bg=255 - BG, bg_mean=image_column(BG))
    return tmp_path


@pytest.mark.parametrize("kind", files.FORMATS)
def test_triplets_become_files_that_flatten_to_their_composites(kind: files.Format) -> None:
    export.main(["alphablend", "--rows", "1:9", "--format", kind, "--out", "out"])
    for row in range(1, len(TAUS)):
        found = files.read(Path("out") / (f"s-{TAUS[row]}" + ("" if kind == "png" else f".{kind}")))
        composite = quantise(blend(TAUS[row], unit(FG[row]), unit(BG[row]), json.loads(PARAMS)))
        assert np.abs(flatten(found)[..., :3].astype(int) - composite).max() <= 1
        names = ["background", "foreground", *([SEEN] if TAUS[row] == "glass" else [])]
        assert [layer.name for layer in found.layers] == names
    assert len(list(Path("out").iterdir())) == len(TAUS) - 1


def test_estimates_of_the_best_variant_are_blended_as_the_composites_were() -> None:
    export.main(["diffdecompose", "--rows", "3:4", "--format", "ora", "--out", "out"])
    ground, above = files.read(Path("out/s-multiply.ora")).layers
    assert (ground.rgba[..., :3] == 255 - BG[3]).all()
    assert above.blend == "multiply"


def test_a_foreground_that_vanished_leaves_the_background() -> None:
    clear = np.zeros_like(FG)
    for shard in Path("data/alphablend").iterdir():
        shard.unlink()
    texts = {"id": ["a", "b"], "tau": ["glass", "over"], "params": [PARAMS] * 2}
    table = pa.table({**texts, "fg": image_column(clear[:2]), "bg": image_column(BG[:2])})
    write_table(table, Path("data/alphablend/test-0.parquet"))
    export.main(["alphablend", "--format", "psd", "--out", "out"])
    for name, row in (("a", 0), ("b", 1)):
        assert (flatten(files.read(Path(f"out/{name}.psd")))[..., :3] == BG[row]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("alphablend --rows 3 --out out", "--rows 3: two whole numbers"),
        ("alphablend --rows 3:3 --out out", "--rows 3:3: two whole numbers"),
        ("alphablend --rows 9:10 --out out", "--rows 9:10: split test of alphablend has no such rows"),
        ("alphablend --split none --out out", "split none of alphablend has no such rows"),
        ("alphablend --out data", "--out data: exists already"),
        ("diffdecompose --split train --out out", "--split train: layers of split test are stored"),
        ("decomp --out out", "system 'decomp' stores no layers of pictures"),
        ("nothing --out out", "system 'nothing' is unknown"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_made(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        export.main(given.split())
    assert not Path("out").exists()


def test_layers_of_another_data_set_are_refused() -> None:
    Path("data/alphablend/test-00000.parquet").rename("data/alphablend/test-00002.parquet")
    with pytest.raises(UserError, match="s-over stands where data/alphablend has s-multiply"):
        export.main(["diffdecompose", "--out", "out"])
    Path("data/layers/diffdecompose").rename("data/layers/gone")
    with pytest.raises(UserError, match="diffdecompose: does not exist; run its stage first"):
        export.main(["diffdecompose", "--out", "out"])
