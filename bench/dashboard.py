#!/usr/bin/env python3
"""The dashboard at scale, with hostile texts, for everybody; and the pictures of its how-to page.

    python bench/dashboard.py scale            10,000 attempts, 8,800 files: CPU, weight, paint
    python bench/dashboard.py hostile          1,000 hostile texts in every stored field
    python bench/dashboard.py axe AXE.JS       axe-core (npm pack axe-core) on all pages
    python bench/dashboard.py pictures FOLDER  every page, three widths, both themes
    python bench/dashboard.py picture FILE     the one of docs/how-to/dashboard.md

Needs Debian's chromium and the extras of development. CPU is the server's own process and its git,
measured around one request each; the browser is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]

import test_dashboard as browser_tests  # noqa: E402
from dashboard_world import make, opened, serving  # noqa: E402
from hostile_texts import many  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from self_coding.modification_journal import attempts as writing  # noqa: E402
from self_coding.modification_journal.record import from_attempt  # noqa: E402
from self_coding.modification_journal.store import SQLiteStore  # noqa: E402
from self_coding.testing import git, sample_repo, write_files  # noqa: E402
from self_coding.values.attempts import ModificationAttempt, Outcome  # noqa: E402

PAGES = browser_tests.PAGES[:-2]
_IDLE, _QUIET = 0.004, 3  # CPU seconds in a third of one, and how often in a row
_BESIDE = 30  # milliseconds worth a word
WIDTHS, THEMES = (390, 1024, 1600), ("light", "dark")
_WORDS = (
    "parser", "lexer", "retry", "cache", "timeout", "window", "session", "header", "token", "queue",
    "stream", "buffer", "signal", "route", "schema", "report", "export", "backup", "merge",
)  # fmt: skip


@contextmanager
def chromium(**how: Any) -> Iterator[Page]:
    """A page of a browser without a window."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = browser_tests.CHROMIUM
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser.new_context(**how).new_page()
        browser.close()


def grow(top: Path, count: int, files: int) -> None:
    """Add so many attempts, of two years, and so many files that import each other."""
    chance = random.Random(7)
    tree = {}
    for number in range(files):
        known = [chance.randrange(number) for _ in range(2)] if number else []
        imports = "".join(f"from p{n // 30:03}.m{n:05} import f{n}\n" for n in known)
        tree[f"p{number // 30:03}/m{number:05}.py"] = (
            f"{imports}\n\ndef f{number}():\n    return 1\n"
        )
    write_files(top, tree)
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=Grow")
    place = opened(top).journal.db_path
    assert place is not None
    store = SQLiteStore(place, durable=False)

    start = datetime.now(UTC) - timedelta(days=720)
    for number in range(count):
        words = " ".join(chance.choices(_WORDS, k=6))
        path = f"p{chance.randrange(200):03}/m{chance.randrange(6000):05}.py"
        lines = "".join(f"+    value_{n} = {n}\n" for n in range(chance.randrange(3, 120)))
        one = ModificationAttempt(
            f"Make the {words} work for case {number}",
            approach="as it says",
            files_modified=[path],
            diff=f"diff --git a/{path} b/{path}\n@@ -1,1 +1,90 @@\n{lines}",
            test_results="....F...\n" * 40,
            outcome=chance.choices([*Outcome], [7, 3, 1])[0],
            failure_analysis=f"tests failed: tests/test_{number % 90}.py::test_it",
            timestamp=start + timedelta(minutes=number * 103),
        )
        record = from_attempt(one)
        record.editor, record.model = chance.choice(("claude", "codex", "aider")), "m"
        record.at = record.ended = record.at or 0
        with store.write() as queries:
            writing.add(queries, record, [("ended", record.at, record.finished())])
    store.close()


