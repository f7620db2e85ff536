"""The dashboard as a command: where it listens, how it ends, what it needs."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.dashboard import build
from self_coding.errors import ConfigError, MissingExtraError
from self_coding.testing import sample_repo


def test_an_absent_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its packages the dashboard says in one sentence how to get them."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    app = open_app(sample_repo(tmp_path / "repo"), environ={})
    with pytest.raises(MissingExtraError, match="the dashboard needs the extra 'web'") as caught:
        build(app, examine=lambda: None)  # type: ignore[arg-type, return-value]
    assert "self-coding[web]" in caught.value.hint


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that another program listens on is an error with a hint, before anything is served."""
    pytest.importorskip("jinja2", reason='needs: pip install "self-coding[web]"')
    from self_coding.dashboard.server import serve

    app = open_app(sample_repo(tmp_path / "repo"), environ={})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot bind port {port}"):
            serve(app, port=port, examine=lambda: None, browse=False, say=print)  # type: ignore[arg-type, return-value]


def test_it_ends_at_once_and_quietly(tmp_path: Path) -> None:
    """Ctrl-C ends it although a page listens, without a traceback; its address admitted one."""
    pytest.importorskip("jinja2", reason='needs: pip install "self-coding[web]"')
    top = sample_repo(tmp_path / "repo")
    words = [sys.executable, "-m", "self_coding", "--repo", str(top), "dashboard", "--no-open"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            told = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", server.stderr.readline())
            assert told is not None
            cookies = urllib.request.HTTPCookieProcessor(CookieJar())
            browser = urllib.request.build_opener(cookies)
            with browser.open(told[0], timeout=60) as page:
                assert b"Nothing needs you" in page.read()
            root = told[0].partition("/?")[0]
            with browser.open(f"{root}/live", timeout=60) as stream:
                assert stream.readline().startswith(b"retry")
                server.send_signal(signal.SIGINT)
                _, rest = server.communicate(timeout=60)
        finally:
            server.kill()
    assert "Traceback" not in rest
    assert "for another browser: http://127.0.0.1" in rest
