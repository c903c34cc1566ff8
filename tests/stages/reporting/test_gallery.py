"""Layers in the page: a real browser blends as we do, whatever is switched, moved and re-ordered by its buttons."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.reporting import gallery, page
from stages.run import CAPTION
from systems.parts.layered_files.stack import Layer, Stack, flatten
from systems.parts.layered_files.strip import strip
from tests import browser
from tests.systems.parts.layered_files.stacks import pixels

SIZE = (20, 16)
GROUND = pixels(0, 16, 20)
GROUND[..., 3] = 255
LAYERS = (
    Layer("ground", GROUND),
    Layer("veil </script>", pixels(1, 12, 30), (-4, 3), 0.7),
    Layer("glow", pixels(2, 9, 9), (8, 9), 0.9, "screen"),
    Layer("shade", pixels(3, 10, 10), (2, 2), 1.0, "multiply"),
    Layer("sparks", pixels(4, 7, 8), (11, 1), 0.6, "additive"),
    Layer("off", pixels(5, 16, 20), visible=False),
)
STACK = Stack(SIZE, LAYERS)
PICTURE = np.ascontiguousarray(flatten(STACK)[..., :3])
SYSTEM = "mulan"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that found layers in two pictures."""
    folder = tmp_path / "reports" / "evaluate" / SYSTEM / "plots" / "stacks"
    folder.mkdir(parents=True)
    for name in ("first", "second"):
        array, words = strip(PICTURE, STACK, f"The <{name}>.")
        text = PngInfo()
        text.add_text(CAPTION, words)
        Image.fromarray(array).save(folder / f"{name}.png", pnginfo=text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PROBE = """<script>
const wait = () => new Promise(resolve => setTimeout(resolve, 20));
const hex = canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
addEventListener("unhandledrejection", event => { document.title = event.reason.stack; });
addEventListener("load", async () => {
  const sections = [...document.querySelectorAll(".sample")];
  while (sections.some(section => !section.dataset.ready)) await wait();
  const section = sections[0], found = [];
  const titled = (item, name) => item.querySelector("strong").textContent === name;
  const row = name => [...section.querySelectorAll("li")].find(item => titled(item, name));
  const note = () => found.push({
    result: hex(section.querySelector(".result")), apart: hex(section.querySelector(".difference")),
    picture: hex(section.querySelector(".picture")), said: section.querySelector(".said").textContent,
    order: [...section.querySelectorAll("li strong")].map(item => item.textContent),
    pressed: [...section.querySelectorAll(".shown")].map(button => button.getAttribute("aria-pressed")),
    focused: document.activeElement.getAttribute("aria-label"),
    outlined: document.activeElement.matches("button:focus-visible")
      && parseFloat(getComputedStyle(document.activeElement).outlineWidth) > 0,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    small: [...section.querySelectorAll("button")].some(button => button.getBoundingClientRect().height < 44),
  });
  note();
  for (const [name, button, key, shift] of STEPS) {
    const target = name ? row(name).querySelector(button) : section.querySelector(button);
    target.focus();
    const pressed = { key, shiftKey: shift, bubbles: true, cancelable: true };
    if (key) target.dispatchEvent(new KeyboardEvent("keydown", pressed));
    else target.click();
    note();
  }
  const drag = section.querySelector(".result"), box = drag.getBoundingClientRect();
  row("glow").querySelector(".move").click();
  drag.setPointerCapture = () => {};
  const across = box.width / drag.width, along = box.height / drag.height;
  const at = (x, y) => ({ clientX: box.left + (x + 0.5) * across, clientY: box.top + (y + 0.5) * along });
  drag.dispatchEvent(new PointerEvent("pointerdown", at(9, 9)));
  drag.dispatchEvent(new PointerEvent("pointermove", at(6, 11)));
  drag.dispatchEvent(new PointerEvent("pointerup", at(6, 11)));
  drag.dispatchEvent(new PointerEvent("pointermove", at(0, 0)));
  note();
  document.body.replaceChildren(document.createElement("pre"));
  document.body.firstChild.textContent = JSON.stringify(found);
});
</script>"""

Step = tuple[str, str, str, bool]
VEIL = "veil </script>"
STEPS: list[Step] = [
    ("shade", ".shown", "", False),
    ("off", ".shown", "", False),
    ("off", ".shown", "", False),
    ("glow", ".up", "", False),
    ("glow", ".up", "", False),
    ("ground", ".down", "", False),
    (VEIL, ".down", "", False),
    ("sparks", ".move", "ArrowLeft", True),
    ("sparks", ".move", "ArrowDown", False),
    ("sparks", ".move", "a", False),
    ("ground", ".shown", "", False),
    ("", ".reset", "", False),
]
ARROWS = {"ArrowLeft": (-1, 0), "ArrowDown": (0, 1)}


def after(layers: tuple[Layer, ...], step: Step) -> tuple[Layer, ...]:
    """What a step is to do."""
    name, button, key, far = step
    if button == ".reset":
        return LAYERS
    place = next(row for row, layer in enumerate(layers) if layer.name == name)
    one, rest = layers[place], [*layers[:place], *layers[place + 1 :]]
    if button == ".shown":
        one = replace(one, visible=not one.visible)
    elif button == ".move":
        x, y = (part * (10 if far else 1) for part in ARROWS.get(key, (0, 0)))
        one = replace(one, offset=(one.offset[0] + x, one.offset[1] + y))
    else:
        place = min(max(place + (1 if button == ".up" else -1), 0), len(rest))
    return (*rest[:place], one, *rest[place:])


def probed(text: str, project: Path, width: int) -> list[dict[str, Any]]:
    """What the browser shows of a page at first and after every step."""
    probe = project / "probe.html"
    steps = json.dumps(STEPS).replace("</", "<\\/")
    probe.write_text(text.replace("</body>", PROBE.replace("of STEPS", f"of {steps}") + "</body>"))
    (found,) = re.findall("<pre>(.*)</pre>", browser.seen(probe.as_uri(), project / "browser", width, 900), re.DOTALL)
    states: list[dict[str, Any]] = json.loads(html.unescape(found))
    return states


def canvas(values: list[int]) -> np.ndarray:
    """A canvas as colours times alpha, 0..255, and alpha: what a browser keeps of it."""
    rgba = np.array(values, float).reshape(*SIZE[::-1], 4)
    return np.dstack((rgba[..., :3] * (rgba[..., 3:] / 255), rgba[..., 3]))


@browser.wanted
@pytest.mark.parametrize(("which", "width"), [("page", 390), ("overview", 1280)])
def test_a_browser_blends_switches_moves_and_reorders_as_we_do(project: Path, which: str, width: int) -> None:
    text = page.page(SYSTEM, None) if which == "page" else page.overview({})
    assert text.count('<section class="sample"') == (2 if which == "page" else 1)
    layers, states = LAYERS, probed(text, project, width)
    first, dragged = states[0], states.pop()
    assert len(states) == 1 + len(STEPS)
    for state, step in zip(states, [None, *STEPS], strict=True):
        layers = after(layers, step) if step else layers
        flat = flatten(Stack(SIZE, layers))
        assert np.abs(canvas(state["result"]) - canvas(flat.ravel().tolist())).max() <= 1.01, step
        assert state["order"] == [layer.name for layer in reversed(layers)]
        assert state["pressed"] == [str(layer.visible).lower() for layer in reversed(layers)]
        assert (canvas(state["picture"])[..., :3] == PICTURE).all()
        assert not state["wide"]
        assert not state["small"]
        if step:
            assert (step[0] or "As it was") in (state["focused"] or "As it was")
            assert state["outlined"]
    assert first["said"].startswith(("Difference: 0 of", "Difference: 1 of"))
    assert not states[1]["said"].startswith(("Difference: 0 of", "Difference: 1 of"))
    moved = tuple(replace(layer, offset=(5, 11)) if layer.name == "glow" else layer for layer in LAYERS)
    wanted = canvas(flatten(Stack(SIZE, moved)).ravel().tolist())
    assert np.abs(canvas(dragged["result"]) - wanted).max() <= 1.01


@browser.wanted
def test_the_difference_is_shown_stronger(project: Path) -> None:
    state = probed(page.page(SYSTEM, None), project, 800)[1]
    off = tuple(replace(layer, visible=layer.visible and layer.name != "shade") for layer in LAYERS)
    step = np.abs(flatten(Stack(SIZE, off))[..., :3].astype(int) - PICTURE)
    found = np.array(state["apart"]).reshape(*SIZE[::-1], 4)[..., :3]
    assert np.abs(found - np.minimum(step * 4, 255)).max() <= 8
    most, mean = re.findall(r"[\d.]+(?= of)|[\d.]+(?= in)", state["said"])
    assert abs(int(most) - step.max()) <= 2
    assert abs(float(mean) - step.mean()) < 1


def test_samples_are_no_pictures_of_the_gallery_and_say_what_they_are(project: Path) -> None:
    text = page.page(SYSTEM, None)
    assert "The &lt;first&gt;." in text
    assert "<img" not in text
    assert "veil </script>" not in text
    (sample, _) = gallery.samples(project / "reports" / "evaluate" / SYSTEM / "plots")
    assert [layer["name"] for layer in sample["layers"]] == [layer.name for layer in LAYERS]
    assert not list(gallery.samples(project / "reports" / "evaluate" / "nobody" / "plots"))
