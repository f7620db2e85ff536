"""The dashboard in a browser: every page, an approval, an undo, an expiry, live, hostile texts."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

_NEEDS = 'needs: pip install "self-coding[web]" playwright'
pytest.importorskip("jinja2", reason=_NEEDS)
sync_api = pytest.importorskip("playwright.sync_api", reason=_NEEDS)

# ruff: noqa: E402 - what these import may be missing
from dashboard_world import make, opened, serving
from hostile_texts import KINDS

from self_coding.app import App
from self_coding.testing import ScriptedEditor, git, sample_repo
from self_coding.values.attempts import Lesson, Outcome

if TYPE_CHECKING:
    from dashboard_world import Server
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs: apt-get install chromium")

#: Fails where a change is a mistake on purpose, and costs no test run.
CHEAP = "! grep -rqE 'a - b|a [*] 3' src"
PAGES = ("/", "/attempts", "/attempts/{landed}", "/attempts/{refused}", "/attempts/{tried}",
         "/attempts/{waiting}", "/attempts/{interrupted}", "/attempts/{undone}",
         "/attempts/{landed}/undo", "/rates", "/map", "/map?attempt={landed}",
         "/map?path=src/calc/core.py", "/health", "/settings", "/errors/{error}",
         "/attempts?words=nothing+like+it", "/nowhere")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window; one for all tests, since its start takes longest."""
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened_browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened_browser
        opened_browser.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    top = tmp_path_factory.mktemp("dashboard") / "calc"
    return top, run(make(top, tests=CHEAP))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repo")


@contextmanager
def page_of(browser: Browser, server: Server, **how: Any) -> Iterator[Page]:
    """A page that was let in; whatever it complains of, or asks of another machine, is an error."""
    context = browser.new_context(**how)
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda said: wrong.append(said.text) if "Policy" in said.text else None)
    page.on("request", lambda one: server.root in one.url or wrong.append(one.url))
    page.set_default_timeout(30_000)  # on a busy machine
    page.goto(server.address)
    yield page
    context.close()
    assert wrong == []


def test_every_page_fits(browser: Browser, world: tuple[Path, dict[str, int]]) -> None:
    """At a phone's width and a desk's, in both themes: no page is wider than the screen, small."""
    top, made = world
    with serving(opened(top)) as server:
        for width, theme in ((390, "dark"), (1600, "light")):
            view = {"width": width, "height": 900}
            weight: list[int] = []
            with page_of(browser, server, viewport=view, color_scheme=theme) as page:
                page.on("response", partial(_weigh, weight))
                for path in PAGES:
                    weight.clear()
                    page.goto(server.root + path.format(**made))
                    assert page.locator("h1").count() == 1, path
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                    page.wait_for_timeout(20)
                    assert sum(weight) <= 150_000, path


def test_an_approval_an_undo_and_a_refusal(browser: Browser, repo: Path) -> None:
    """By keys alone: two strokes approve and land; an undo shows its plan first; r asks why."""
    app = opened(repo)
    main = git(repo, "rev-parse", "main")
    run(_hold(app, "Add one", {"src/calc/one.py": "ONE = 1\n"}))
    with serving(app) as server, page_of(browser, server) as page:
        page.keyboard.press("j")
        page.keyboard.press("a")
        assert git(repo, "rev-parse", "main") == main  # one stroke only shows what it would press
        page.keyboard.press("a")
        page.locator(".notice.done, h1:has-text('Nothing needs you')").first.wait_for()
        page.locator("text=Sample <sample@example.invalid>").wait_for()
        _until(page, lambda: git(repo, "rev-parse", "main") != main)
        page.goto(f"{server.root}/attempts/1")
        page.locator(".chip:has-text('landed')").wait_for()
        page.keyboard.press("u")
        page.locator("text=Nothing has been changed yet").wait_for()
        assert "src/calc/one.py" in page.inner_text("main")
        assert (repo / "src/calc/one.py").exists()
        page.click("text=Undo this landing")
        page.locator(".chip:has-text('undone')").wait_for()
        assert git(repo, "rev-parse", "main") == main
        run(_hold(app, "Add two", {"src/calc/two.py": "TWO = 2\n"}))
        page.goto(server.root)
        page.keyboard.press("j")
        page.keyboard.press("r")
        page.keyboard.type("not this week")
        page.keyboard.press("Enter")
        page.locator("td:has-text('not this week')").wait_for()
        assert git(repo, "rev-parse", "main") == main


def test_an_expired_approval_is_told(browser: Browser, repo: Path) -> None:
    """What waited too long does not land: the page says so, with the way on."""
    app = opened(repo, approval_days=1e-9)
    run(_hold(app, "Add one", {"src/calc/one.py": "ONE = 1\n"}))
    with serving(app) as server, page_of(browser, server, java_script_enabled=False) as page:
        page.click("text=Approve")
        told = page.locator(".notice.error").inner_text()
        assert "has expired" in told
        assert "self-coding begin-edit --from-attempt 1" in told
        assert page.locator(".chip:has-text('expired')").count() == 1


def test_pages_live(browser: Browser, repo: Path) -> None:
    """An attempt that begins elsewhere appears by itself, and its end does; a search stays."""
    app = opened(repo)
    with serving(app) as server, page_of(browser, server) as page:
        page.goto(f"{server.root}/attempts")
        page.locator(".live:visible").wait_for()
        elsewhere = opened(repo)
        begun = run(elsewhere.edit.begin_edit("Appear while somebody looks"))
        page.locator("text=Appear while somebody looks").wait_for()
        page.locator(".badge").wait_for(state="detached")  # an edit in the making needs nobody
        run(elsewhere.edit.drop_edit(begun.attempt, "enough"))
        page.locator(".chip:has-text('cancelled')").wait_for()
        page.keyboard.press("/")
        page.keyboard.type("nothing like it")
        page.keyboard.press("Enter")
        page.locator("text=No attempt is like that").wait_for()


