"""A chat endpoint on the loopback address: it speaks HTTP as OpenAI-compatible servers do, and remembers requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], str]


class Server(ThreadingHTTPServer):
    """Answers each request by a function of its body, with `status` where that is not 200."""

    def __init__(self, answer: Answer, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Replies)
        self.answer, self.status = answer, status
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Replies(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append({"path": self.path, **body})
        self.server.keys.append(self.headers["Authorization"])
        content = self.server.answer(body)
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [message]}
        wrong = {"error": {"message": f"bad key {self.headers['Authorization']}"}}
        payload = json.dumps(reply if self.server.status == 200 else wrong).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(answer: Answer, status: int = 200) -> Iterator[Server]:
    server = Server(answer, status)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
