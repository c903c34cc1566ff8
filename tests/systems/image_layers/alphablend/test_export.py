"""The card's PNG and JSON-lines layout, read back with Pillow alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from systems.image_layers.alphablend.export import export, main
from systems.parts.blend import reblend_error
from systems.parts.errors import UserError

FIELDS = {
    *("id", "subtask", "tau", "params", "seed", "fg", "bg", "comp", "fg_asset", "bg_asset"),
    *("fg_phrase", "bg_phrase", "prompt", "sha256"),
}


@pytest.mark.parametrize(("split", "count"), [("train", 72), ("test", 30)])
def test_holds_4_1_exported_samples_blend_again(data: Path, tmp_path: Path, split: str, count: int) -> None:
    assert export(data, tmp_path) == 102
    folder = tmp_path / "alphablend"
    lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == count
    for line in lines:
        assert set(line) == FIELDS
        assert line["fg"] == f"{line['subtask']}/{split}/fg/{line['id']}.png"
        opened = [Image.open(folder / line[name]) for name in ("fg", "bg", "comp")]
        assert [picture.mode for picture in opened] == ["RGBA", "RGB", "RGB"]
        fg, bg, comp = (np.asarray(picture) for picture in opened)
        assert line["sha256"]["fg"] == hashlib.sha256(fg.tobytes()).hexdigest()
        assert reblend_error(line["tau"], fg, bg, comp, line["params"]) <= 1
    assert len(list(folder.rglob("*.png"))) == 3 * 102


def test_nothing_half_written_stays(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"cannot be written .No space left on device"):
        export(data, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_folders_end_in_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert f"data set {tmp_path}: no Parquet shard" in capsys.readouterr().err
    (tmp_path / "alphablend").mkdir()
    assert main([str(data), str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
