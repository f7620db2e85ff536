"""Streamable HTTP on loopback: every request carries the token, or is turned away.

Refused on purpose: any address but 127.0.0.1. Who needs more puts a real proxy in front. What a
program on this machine can hold open without the token is bounded in number and in time.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from self_coding.adapters.loopback import HOST, bound
from self_coding.errors import ConfigError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

CONNECTIONS = 100  # at once; each client keeps one or two
HEADER_SECONDS = 10.0  # from the connection, or the answer before, to the end of a request's head
BODY_SECONDS = 30.0  # between two parts of a body
SESSION_SECONDS = 3600.0  # a session of 2025 without a request ends
SESSIONS = 200
_DRAINED = 64 << 20  # bytes of a body that nobody wants, read so that the answer can be

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def serve(
    server: MCPServer[object], *, port: int, token: str | None, say: Callable[[str], None]
) -> None:
    """Serve until interrupted; the address, and a token made here, are told through `say`.

    Raises:
        ConfigError: a given token is too short to be one, or the port is taken.
    """
    import uvicorn

    key = secrets.token_urlsafe(32) if token is None else token
    config = uvicorn.Config(
        application(server, key), host=HOST, port=port, log_level="warning", ws="none",
        http=_patient(), timeout_keep_alive=60, timeout_graceful_shutdown=5,
    )  # fmt: skip
    with bound(port) as ours:
        say(f"serving http://{HOST}:{ours.getsockname()[1]}/mcp")
        if token is None:
            say(f"clients send:  Authorization: Bearer {key}")
        uvicorn.Server(config).run(sockets=[ours])


def _patient() -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a bound on connections, and on waiting for a request."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        """Closes what is one too many, and what has not asked anything in time."""

        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if len(self.connections) >= CONNECTIONS:
                transport.write(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n")
                transport.close()
                return
            super().connection_made(transport)
            self.wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.wait()

        def wait(self) -> None:
            if self.late is not None:
                self.late.cancel()
            # The request that is now: another one by then means that it did ask in time.
            asked = self.cycle
            # uvicorn's own limit ends with the first byte, which a slow head has sent long ago
            seconds = HEADER_SECONDS + (asked is not None) * self.timeout_keep_alive
            if self.conn.their_state is h11.SEND_BODY:  # answered, and yet there is more to come
                seconds = BODY_SECONDS

            def close() -> None:
                if self.cycle is asked:
                    self.transport.close()

            self.late = self.loop.call_later(seconds, close)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.late is not None:
                self.late.cancel()
            if self.transport is not None:
                super().connection_lost(exc)

    return Patient


def application(server: MCPServer[object], token: str) -> Application:
    """Return the server as an ASGI application behind its token.

    Raises:
        ConfigError: the token has fewer than 16 characters.
    """
    if len(token) < 16:
        raise ConfigError("the token is too short", hint="use at least 16 random characters")
    inner = server.streamable_http_app(
        host=HOST, session_idle_timeout=SESSION_SECONDS, max_sessions=SESSIONS
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(cast("list[tuple[bytes, bytes]]", scope.get("headers", ())))
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # compared in constant time: how long a refusal takes must not tell how much was right
        is_right = hmac.compare_digest(given.strip(), token.encode())
        if scope["type"] != "http":
            await inner(scope, receive, send)
        elif is_right and scheme.lower() == b"bearer":
            await inner(scope, *_readable(receive, send))
        else:
            kind = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 401, "headers": kind})
            await send({"type": "http.response.body", "body": b"a bearer token is needed\n"})

    return guarded


def _readable(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Have a body end in time, and an answer that comes before its end arrive.

    A connection that is closed with bytes unread is reset, and the reset takes the answer along: so
    the rest of a body that was refused is read before the answer ends.
    """
    has_more = True

    async def next_part() -> Message:
        nonlocal has_more
        try:
            async with asyncio.timeout(BODY_SECONDS if has_more else None):
                message = await receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
        has_more = bool(message.get("more_body"))
        return message

    async def answer(message: Message) -> None:
        if has_more and message["type"] == "http.response.body" and not message.get("more_body"):
            await send({**message, "more_body": True})
            message, read = {"type": "http.response.body"}, 0
            with suppress(TimeoutError):
                async with asyncio.timeout(BODY_SECONDS):
                    # Bounded by bytes and by time: who sends without end is cut off after all.
                    while read < _DRAINED and (part := await next_part()).get("more_body"):
                        read += len(cast("bytes", part["body"]))
        await send(message)

    return next_part, answer
