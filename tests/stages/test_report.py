"""The report page: real content in a real browser, whole in one file, the same twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import report
from stages.closure import PROJECT
from systems.parts.errors import UserError

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
)
PROBE = """<script>addEventListener("load", () => {
  const shown = [...document.images].filter(image => image.naturalWidth > 0).length;
  document.title = `shown ${shown} of ${document.images.length}, too wide ${
    document.documentElement.scrollWidth > document.documentElement.clientWidth}`;
});</script>"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stages have all left something to show."""
    shutil.copyfile(PROJECT / "params.yaml", tmp_path / "params.yaml")
    reports = tmp_path / "reports"
    for stage in ("train", "decompose", "evaluate"):
        (reports / stage / "diffdecompose" / "plots").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for stage in ("decompose", "evaluate"):
        Image.fromarray(picture).save(reports / stage / "diffdecompose" / "plots" / "layers.png")
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
    before = {path: path.read_bytes() for path in (report.PAGE, report.LEDGER, report.DOCS)}
    report.main([])
    assert {path: path.read_bytes() for path in before} == before
    page = report.PAGE.read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "<script>alert" not in page
    assert "25.5" in page
    assert "polyline" in page


def test_a_name_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match="takes no name"):
        report.main(["diffdecompose"])


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; `make system` installs it as root")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_ledger_and_every_picture(project: Path, width: int) -> None:
    report.main([])
    page = project / "probe.html"
    page.write_text(report.PAGE.read_text().replace("</body>", PROBE + "</body>"))
    command = [str(BROWSER), *FLAGS, f"--window-size={width},900", f"--user-data-dir={project / 'browser'}"]
    seen = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "<title>shown 2 of 2, too wide false</title>" in seen.stdout
    rows = re.findall(r"<th scope=\"row\">(4\.\d)</th>", seen.stdout)
    assert set(rows) == {f"4.{number}" for number in range(1, 8)}
    assert "alert(1)&lt;/script" in seen.stdout
