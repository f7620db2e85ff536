"""Notices: who needs to know is told, in bounded time, and no failure of it costs anything."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.adapters.notices import Notices
from self_coding.app import App
from self_coding.errors import ConfigError
from self_coding.operations import NAMES
from self_coding.testing import ScriptedEditor, sample_repo

GOOD = {"new.py": "x = 1\n"}


class Hook:
    """A web address that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []
        self.status, self.drips = 200, False
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.told.append(json.loads(body))
                if hook.drips:  # a byte now and then, which no time limit of a socket notices
                    with suppress(OSError):
                        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
                        for _ in range(60):
                            self.wfile.write(b"x")
                            time.sleep(0.1)
                    return
                self.send_response(hook.status)
                self.send_header("Location", f"{hook.url}/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    opened = Hook()
    yield opened
    opened.close()


def _app(top: Path, **notice: object) -> App:
    return open_app(top, environ={}, test_command="true", notice=notice)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "shop")


async def _noticed(app: App, attempt: int) -> list[str]:
    events = await app.journal.events(attempt)
    return [str(one.data["failed"]) for one in events if one.kind == "noticed"]


async def test_an_approval_is_told_by_address(top: Path, hook: Hook) -> None:
    """What waits green is told once, in one line, with the next command; a landing is not."""
    app = _app(top, url=hook.url)
    await app.edit.self_edit("Add it", editor=ScriptedEditor(GOOD))
    assert hook.told == []
    await app.edit.self_edit("Add `more`", editor=ScriptedEditor({"b.py": "1\n"}), hold=True)
    assert hook.told == [
        {
            "text": "shop: attempt 2 waits for approval: Add `more`",
            "kind": "approval",
            "repository": "shop",
            "next": "self-coding land-edit 2",
            "attempt": 2,
        }
    ]
    assert await _noticed(app, 2) == [""]
    assert (await app.edit.land_edit(2)).success
    assert len(hook.told) == 1


async def test_a_command_reads_it_and_gets_no_secret(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice comes on standard input; of the environment only what finds and shows things."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("SELF_CODING_TOKEN", "t")
    app = _app(top, command=f"cat > {tmp_path}/told; env > {tmp_path}/env")
    await app.edit.self_edit("$(touch pwned) `id`", editor=ScriptedEditor(GOOD), hold=True)
    assert "$(touch pwned) `id`" in json.loads((tmp_path / "told").read_text())["text"]
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "PATH" in names
    assert not {name for name in names if "KEY" in name or "TOKEN" in name or "SELF" in name}
    assert not (top / "pwned").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"command": "echo no >&2; exit 3"}, "the command ended with 3: no"),
        ({"command": "sleep 60", "seconds": 0.3}, "the command was ended after 0.3 s"),
        ({"url": "http://127.0.0.1:1/x"}, "the address cannot be reached"),
        ({"url": "file:///etc/passwd"}, "neither http"),
        ({"url": "http://[/x"}, "the address cannot be reached: ValueError"),
    ],
)
async def test_a_notice_that_fails_costs_nothing(
    top: Path, how: dict[str, object], said: str
) -> None:
    """The attempt waits as ever, in bounded time, and the journal says why nobody was told."""
    app, began = _app(top, **how), time.monotonic()
    done = await app.edit.self_edit("Add it", editor=ScriptedEditor(GOOD), hold=True)
    assert done.waiting == "approval"
    (failed,) = await _noticed(app, 1)
    assert said in failed
    assert time.monotonic() - began < 20
    assert (await app.edit.land_edit(1)).success


def test_a_slow_address_is_given_up(hook: Hook, tmp_path: Path) -> None:
    """A server that does not end its answer is left behind."""
    hook.drips = True
    began = time.monotonic()
    assert "in time" in Notices("", hook.url, 0.3, tmp_path).send({"text": "x"})
    assert time.monotonic() - began < 3


def test_a_redirection_is_not_followed(hook: Hook, tmp_path: Path) -> None:
    """What is told stays with the address that was set; its secret is in no message."""
    hook.status = 302
    said = Notices("", hook.url, 5.0, tmp_path).send({"text": "x"})
    assert said == "the address answered 302"
    assert len(hook.told) == 1


async def test_a_broken_environment_is_told_once(top: Path, hook: Hook) -> None:
    """Where tests cannot run, the first attempt that finds out says so, and the next do not."""
    app = open_app(top, environ={}, test_command="no-such-program", notice={"url": hook.url})
    for name in "ab":
        done = await app.edit.self_edit(name, editor=ScriptedEditor({f"{name}.py": "1\n"}))
        assert done.stage == "environment"
    assert [one["kind"] for one in hook.told] == ["environment"]


async def test_a_new_error_is_told_once(top: Path, hook: Hook) -> None:
    """An error that is reported for the first time is told; its repeats are counted silently."""
    app = _app(top, url=hook.url)
    for _ in range(3):
        await NAMES["report_error"](app, stack="ValueError: no tea")
    assert [one["text"] for one in hook.told] == ["shop: ValueError: no tea"]


def test_settings_of_a_notice_are_checked(top: Path) -> None:
    """An unknown name and a time that is none are refused at once."""
    for wrong in ({"address": "x"}, {"seconds": 0}, {"seconds": 1e9}):
        with pytest.raises(ConfigError, match="notice"):
            _app(top, **wrong)