def scale(count: int = 10_000, files: int = 8_800) -> None:
    """Print CPU, weight and first paint of each page."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "scale"
        made = asyncio.run(make(top, tests=browser_tests.CHEAP))
        grow(top, count, files)
        # the page of the oldest attempts as well: what is deep in the journal costs no more
        deep = {**made, "last": count + 1}
        more = "attempts/{last} attempts?words=parser+retry attempts?before=900 map.json"
        more += " map?path=p000/m00007.py map.json?path=p000/m00007.py"
        paths = [*PAGES, *(f"/{one}" for one in more.split())]
        app = opened(top)
        with serving(app) as server, chromium(viewport={"width": 1024, "height": 800}) as page:
            ask = build_opener(HTTPCookieProcessor())
            ask.open(server.address).read()
            page.goto(server.address)
            alien: list[str] = []
            page.on("request", lambda one: server.root in one.url or alien.append(one.url))
            for pattern in paths:
                path = pattern.format(**deep)
                print(f"{path:40}", end=" ", flush=True)
                spent, alone = [], 0.0
                for _ in range(2):  # the first fills what is remembered
                    alone += _settled()
                    before = _cpu()
                    body = ask.open(server.root + path).read()
                    spent.append((_cpu() - before) * 1000)
                paint = ""
                if not path.startswith("/map.json"):
                    page.goto(server.root + path)
                    paint = page.evaluate(
                        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
                    )
                    paint = f"{paint:5.0f} ms" if paint else ""
                weight = f"{len(body) / 1000:7.1f} kB"
                beside = f"  beside it {alone:.0f} CPU ms" if alone > _BESIDE else ""
                print(f"{spent[0]:6.1f}, then {spent[1]:6.1f} CPU ms {weight}  {paint}{beside}")
            assets = sum(one.stat().st_size for one in
                         (ROOT / "src/self_coding/dashboard/static").iterdir())  # fmt: skip
            print(f"style, script and icon, once: {assets / 1000:.1f} kB")
            print(f"requests to other machines: {len(alien)}")


def _settled() -> float:
    """Wait until nothing goes on by itself (the index's first look, the doctor); its CPU ms."""
    began, quiet = _cpu(), 0
    while quiet < _QUIET:  # on a busy machine it may wait as well
        before = _cpu()
        time.sleep(0.3)
        quiet = quiet + 1 if _cpu() - before < _IDLE else 0
    return (_cpu() - began) * 1000


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def hostile(count: int = 1_000) -> None:
    """Look at each of so many texts in every stored field; print what ran or stuck out."""
    texts = many(count)
    with tempfile.TemporaryDirectory() as folder:
        app = opened(sample_repo(Path(folder) / "hostile"))
        asyncio.run(browser_tests.poison(app, texts))
        wrong: list[str] = []
        with serving(app) as server, chromium(viewport={"width": 390, "height": 800}) as page:
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
            page.on("request", lambda one: server.root in one.url or wrong.append(one.url))
            page.goto(server.address)
            older = [f"/attempts?before={n}" for n in range(50, len(texts), 50)]
            numbers = [f"/attempts/{n}" for n in range(1, len(texts) + 1)]
            for path in ("/", "/attempts", "/rates", *older, *numbers):
                page.goto(server.root + path, wait_until="domcontentloaded")
                told = page.evaluate(
                    "[window.pwned, document.documentElement.scrollWidth <= 390,"
                    " document.scripts.length]"
                )
                if told != [None, True, 1]:
                    wrong.append(f"{path}: {told}")
        print(f"{len(texts)} texts in every field: {len(wrong)} ran or stuck out")
        print("\n".join(wrong[:20]))


def axe(script: Path) -> None:
    """Print what axe-core has against any page, in both themes and three widths."""
    source, count, seen = script.read_text(encoding="utf-8"), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "calc"
        made = asyncio.run(make(top, tests=browser_tests.CHEAP))
        with serving(opened(top)) as server, chromium() as page:
            page.goto(server.address)
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    for pattern in browser_tests.PAGES:
                        page.goto(server.root + pattern.format(**made))
                        page.evaluate(source)
                        found = page.evaluate("axe.run().then((told) => told.violations)")
                        seen += 1
                        for one in found:
                            count += len(one["nodes"])
                            places = [node["html"][:120] for node in one["nodes"][:2]]
                            print(theme, width, pattern, one["id"], one["help"], places)
    print(f"{seen} pages looked at, {count} violations")


def pictures(folder: Path) -> None:
    """Write a picture of every page in three widths and both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "calc"
        made = asyncio.run(make(top))
        with serving(opened(top)) as server, chromium() as page:
            page.goto(server.address)
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    for pattern in browser_tests.PAGES:
                        page.goto(server.root + pattern.format(**made))
                        page.wait_for_timeout(200)
                        name = (
                            pattern.strip("/").translate(str.maketrans("/?={}+", "--_   ")).strip()
                        )
                        file = f"{name.replace(' ', '') or 'needs-you'}-{width}-{theme}.png"
                        page.screenshot(path=str(folder / file))


def picture(file: Path) -> None:
    """Write the picture of the how-to page: what needs you, and one attempt beside it."""
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "calc"
        asyncio.run(make(top))
        with (
            serving(opened(top)) as server,
            chromium(viewport={"width": 1180, "height": 700}) as page,
        ):
            page.emulate_media(color_scheme="light")
            page.goto(server.address)
            page.wait_for_timeout(300)
            page.screenshot(path=str(file))


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("what", choices=["scale", "hostile", "axe", "pictures", "picture"])
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--count", type=int)
    given = parser.parse_args()
    if not browser_tests.CHROMIUM:
        sys.exit("needs: apt-get install chromium")
    if given.what in ("scale", "hostile"):
        many_ = {"count": given.count} if given.count else {}
        {"scale": scale, "hostile": hostile}[given.what](**many_)
    elif given.path is None:
        sys.exit("name the file or folder")
    else:
        {"axe": axe, "pictures": pictures, "picture": picture}[given.what](given.path)


if __name__ == "__main__":
    main()
