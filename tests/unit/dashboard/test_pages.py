"""What the pages say, asked without a browser."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason='needs: pip install "self-coding[web]"')

from self_coding import open_app
from self_coding.app import App
from self_coding.dashboard import build
from self_coding.dashboard.board import Board
from self_coding.self_edit.inbox import _ORDER
from self_coding.testing import SAMPLE, ScriptedEditor, sample_repo
from self_coding.values.results import FleetJob, FleetStatus, FleetWorker, Inbox, InboxItem


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


async def test_rates_tell_what_the_choice_of_tests_would_have_missed(tmp_path: Path) -> None:
    """Red by a test that the change was not known to affect is counted, and linked."""
    hidden = (
        "from pathlib import Path\n\n\ndef test_words():\n"
        '    name = "".join(["co", "re.py"])\n'
        '    text = (Path(__file__).parents[1] / "src" / "calc" / name).read_text()\n'
        '    assert "forbidden" not in text\n'
    )
    top = sample_repo(tmp_path / "repo", {**SAMPLE, "tests/test_hidden.py": hidden})
    app = open_app(top, environ={}, test_command=f"{sys.executable} -m pytest -q")
    core = SAMPLE["src/calc/core.py"]
    wrong = ScriptedEditor({"src/calc/core.py": core.replace("a + b", "a - b")})
    await app.edit.self_edit("Subtract", editor=wrong)
    assert "tests refused <b>1</b>; <b>0</b> of them" in await look(app, "/rates")
    odd = ScriptedEditor({"src/calc/core.py": f"{core}\n# forbidden\n"})
    await app.edit.self_edit("Say it", editor=odd)
    page = await look(app, "/rates")
    assert "tests refused <b>2</b>; <b>1</b> of them" in page
    assert 'href="/attempts/2">#2</a> <span class="path">tests/test_hidden.py::test_words' in page
    await app.journal.append(1, "missed", {"tests": 7})  # a journal may have come from elsewhere
    await app.journal.append(2, "missed", {})
    assert "<b>2</b> of them" in await look(app, "/rates")


async def test_the_queue_is_shown_where_a_fleet_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who works and what waits; a job of this repository leads to its attempt."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    assert "Queue" not in await look(app, "/") and "Not Found" in await look(app, "/queue")
    done = await app.edit.self_edit("Add x", editor=ScriptedEditor({"x.py": "x = 1\n"}))
    assert done.attempt_id
    [edit] = [one.data["edit"] for one in await app.journal.events(1) if one.kind == "planned"]
    job = partial(FleetJob, repository="/srv/<shop>", requires=["gpu"])
    jobs = [
        job(job=2, task="Wait", state="waiting"),
        job(job=1, task="Add x", state="ended", edit=edit),
    ]
    fleet = FleetStatus(workers=[], jobs=jobs)

    class Stub:
        async def workers(self) -> FleetStatus:
            return fleet

    monkeypatch.setitem(app.__dict__, "fleet", Stub())
    monkeypatch.setattr(Board, "has_fleet", True)
    page = await look(app, "/queue")
    assert "0 running, 1 waiting" in page and "No worker lives" in page
    assert '<a href="/attempts/1">Add x</a>' in page and "/srv/&lt;shop&gt;" in page
    assert "1 job waits in the" in await look(app, "/")
    since = datetime.now(UTC)
    worker = FleetWorker(name="w1", slots=4, provides=["gpu"], version="1", since=since, running=1)
    fleet = FleetStatus(workers=[worker], jobs=jobs)
    page = await look(app, "/queue")
    assert "1 of 4" in page and "No worker lives" not in page


async def test_whatever_needs_a_person_has_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind that the inbox knows is on the page, with what can be done about it."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    needs = [InboxItem(kind=kind, title=f"a {kind} case", action="", attempt=3) for kind in _ORDER]

    async def inbox() -> Inbox:
        return Inbox(needs=needs, decided=[])

    monkeypatch.setattr(app.edit, "inbox", inbox)
    page = await look(app, "/")
    assert all(f"a {kind} case" in page for kind in _ORDER)
    assert f"{len(_ORDER) - 3} things need you" in page and "Under way" in page


async def test_an_open_attempt_says_where_its_files_are(tmp_path: Path) -> None:
    """Nothing is recorded of a change that is not submitted: its page names the worktree."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    begun = await app.edit.begin_edit("Add x")
    assert str(begun.worktree.path) in await look(app, f"/attempts/{begun.attempt}")
