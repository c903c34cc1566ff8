"""What goes wrong on a person's machine ends in one line that names the culprit, and leaves nothing half-written."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.smoke import environment, override, run

pytestmark = pytest.mark.slow

WRITERS = {
    "fetch images": "data/sources",
    "synthesize alphablend": "data",
    "train diffdecompose": "models",
    "decompose diffdecompose": "data/layers",
}
SMALL_FILES = 512  # bytes: no picture, table or weight fits


def words(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line a failed stage ended in; no traceback stands above it."""
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("delaminate: "), ended.stderr[-3000:]
    return last


def results(project: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every result; partial ones would be seen as new names."""
    found = (path for room in ("data", "models", "reports") for path in (project / room).rglob("*"))
    small = (path for path in found if path.is_file() and "timings" not in path.parts)
    return {str(path.relative_to(project)): (path.stat().st_size, path.stat().st_mtime_ns) for path in small}


def picture(path: Path, size: tuple[int, int] = (64, 48), alpha: int = 255) -> Path:
    """A picture of noise with one alpha everywhere."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    pixels[..., 3] = alpha
    Image.fromarray(pixels).save(path)
    return path


def truncated(path: Path) -> Path:
    content = picture(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fetch.images.max_side", 1, "parameter fetch.images.max_side = 1: "),
        ("fetch.images.folders", ["no/such/folder"], "parameter fetch.images.folders = 'no/such/folder'"),
    ],
)
def test_a_wrong_parameter_of_a_real_stage(project: Path, key: str, value: object, message: str) -> None:
    before = results(project)
    override(project, {key: value})
    assert message in words(run(project, "python", "-m", "stages", "fetch", "images"))
    assert results(project) == before


def test_truncated_and_transparent_pictures_of_ones_own(project: Path, tmp_path: Path) -> None:
    before = results(project)
    for bad in (truncated(tmp_path / "cut" / "cut.png"), picture(tmp_path / "clear" / "clear.png", alpha=0)):
        override(project, {"fetch.images.folders": [str(bad.parent)]})
        assert str(bad) in words(run(project, "python", "-m", "stages", "fetch", "images"))
        assert results(project) == before


def test_pictures_that_cannot_be_taken_apart(project: Path, tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    words_file = tmp_path / "words.png"
    words_file.write_text("not a picture")
    for bad in (
        truncated(tmp_path / "cut.png"),
        words_file,
        tmp_path / "nowhere.png",
        picture(tmp_path / "1.png", (1, 1)),
    ):
        command = ("python", "-m", "stages.decompose", "diffdecompose", "--image", str(bad), "--out", str(layers))
        assert str(bad) in words(run(project, *command))
        assert not layers.exists()


@pytest.mark.parametrize("stage", WRITERS)
def test_a_full_disk(project: Path, stage: str) -> None:
    before = results(project)
    ended = subprocess.run(
        ("python", "-m", "stages", *stage.split()),
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILES, SMALL_FILES)),
    )
    assert "cannot be written" in words(ended)
    assert results(project) == before


@pytest.mark.parametrize("stage", WRITERS)
def test_an_output_folder_that_is_read_only(project: Path, stage: str) -> None:
    before = results(project)
    folder = project / WRITERS[stage]
    folder.chmod(0o555)
    # Root writes where it may not, unless it gives that power away.
    humble = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    try:
        ended = run(project, *humble, "python", "-m", "stages", *stage.split())
    finally:
        folder.chmod(0o755)
    assert WRITERS[stage] in words(ended)
    assert results(project) == before
