"""The chat client against a server on the loopback address: cache, errors, and a key that is nowhere to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from systems.parts.chat import Chat, Endpoint
from systems.parts.errors import UserError
from tests.systems.parts.chat_server import serving

KEY = "sk-very-secret"
ASKED = [[{"role": "user", "content": f"question {number}"}] for number in range(5)]


def echo(body: dict[str, Any]) -> str:
    return f"{body['messages'][-1]['content']}, answered"


def endpoint(url: str, folder: Path, **changes: Any) -> Endpoint:
    values = {"base_url": url, "model": "toy", "key_variable": "TOY_KEY", "cache": str(folder / "cache"), "retries": 0}
    return Endpoint.model_validate({**values, **changes})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_answers_come_over_http_in_order_and_from_the_cache_the_second_time(tmp_path: Path) -> None:
    wanted = [f"question {number}, answered" for number in range(5)]
    with serving(echo) as server:
        chat = Chat(endpoint(server.url, tmp_path))
        assert chat.complete(ASKED, 20, "\n") == wanted
        assert chat.requests == 5
        assert set(server.keys) == {f"Bearer {KEY}"}
        (path,) = {body["path"] for body in server.bodies}
        assert path == "/v1/chat/completions"
        (settings,) = {(b["model"], b["temperature"], b["max_tokens"], *b["stop"]) for b in server.bodies}
        assert settings == ("toy", 0.0, 20, "\n")
        url = server.url
    again = Chat(endpoint(url, tmp_path))  # the server is gone
    assert again.complete(ASKED, 20, "\n") == wanted
    assert again.requests == 0


@pytest.mark.parametrize("change", [{"model": "other"}, {"base_url": "http://127.0.0.1:9/v1"}])
def test_another_model_or_address_is_another_request(tmp_path: Path, change: dict[str, str]) -> None:
    request = {"model": "toy", "messages": []}
    held = Chat(endpoint("http://127.0.0.1:1/v1", tmp_path)).held(request)
    other = Chat(endpoint("http://127.0.0.1:1/v1", tmp_path, **change))
    assert other.held({**request, "model": other.endpoint.model}) != held
    assert Chat(endpoint("http://127.0.0.1:1/v1", tmp_path)).held(request) == held


def test_the_key_is_neither_kept_nor_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(echo) as server:
        chat = Chat(endpoint(server.url, tmp_path))
        chat.complete(ASKED, 20, "\n")
    with serving(echo, status=401) as server, pytest.raises(UserError) as caught:
        Chat(endpoint(server.url, tmp_path)).complete(ASKED, 20, "\n")
    assert (
        str(caught.value)
        == f"parameter endpoint.base_url = {server.url}: answers with status 401 (AuthenticationError)"
    )
    assert caught.value.__cause__ is None
    assert KEY not in repr(vars(chat)) + "".join(capfd.readouterr())
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 5
    assert all(KEY not in path.read_text() for path in files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_url": ""}, "parameter endpoint.base_url is empty"),
        ({"model": ""}, "parameter endpoint.model is empty"),
        ({"key_variable": "NO_SUCH_KEY"}, "environment variable NO_SUCH_KEY, named by parameter endpoint.key_variable"),
    ],
)
def test_holds_51_7_a_missing_endpoint_or_key_is_named(tmp_path: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        Chat(endpoint("http://127.0.0.1:1/v1", tmp_path, **change))
    assert words in str(caught.value)


def test_an_endpoint_that_is_down_is_named(tmp_path: Path) -> None:
    with serving(echo) as server:
        url = server.url
    with pytest.raises(UserError, match="cannot be reached"):
        Chat(endpoint(url, tmp_path)).complete(ASKED, 20, "\n")
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []
