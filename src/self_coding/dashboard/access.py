"""The door of the dashboard: who may ask, from where, and what a browser may do with an answer.

The address holds a token that works once; the browser gets a cookie for it. Refused are other host
names (a page elsewhere that has its name lead here), writes that come from another site, and bodies
without end. Another program that runs as the same user can do all this and more without us.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

from self_coding.adapters.loopback import HOST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY = 64 << 10  # bytes of a form
SESSIONS = 20  # browsers at once; the oldest is forgotten
FORM, SESSION = "self_coding.form", "self_coding.session"  # keys of the scope

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not "no-referrer": with that, browsers send their forms with the origin "null"
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Access:
    """An application behind its door.

    `token` is what the next browser has to bring; `renewed` is told each new one.
    """

    def __init__(self, inner: Application, *, port: int) -> None:
        self._inner = inner
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._cookie = f"self_coding_{port}"  # a browser sends a host's cookies to all its ports
        self._sessions: dict[str, None] = {}
        self.token = secrets.token_urlsafe(24)
        self.renewed: Callable[[str], None] = lambda token: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or turn it away."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        send = _with_headers(send, is_static=scope["path"].startswith("/static/"))
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        # A foreign name that resolves to this machine (DNS rebinding) would be same-origin.
        if headers.get("host") not in self._hosts:
            await _refuse(send, 421, "this address is not mine: open the one that was printed")
            return
        if scope["path"].startswith("/static/"):
            await self._inner(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and "token" in query:
            await self._admit(scope["path"], query, send)
            return
        kept = None
        with suppress(CookieError):
            kept = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        given = (kept.value if kept else "").encode()
        # Each in constant time: the wait for a refusal must not tell how much was right.
        session = next((s for s in self._sessions if hmac.compare_digest(s.encode(), given)), None)
        if session is None:
            await _refuse(send, 401, "open the address that `self-coding dashboard` printed")
            return
        scope[SESSION] = session
        # The cookie comes along whoever made the form: a change also needs the page's own key.
        if scope["method"] not in ("GET", "HEAD"):
            form = await self._form(headers, receive)
            form_given = form.get("csrf", "").encode()
            if not hmac.compare_digest(form_given, form_key(session).encode()):
                await _refuse(send, 403, "this form is not of this page: load the page again")
                return
            scope[FORM] = form
        await self._inner(scope, receive, send)

    async def _admit(self, path: str, query: dict[str, list[str]], send: Send) -> None:
        """Exchange the token of an address for a cookie; the token has been used then."""
        # compared in constant time: how long a refusal takes must not tell how much was right
        if not hmac.compare_digest(query["token"][0].encode(), self.token.encode()):
            text = "this address was used already: `self-coding dashboard` has printed a new one"
            await _refuse(send, 403, text)
            return
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self.token = secrets.token_urlsafe(24)
        self.renewed(self.token)
        rest = urlencode({name: value[0] for name, value in query.items() if name != "token"})
        # "//x" would be another site
        place = f"/{path.lstrip('/')}" + (f"?{rest}" if rest else "")
        cookie = f"{self._cookie}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
        headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _form(self, headers: dict[str, str], receive: Receive) -> dict[str, str]:
        """Return the fields of a form that was sent from a page of ours; none otherwise."""
        origin = headers.get("origin", "")
        if origin and origin.removeprefix("http://") not in self._hosts:
            return {}
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return {}
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False) and len(body) <= BODY
        if len(body) > BODY:
            return {}
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=50)
        return {name: values[0] for name, values in fields.items()}


def form_key(session: str) -> str:
    """Return what a form must carry: known to pages that this session was given, and to nobody."""
    return hashlib.sha256(f"form of {session}".encode()).hexdigest()


def _with_headers(send: Send, *, is_static: bool) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = "public, max-age=31536000, immutable" if is_static else "no-store"
            more = {**_HEADERS, "cache-control": kept}
            headers = [*message.get("headers", ())]
            headers += [(name.encode(), value.encode()) for name, value in more.items()]
            message = {**message, "headers": headers}
        await send(message)

    return answer


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
