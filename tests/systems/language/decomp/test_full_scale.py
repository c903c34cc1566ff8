"""The full scale's own parameters: a hosted model, here a stub on the loopback address that works by rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import scale
from stages.closure import PROJECT
from stages.run import StageRun
from stages.settings import check, read_params
from systems.language.decomp import decompose as runs
from systems.language.decomp import evaluate as scores
from systems.language.decomp import tasks
from systems.parts.errors import UserError
from tests.systems.language.decomp.test_runs import Perfect
from tests.systems.parts.chat_server import serving

FULL = scale.merged(read_params(PROJECT / "params.yaml"), scale.overrides(PROJECT, "full"))["language"]["decompose"][
    "decomp"
]
KEY = "sk-not-to-be-seen"
HANDLERS = {
    "Take the": "letter_cat",
    "What is the letter": "letter",
    "What are": "split",
    "What is at": "arr_position",
    "Concatenate": "merge",
    "What is the first": "first_half",
    "What is the second": "second_half",
    "Join": "join",
}


def served(body: dict[str, Any]) -> str:
    """What a perfect hosted model would write, found from nothing but the prompt."""
    text = body["messages"][-1]["content"].rsplit("\n\n", 1)[-1]
    if text.startswith("QC: "):
        name = next(name for name, start in STARTS.items() if text.startswith(f"QC: {start}"))
        return Perfect().complete(name, [f"{text} "])[0]
    if text.startswith("Reverse"):
        return Perfect().complete("base", [f"{text} "])[0]
    if text.startswith("Take the"):
        return f'I think it is. {tasks.SO}"none"'
    name = next(name for start, name in HANDLERS.items() if text.startswith(start))
    return f"A: {Perfect().complete(name, [f'{text} '])[0]}\nWhat are"


STARTS = {"letter_cat": "Take the", "str_position": "What is the letter", "reverse": "Reverse"}


def hosted(data: Path, folder: Path, url: str) -> StageRun[Any]:
    """The full scale's decompose with the stub's address, without the trained models."""
    endpoint = {**FULL["endpoint"], "base_url": url, "key_variable": "STUB_KEY", "cache": str(folder / "cache")}
    values = {**FULL, "backends": ["hosted"], "endpoint": endpoint, "hosted_questions": 2}
    params = check(runs.Params, values, "decompose.decomp")
    run = StageRun("decompose", "decomp", params, {"data": data}, folder / "layers", folder / "rd")
    run.begin()
    runs.decompose(run)
    run.finish([folder / "layers", folder / "rd" / "metrics.json", folder / "rd" / "plots"])
    return run


def test_a_hosted_model_writes_programs_and_answers_steps_over_http(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    with serving(served) as server:
        hosted(data, tmp_path / "one", server.url)
        asked, url = len(server.bodies), server.url
        rows = scores.read(tmp_path / "one" / "layers")
        assert {row["seed"] for row in rows["hosted decomposed"]} == set(FULL["prompt_sets"])
        assert all(map(scores.right, rows["hosted decomposed"]))
        assert not any(map(scores.right, rows["hosted chain"]))
        (tmp_path / "two").mkdir()
        (tmp_path / "one" / "cache").rename(tmp_path / "two" / "cache")
        hosted(data, tmp_path / "two", url)
        assert len(server.bodies) == asked  # the second run lives on the cache
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n / "layers").iterdir()} for n in ("one", "two"))
    assert first == second
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_full_scale_names_the_key_it_needs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable STUB_KEY, named by parameter"):
        hosted(data, tmp_path, FULL["endpoint"]["base_url"])