def test_what_somebody_writes_is_not_replaced(browser: Browser, repo: Path) -> None:
    """News that were asked for before somebody began to write wait until they have done."""
    app = opened(repo)
    run(_hold(app, "Add one", {"src/calc/one.py": "ONE = 1\n"}))
    with serving(app) as server, page_of(browser, server) as page:
        page.locator(".live:visible").wait_for()
        asked: list[Any] = []
        page.route(
            lambda _: True,
            lambda route: (
                asked.append(route) if route.request.resource_type == "fetch" else route.continue_()
            ),
        )
        run(opened(repo).edit.begin_edit("Something new"))
        _until(page, lambda: bool(asked))
        page.keyboard.press("j")
        page.keyboard.press("r")
        page.keyboard.type("not this week")
        with page.expect_response(lambda answer: answer.request.resource_type == "fetch"):
            asked[0].continue_()
        page.wait_for_timeout(200)
        assert page.evaluate("document.activeElement.value") == "not this week"


def test_hostile_texts_do_nothing(browser: Browser, repo: Path) -> None:
    """Whatever stands in a stored field: nothing runs, steers, or is wider than the page."""
    app = opened(repo)
    run(poison(app, KINDS))
    with (
        serving(app) as server,
        page_of(browser, server, viewport={"width": 390, "height": 900}) as page,
    ):
        for path in [
            "/",
            "/attempts",
            "/rates",
            *(f"/attempts/{n + 1}" for n in range(len(KINDS))),
            *(f"/errors/{n:010x}" for n in range(len(KINDS))),
        ]:
            page.goto(server.root + path, wait_until="domcontentloaded")
            told = page.evaluate(
                "[window.pwned, document.documentElement.scrollWidth <= 390,"
                " document.scripts.length, document.querySelectorAll('iframe,object,base').length]"
            )
            assert told == [None, True, 1, 0], path
            assert not re.search(
                "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page.content()
            )


async def _hold(app: App, task: str, files: dict[str, str]) -> None:
    await app.edit.self_edit(task, editor=ScriptedEditor(files), hold=True)


async def poison(app: App, kinds: Sequence[str]) -> None:
    """Put each text into every field that is stored, one attempt for each.

    Behind the journal's back, which would clean them: what an older version or another hand has
    stored is not clean.
    """
    for text in kinds:
        begun = await app.journal.begin("x")
        for kind in ("edited", "refused", "approved", "reflected", "other"):
            await app.journal.append(begun, kind, {})
        if text != kinds[-1]:  # one goes on
            await app.journal.finish(begun, Outcome.FAILURE)
        await app.journal.learn(Lesson(text=f"lesson {begun}", evidence=(begun,)))
    await app.journal.close()
    errors = app.common / "self_coding" / "errors"
    errors.mkdir()
    for number, text in enumerate(kinds):
        stored = dict.fromkeys(("title", "stack"), text) | {"count": 3, "dropped": ""}
        stored |= dict.fromkeys(("first", "last"), "2026-01-01T00:00:00+00:00")
        (errors / f"{number:010x}.json").write_text(json.dumps(stored))
    assert app.journal.db_path is not None
    with closing(sqlite3.connect(app.journal.db_path)) as raw, raw:
        for number, text in enumerate(
            (one.encode("utf-8", "replace").decode() for one in kinds), 1
        ):
            head = f"diff --git a/{text[:90]} b/{text[:90]}\n"
            diff = f"{head}@@ -1 +1,2 @@ {text}\n-{text}\n+{text}\n"
            columns = {
                **dict.fromkeys(("task", "approach", "analysis", "reflection", "tests"), text),
                **dict.fromkeys(("stage", "editor", "model", "commit_hash", "outcome"), text[:90]),
                "diff": diff,
                "files": json.dumps([text[:500], "src/calc/core.py"]),
            }
            told = ", ".join(f"{name} = ?" for name in columns)
            raw.execute(f"UPDATE attempt SET {told} WHERE id = ?", (*columns.values(), number))
            finding = {"rule": text[:90], "path": text[:200], "line": 3, "message": text}
            data = {
                "person": text[:200], "paths": [text], "added": 1, "by": text[:90], "reason": text,
                "hint": text, "failing": [text], "ran": 3, "sandbox": text[:90], "lesson": text,
                "judged_by_base": text[:90], "findings": [finding], "reflection": text,
            }  # fmt: skip
            raw.execute(
                "UPDATE event SET data = ? WHERE attempt = ? AND kind NOT IN ('planned', 'ended')",
                (json.dumps(data), number),
            )
            kind = (text[:90], number)
            raw.execute("UPDATE event SET kind = ? WHERE attempt = ? AND kind = 'other'", kind)
            raw.execute("UPDATE lesson SET text = ? WHERE id = ?", (text, number))
            tally = "INSERT OR IGNORE INTO tally VALUES (?, ?, 'success', 3)"
            raw.executemany(tally, [(by, text[:200]) for by in ("area", "editor", "model")])


def _weigh(weight: list[int], answer: Any) -> None:
    if answer.ok and not answer.url.endswith("/live"):
        weight.append(len(answer.body()))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread: playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, work).result()


def _until(page: Page, holds: Any) -> None:
    for _ in range(150):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it never came true")
