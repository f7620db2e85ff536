"""A server on loopback that speaks OpenAI's protocol from a script: the real wire, no model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Say:
    """One scripted answer: a text as a completion, or raw bytes, with a status and a delay."""

    text: str = ""
    status: int = 200
    delay: float = 0.0
    raw: bytes | None = None


@dataclass
class Script:
    """What the server will say, in order (the last one again and again), and what it was asked."""

    answers: Sequence[Say]
    asked: list[dict[str, object]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def next(self, body: dict[str, object]) -> Say:
        with self.lock:
            self.asked.append(body)
            return self.answers[min(len(self.asked), len(self.answers)) - 1]

    def prompt(self, number: int) -> str:
        """Everything that request `number` said to the model."""
        messages = self.asked[number]["messages"]
        assert isinstance(messages, list)
        return "\n".join(str(message["content"]) for message in messages)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        say = self.script.next(body)
        if say.delay:
            self.script.stopped.wait(say.delay)
        data = say.raw if say.raw is not None else self._data(body, say)
        try:
            self.send_response(say.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client has given up

    def _data(self, body: dict[str, object], say: Say) -> bytes:
        if say.status != 200:
            return json.dumps({"error": {"message": say.text, "type": "server_error"}}).encode()
        message = {"role": "assistant", "content": say.text}
        return json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
            }
        ).encode()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving(*answers: Say) -> Iterator[Script]:
    """A server that gives `answers`; it is gone when the block ends."""
    script = Script(answers)
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        script.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
