"""A client of any OpenAI-compatible chat endpoint, with answers kept on disk by the hash of their request.

The key is read from an environment variable when a request goes out; it is never stored, and no message of the server,
which might repeat it, reaches a log.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from systems.parts.errors import UserError
from systems.parts.run import Strict
from systems.parts.whole import whole

if TYPE_CHECKING:
    import openai

Message = Mapping[str, str]
"""`role` (system, user, assistant) and `content`."""


class Endpoint(Strict):
    """Where chats are answered."""

    base_url: str = Field(default="", description="address of the endpoint up to and with /v1")
    model: str = Field(default="", description="model the endpoint is asked for")
    key_variable: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the key")
    cache: str = Field(default=".cache/chat", description="folder of the answers had so far")
    parallel: int = Field(default=8, gt=0, description="requests under way at once")
    retries: int = Field(default=4, ge=0, description="further tries of a request that failed")
    timeout_seconds: float = Field(default=60.0, gt=0, description="wait for one answer")


class Chat:
    """Answers to conversations, at temperature 0, each from the cache or else from the endpoint.

    Raises `UserError` naming the setting where address, model or key are missing, and where an answer cannot be had.
    """

    def __init__(self, endpoint: Endpoint, where: str = "endpoint") -> None:
        for name in ("base_url", "model"):
            if not getattr(endpoint, name):
                raise UserError(f"parameter {where}.{name} is empty: a hosted model needs it")
        if not os.environ.get(endpoint.key_variable):
            raise UserError(
                f"environment variable {endpoint.key_variable}, named by parameter {where}.key_variable, is not set; "
                "it has to hold the endpoint's key (any word, where the endpoint wants none)"
            )
        self.endpoint, self.where = endpoint, where
        self.requests = 0
        self.counting = threading.Lock()

    def complete(self, conversations: Sequence[Sequence[Message]], most_tokens: int, stop: str) -> list[str]:
        """The assistant's next words in each conversation, up to `stop` and of at most so many tokens."""
        with self._client() as client, ThreadPoolExecutor(self.endpoint.parallel) as pool:
            wanted = [self._request(conversation, most_tokens, stop) for conversation in conversations]
            return list(pool.map(lambda request: self._answer(client, request), wanted))

    def _client(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(
            base_url=self.endpoint.base_url,
            api_key=os.environ.get(self.endpoint.key_variable),
            max_retries=self.endpoint.retries,
            timeout=self.endpoint.timeout_seconds,
        )

    def _request(self, conversation: Sequence[Message], most_tokens: int, stop: str) -> dict[str, Any]:
        messages = [dict(message) for message in conversation]
        fixed = {"temperature": 0.0, "max_tokens": most_tokens, "stop": [stop]}
        return {"model": self.endpoint.model, "messages": messages, **fixed}

    def held(self, request: Mapping[str, Any]) -> Path:
        """Where the answer to a request is kept."""
        text = json.dumps([self.endpoint.base_url, request], sort_keys=True, ensure_ascii=False)
        return Path(self.endpoint.cache) / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def _answer(self, client: openai.OpenAI, request: dict[str, Any]) -> str:
        held = self.held(request)
        if held.is_file():
            return str(json.loads(held.read_text())["answer"])
        answer = self._asked(client, request)
        with self.counting:
            self.requests += 1
        with whole(held) as (growing,):
            growing.write_text(json.dumps({"request": request, "answer": answer}, indent=1, ensure_ascii=False) + "\n")
        return answer

    def _asked(self, client: openai.OpenAI, request: dict[str, Any]) -> str:
        """One answer from the endpoint; its errors are told by kind and status alone."""
        import openai

        try:
            reply = client.chat.completions.create(**request)
            return str(reply.choices[0].message.content or "")
        except openai.APIStatusError as error:
            why = f"answers with status {error.status_code} ({type(error).__name__})"
        except openai.APIConnectionError as error:
            why = f"cannot be reached ({type(error).__name__})"
        except (openai.OpenAIError, IndexError, TypeError, AttributeError) as error:
            why = f"gives no chat completion ({type(error).__name__})"
        raise UserError(f"parameter {self.where}.base_url = {self.endpoint.base_url}: {why}")
