"""Over HTTP only those with the token are served, and nobody can hold the server up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from self_coding.testing import sample_repo

TOKEN = "a-token-for-this-test"
#: The command line itself, with less patience, so that the tests need none.
PROGRAM = """\
from self_coding.mcp_server import http
http.HEADER_SECONDS, http.BODY_SECONDS, http.CONNECTIONS = 1.0, 1.0, 20
from self_coding.cli import main
main()
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    place = tmp_path_factory.mktemp("http")
    repository = sample_repo(place / "repository")
    (place / "token").write_text(f"{TOKEN}\n")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    argv = [sys.executable, "-c", PROGRAM, "--repo", str(repository), "mcp", "--http"]
    argv += ["--port", str(port), "--token-file", str(place / "token")]
    server = subprocess.Popen(argv, stderr=subprocess.PIPE)
    assert server.stderr is not None
    assert f"http://127.0.0.1:{port}/mcp" in server.stderr.readline().decode()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    server.terminate()
    server.communicate(timeout=150)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_those_who_have_the_token_are_answered(port: int, scheme: str) -> None:
    """With the token of the file the tools are there; the scheme's name has no case."""
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    async with (
        httpx.AsyncClient(headers=headers) as web,
        Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=web)) as client,
    ):
        assert "submit_edit" in {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize(
    "header", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer"]
)
async def test_others_are_turned_away(port: int, header: str) -> None:
    """Without the token, with a wrong one or in another scheme there is no answer but 401."""
    async with httpx.AsyncClient(headers={"Authorization": header} if header else {}) as web:
        answer = await web.post(f"http://127.0.0.1:{port}/mcp", json={})
        assert answer.status_code == 401


def _open(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@pytest.mark.parametrize("said", [b"", b"POST /mcp HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end_is_closed(port: int, said: bytes) -> None:
    """A connection that asks nothing, or drips its head, is closed in time."""
    with _open(port) as one:
        one.sendall(said)
        begun = time.monotonic()
        one.settimeout(0.3)
        data = None
        while data is None and time.monotonic() < begun + 15:
            try:
                data = one.recv(100)
            except TimeoutError:
                if said:
                    one.sendall(b"X: y\r\n")
            except ConnectionError:
                data = b""
        assert data == b""


async def test_connections_are_bounded(port: int) -> None:
    """One connection too many is told so and closed; when others end there is room again."""
    held = [_open(port) for _ in range(30)]
    await asyncio.sleep(0.3)
    answers = []
    for one in held:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            answers.append(one.recv(100))
    assert any(b"503" in answer for answer in answers)
    for one in held:
        one.close()
    await asyncio.sleep(0.3)
    await test_those_who_have_the_token_are_answered(port, "Bearer")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_long_is_told_so(port: int, is_chunked: bool) -> None:
    """The client can send all of it and then read a 413, rather than be cut off."""
    size = 8 << 20
    how = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n{how}"
    part = b"x" * 65536
    with _open(port) as one:
        one.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode())
        for _ in range(size // len(part)):
            one.sendall(b"10000\r\n" + part + b"\r\n" if is_chunked else part)
        if is_chunked:
            one.sendall(b"0\r\n\r\n")
        assert b" 413 " in one.recv(1000).splitlines()[0]


def test_a_body_that_stops_does_not_hold_a_call(port: int) -> None:
    """A client that promises a body and sends half of it is let go."""
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    with _open(port) as one:
        one.sendall(
            f"{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
        begun = time.monotonic()
        while one.recv(1000):
            pass
        assert time.monotonic() < begun + 15
