"""A server that is too busy is asked again; any other error is told at once."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from flows import patience


def answering(*codes: int) -> Callable[[], str]:
    """A question to a server that answers with an error of each code, one a time, and then well."""
    left = iter(codes)

    def ask() -> str:
        for code in left:
            request = httpx.Request("POST", "http://127.0.0.1/api")
            raise httpx.HTTPStatusError("no", request=request, response=httpx.Response(code, request=request))
        return "well"

    return ask


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN_SECONDS", 0.0)
    assert patience.patiently(answering(503, 500, 503)) == "well"


@pytest.mark.parametrize(("codes", "seconds"), [((404,), 300.0), ((503, 404), 300.0), ((503,), -1.0)])
def test_no_more_than_a_busy_one_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...], seconds: float
) -> None:
    monkeypatch.setattr(patience, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(patience, "BUSY_SECONDS", seconds)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        patience.patiently(answering(*codes))
    assert caught.value.response.status_code == codes[-1]
