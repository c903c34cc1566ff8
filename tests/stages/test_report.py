"""The report page: real content in a real browser, whole in one file, the same twice."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages import report
from stages.closure import PROJECT
from stages.reporting import page, pictures
from stages.run import CAPTION
from systems.parts.errors import UserError
from systems.parts.grids import grid
from tests import browser

PROBE = """<script>addEventListener("load", () => {
  const shown = [...document.images].filter(image => image.naturalWidth > 0).length;
  document.title = `shown ${shown} of ${document.images.length}, too wide ${
    document.documentElement.scrollWidth > document.documentElement.clientWidth}`;
});</script>"""


SYSTEM = report.PAGES / "diffdecompose.html"


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def pixels_of(picture: dict[str, Any]) -> np.ndarray:
    """What a browser sees of an embedded picture before it is enlarged."""
    content = base64.b64decode(picture["uri"].removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stages have all left something to show."""
    shutil.copyfile(PROJECT / "params.yaml", tmp_path / "params.yaml")
    reports = tmp_path / "reports"
    for stage in ("train", "decompose", "evaluate", "synthesize"):
        (reports / stage / "diffdecompose" / "plots").mkdir(parents=True)
    caption = PngInfo()
    caption.add_text(CAPTION, "Rows: <one> and other.")
    for stage, name, words in (
        ("decompose", "unsaid", None),
        ("evaluate", "some", caption),
        ("synthesize", "few", caption),
    ):
        Image.fromarray(noise(40, 60)).save(reports / stage / "diffdecompose" / "plots" / f"{name}.png", pnginfo=words)
    curve = "step,loss\n" + "".join(f"{step},{1 / (step + 1)}\n" for step in range(100))
    (reports / "train" / "diffdecompose" / "plots" / "cloned-0_loss.csv").write_text(curve)
    measured = {"headline/background RMSE: one sample": 25.5}
    (reports / "evaluate" / "diffdecompose" / "metrics.json").write_text(json.dumps(measured))
    (reports / "evaluate" / "diffdecompose" / "holds.json").write_text("[]")
    scores = "answer,RMSE\n<script>alert(1)</script>,3\n"
    (reports / "evaluate" / "diffdecompose" / "plots" / "scores.csv").write_text(scores)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_is_whole_in_itself_and_the_same_twice(project: Path) -> None:
    report.main([])
    before = {path: path.read_bytes() for path in (report.PAGE, SYSTEM, report.LEDGER, report.DOCS)}
    report.main([])
    assert {path: path.read_bytes() for path in before} == before
    for text in (report.PAGE.read_text(), SYSTEM.read_text()):
        assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
        assert "<script>alert" not in text
        assert "25.5" in text
    assert "polyline" in SYSTEM.read_text()


def test_the_overview_leads_to_every_page_and_says_how_its_checks_came_out(project: Path) -> None:
    report.main([])
    text = report.PAGE.read_text()
    assert re.findall(r'href="(pages/[^"]+)"', text) == [SYSTEM.relative_to("reports").as_posix()]
    assert "7 not run" in text


def test_a_page_shows_the_pictures_that_say_what_they_are(project: Path) -> None:
    report.main([])
    text = SYSTEM.read_text()
    assert text.count("<figcaption>Rows: &lt;one&gt; and other.</figcaption>") == 2
    assert "unsaid" not in text


def test_the_page_of_a_system_that_is_gone_goes_too(project: Path) -> None:
    report.main([])
    (project / "reports" / "pages" / "old.html").touch()
    report.main([])
    assert [path.name for path in report.PAGES.iterdir()] == [SYSTEM.name]


def test_dvc_knows_all_that_the_page_is_made_of() -> None:
    known = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["report"]["deps"]
    assert {f"reports/{stage}" for stage in page.STAGES} <= set(known)
    templates = (PROJECT / "stages" / "reporting").glob("*.j2")
    assert {path.relative_to(PROJECT).as_posix() for path in templates} <= set(known)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_enlarged_grid_is_embedded_without_its_repeated_pixels(tmp_path: Path, scale: int) -> None:
    tiles = noise(2 * 24, 3 * 24).reshape(2, 24, 3, 24, 3).swapaxes(1, 2)
    Image.fromarray(grid(list(tiles), scale)).save(tmp_path / "layers.png")
    picture = pictures.embedded(tmp_path / "layers.png")
    small = pixels_of(picture)
    assert picture["times"] == scale
    assert (picture["width"], picture["height"]) == (small.shape[1] * scale, small.shape[0] * scale)
    windows = np.lib.stride_tricks.sliding_window_view(small, (24, 24, 3)).reshape(-1, 24, 24, 3)
    for tile in tiles.reshape(-1, 24, 24, 3):
        assert (windows == tile).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("pixels", [noise(30, 50), np.zeros((30, 50, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)])
def test_a_picture_that_was_not_enlarged_stays_as_it_is(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "plot.png")
    picture = pictures.embedded(tmp_path / "plot.png")
    assert picture["times"] == 1
    assert (pixels_of(picture) == pixels).all()


def test_a_large_picture_is_shrunk_and_loses_a_little(tmp_path: Path) -> None:
    fine = np.asarray(
        Image.fromarray(noise(60, 120)).resize((2 * pictures.WIDEST, pictures.WIDEST), Image.Resampling.BICUBIC)
    )
    Image.fromarray(fine).save(tmp_path / "photo.png")
    picture = pictures.embedded(tmp_path / "photo.png")
    assert (picture["width"], picture["height"]) == (pictures.WIDEST, pictures.WIDEST // 2)
    wanted = np.asarray(Image.fromarray(fine).resize((pictures.WIDEST, pictures.WIDEST // 2), Image.Resampling.LANCZOS))
    assert 0 < np.abs(pixels_of(picture).astype(float) - wanted).mean() < 12
    assert len(picture["uri"]) < wanted.size / 3


def test_a_name_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match="takes no name"):
        report.main(["diffdecompose"])


@browser.wanted
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_ledger_and_every_picture(project: Path, width: int) -> None:
    report.main([])
    probe = project / "probe.html"
    probe.write_text(SYSTEM.read_text().replace("</body>", PROBE + "</body>"))
    seen = browser.seen(probe.as_uri(), project / "browser", width, 900)
    assert "<title>shown 2 of 2, too wide false</title>" in seen
    rows = re.findall(r"<th scope=\"row\">(4\.\d)</th>", seen)
    assert set(rows) == {f"4.{number}" for number in range(1, 8)}
    assert "alert(1)&lt;/script" in seen
