"""docs/adding-a-system.md, followed to the letter in a copy of the project: the 59th system is seen everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

from tests.docs.test_commands import ADDING, commands
from tests.smoke import PROJECT, run

NAMED = re.compile(r"`([\w./]+\.py)`:\n\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(yaml|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def deeper(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`values` with the blocks of `more` put in."""
    both = {key: deeper(values[key], inner) for key, inner in more.items() if isinstance(values.get(key), dict)}
    return {**values, **more, **both}


@pytest.fixture
def added(project: Path) -> Path:
    """The smoke run's project with every file and block of the page, and its commands run but for those of `make`."""
    text = (PROJECT / ADDING).read_text()
    for name, content in NAMED.findall(text):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    params, ours, _ = (content for _, content in BLOCK.findall(text))
    values = deeper(yaml.safe_load((project / "params.yaml").read_text()), yaml.safe_load(params))
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    tested = run(project, "python", "-m", "pytest", "tests/systems/image_layers/test_peel.py", PYTHONPATH=str(project))
    assert tested.returncode == 0, tested.stdout
    for command in commands(ours):
        ended = run(project, *command.split())
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return project


def locked(project: Path) -> dict[str, Any]:
    """What every dvc.lock holds of every stage but the report, which is made of all systems."""
    stages = [yaml.safe_load(path.read_text())["stages"] for path in project.rglob("dvc.lock")]
    return {name: stage for found in stages for name, stage in found.items() if name != "report"}


@pytest.mark.slow
def test_a_system_added_by_the_page_runs_and_is_in_ledger_report_and_mlflow(added: Path, smoke: Path) -> None:
    (row,) = [row for row in json.loads((added / "reports" / "ledger.json").read_text()) if row["system"] == "59"]
    tested, held = row["checks"]
    assert (tested["id"], tested["kind"], tested["holds"]) == ("59.1", "test", True)
    assert (held["id"], held["kind"], held["holds"]) == ("59.2", "hold", held["value"] <= held["bound"])

    assert "Rows: composite, true background, guess." in (added / "reports" / "pages" / "peel.html").read_text()
    assert 'href="pages/peel.html"' in (added / "reports" / "index.html").read_text()

    client = MlflowClient(f"sqlite:///{added / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'peel'")
    assert float(version.tags["score"]) == row["measured"]["score"]
    assert client.get_model_version_by_alias("peel", "champion").version == version.version

    before, after = locked(smoke), locked(added)
    assert after.keys() - before.keys() == {"train@peel", "decompose@peel", "evaluate@peel"}
    assert {name: after[name] for name in before} == before, "a stage of another system ran again"
