"""The door of the dashboard: what it lets in, and what it turns away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("jinja2", reason='the dashboard needs: pip install "self-coding[web]"')

from self_coding.dashboard.access import BODY, FORM, Access, form_key

HOST = "127.0.0.1:7777"


class Inside:
    """Notes what came through the door."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})


async def ask(
    door: Access, path: str, *, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str]]:
    """Send one request; return the status and the headers of the answer."""
    sent: list[dict[str, Any]] = []
    path, _, query = path.partition("?")
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope, receive, send)
    told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told


@pytest.fixture
def door() -> Access:
    return Access(Inside(), port=7777)


async def _cookie(door: Access) -> str:
    _, headers = await ask(door, f"/?token={door.token}")
    return headers["set-cookie"].split(";")[0]


async def test_a_token_works_once(door: Access) -> None:
    """It is exchanged for a cookie that scripts cannot read, and the next browser needs another."""
    told: list[str] = []
    door.renewed = told.append
    token = door.token
    status, headers = await ask(door, f"/rates?token={token}&a=b")
    assert (status, headers["location"]) == (303, "/rates?a=b")
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    assert (await ask(door, f"/?token={token}"))[0] == 403
    assert told == [door.token]
    assert door.token != token
    assert (await ask(door, "/rates", cookie=headers["set-cookie"].split(";")[0]))[0] == 200


@pytest.mark.parametrize(
    "cookie", ["", "self_coding_7777=", "self_coding_7777=guessed", 'a="; \x01', "self_coding_1=x"]
)
async def test_nobody_enters_without(door: Access, cookie: str) -> None:
    """Without the cookie there is nothing but our style and script, whatever is sent instead."""
    await _cookie(door)
    assert (await ask(door, "/attempts", cookie=cookie))[0] == 401
    assert (await ask(door, "/static/board.css", cookie=cookie))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7777", "127.0.0.1", "0.0.0.0:7777"])
async def test_another_name_is_turned_away(door: Access, host: str) -> None:
    """A page elsewhere that has its own name lead here gets nothing, cookie or not."""
    cookie = await _cookie(door)
    assert (await ask(door, "/", cookie=cookie, host=host))[0] == 421
    assert (await ask(door, "/static/board.css", host=host))[0] == 421
    assert (await ask(door, "/", cookie=cookie, host="localhost:7777"))[0] == 200


async def test_a_redirect_stays_here(door: Access) -> None:
    """What follows the token's address is a path of ours, not another site."""
    _, headers = await ask(door, f"//evil.example/x?token={door.token}")
    assert headers["location"] == "/evil.example/x"


async def test_a_write_needs_a_form_of_ours(door: Access) -> None:
    """A form without its key, from another site or without end is refused; ours comes through."""
    cookie = await _cookie(door)
    key = form_key(cookie.partition("=")[2]).encode()

    async def post(body: bytes, **headers: str) -> int:
        return (await ask(door, "/x", method="POST", body=body, cookie=cookie, **headers))[0]

    assert await post(b"") == 403
    assert await post(b"csrf=" + b"0" * 64) == 403
    assert await post("csrf=ä".encode()) == 403
    assert await post(b"csrf=" + key, origin="http://evil.example") == 403
    assert await post(b"csrf=" + key, origin="null") == 403
    assert await post(b"csrf=" + key, sec_fetch_site="same-site") == 403
    assert await post(b"csrf=" + key + b"&x=" + b"0" * BODY) == 403
    ours = {"origin": f"http://{HOST}", "sec_fetch_site": "same-origin"}
    assert await post(b"csrf=" + key + b"&reason=no%20thanks", **ours) == 200
    inside = door._inner
    assert isinstance(inside, Inside)
    assert inside.seen[-1][FORM]["reason"] == "no thanks"
    assert len(inside.seen) == 1


async def test_every_answer_is_bound(door: Access) -> None:
    """No script but ours, no frame, no other address: refusals say so as well."""
    cookie = await _cookie(door)
    for path, given in (("/", cookie), ("/", ""), ("/static/board.js", "")):
        _, headers = await ask(door, path, cookie=given)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == (
            "nosniff",
            "DENY",
        )
        assert headers["referrer-policy"] == "same-origin"
    assert (await ask(door, "/", cookie=cookie))[1]["cache-control"] == "no-store"


async def test_browsers_are_bounded(door: Access) -> None:
    """The oldest browser is forgotten for the twenty-first."""
    first = await _cookie(door)
    for _ in range(20):
        await _cookie(door)
    assert (await ask(door, "/", cookie=first))[0] == 401
