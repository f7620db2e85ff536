"""What the pages say, asked without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason='needs: pip install "self-coding[web]"')

from self_coding import open_app
from self_coding.app import App
from self_coding.dashboard import build
from self_coding.testing import ScriptedEditor, sample_repo


async def _nothing() -> list[Any]:
    return []


async def look(app: App, path: str) -> str:
    """Return a page as it is sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await build(app, examine=_nothing)(scope, receive, send)
    return b"".join(one.get("body", b"") for one in sent).decode()


async def test_rates_tell_what_a_landed_change_costs(tmp_path: Path) -> None:
    """What editors report as their cost, by the changes that landed; nothing where they do not."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    for number, cost in enumerate((None, 0.5, 1.5)):
        editor = ScriptedEditor({f"f{number}.py": f"x = {number}\n"}, cost=cost)
        await app.edit.self_edit(f"Add {number}", editor=editor)
        if cost is None:
            assert "per change that landed" not in await look(app, "/rates")
    assert "cost <b>2.00</b>, <b>0.67</b> per change" in await look(app, "/rates")


async def test_an_open_attempt_says_where_its_files_are(tmp_path: Path) -> None:
    """Nothing is recorded of a change that is not submitted: its page names the worktree."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    begun = await app.edit.begin_edit("Add x")
    assert str(begun.worktree.path) in await look(app, f"/attempts/{begun.attempt}")
