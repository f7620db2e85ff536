"""Streamable HTTP on loopback: every request carries the token, or is turned away.

Refused on purpose: any address but 127.0.0.1. Who needs more puts a real proxy in front.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, cast

from self_coding.errors import ConfigError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

HOST = "127.0.0.1"

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
    config = uvicorn.Config(application(server, key), host=HOST, port=port, log_level="warning")
    # Bound here and not by uvicorn, so that the address is told only once the port is ours.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((HOST, port))
        except OSError as error:
            message = f"cannot bind port {port} on {HOST}: {error.strerror}"
            raise ConfigError(message, hint="choose another --port") from error
        say(f"serving http://{HOST}:{port}/mcp")
        if token is None:
            say(f"clients send:  Authorization: Bearer {key}")
        uvicorn.Server(config).run(sockets=[ours])


def application(server: MCPServer[object], token: str) -> Application:
    """Return the server as an ASGI application behind its token.

    Raises:
        ConfigError: the token has fewer than 16 characters.
    """
    if len(token) < 16:
        raise ConfigError("the token is too short", hint="use at least 16 random characters")
    inner = server.streamable_http_app(host=HOST)
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(cast("list[tuple[bytes, bytes]]", scope.get("headers", ())))
        # compared in constant time: how long a refusal takes must not tell how much was right
        given = headers.get(b"authorization", b"")
        if scope["type"] != "http" or hmac.compare_digest(given, expected):
            await inner(scope, receive, send)
            return
        kind = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 401, "headers": kind})
        await send({"type": "http.response.body", "body": b"a bearer token is needed\n"})

    return guarded
