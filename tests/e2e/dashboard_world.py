"""A repository in which everything has happened that the dashboard shows, and its server."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_coding.app import App, open_app
from self_coding.testing import ScriptedEditor, sample_repo, write_files

TESTS = f"{sys.executable} -m pytest -q -p no:cacheprovider tests"
CORE = "src/calc/core.py"
_ADD = '"""Sums."""\n\n\ndef add(a: int, b: int) -> int:\n    """The sum."""\n    return a + b\n'
_DOUBLE = '\n\ndef double(a: int) -> int:\n    """Twice a."""\n    return add(a, a)\n'


@dataclass(frozen=True)
class Seen:
    """What the doctor is made to say."""

    name: str
    state: str
    told: str
    hint: str = ""


CHECKS = (
    Seen("git", "ok", "git version 2.39.5"),
    Seen("sandbox", "ok", "bubblewrap: own namespaces, no network, hidden homes"),
    Seen("tests", "ok", "3 tests on main, green in 0.8 s"),
    Seen("extra anthropic", "note", "not installed", 'pip install "self-coding[anthropic]"'),
)


async def examine() -> Sequence[Seen]:
    """Look at nothing."""
    return CHECKS


def opened(top: Path, *, tests: str = "true", **settings: object) -> App:
    """Return the services of a world, which tests nothing unless it is told to."""
    return open_app(top, environ={}, test_command=tests, **settings)


async def make(path: Path, *, tests: str = TESTS) -> dict[str, Any]:
    """Make the repository; return the numbers of its attempts by what became of them."""
    top = sample_repo(path)
    app, fast = opened(top, tests=tests), opened(top)
    made: dict[str, Any] = {}

    async def edit(name: str, task: str, files: dict[str, str], by: App, **how: Any) -> None:
        result = await by.edit.self_edit(task, editor=ScriptedEditor(files), **how)
        made[name] = result.attempt_id or 0

    half = "\n\ndef half(a: int) -> float:\n    return a / 2\n"
    test_half = "from calc.core import half\n\n\ndef test_half():\n    assert half(4) == 2\n"
    whole = {CORE: f"{_ADD}{_DOUBLE}{half}", "tests/test_half.py": test_half}
    await edit("landed", "Add half(), so that reports can show averages", whole, app)
    wrong = {CORE: f"{_ADD.replace('a + b', 'a - b')}{_DOUBLE}{half}"}
    await edit("refused", "Make add() faster by avoiding the temporary", wrong, app)
    words = '"""Words about sums."""\n\nfrom calc.core import add\n\n\ndef line(a, b):\n'
    words += '    total = add(a, b)\n    return f"{a} + {b} = {total}"\n'
    await edit("undone", "Name the total in line()", {"src/calc/report.py": words}, fast)
    await fast.git.undo(attempt=str(made["undone"]))
    await edit("declined", "Drop Python 3.11", {"setup.cfg": "[x]\n"}, fast, hold=True)
    await fast.edit.drop_edit(made["declined"], "people still use it; ask again in spring")
    begun = await fast.edit.begin_edit("Say what a sum is in the docs of the package")
    made["open"] = begun.attempt
    begun = await fast.edit.begin_edit("Round reports to two digits")
    made["interrupted"] = begun.attempt
    write_files(
        begun.worktree.path, {"src/calc/report.py": words.replace("{total}", "{total:.2f}")}
    )
    await fast.journal.append(begun.attempt, "written", {"summary": "two digits", "ask": False})
    begun = await app.edit.begin_edit("Let double() take any number")
    made["tried"] = begun.attempt
    write_files(begun.worktree.path, {CORE: f"{_ADD}{_DOUBLE.replace('add(a, a)', 'a * 3')}"})
    await app.edit.submit_edit(begun.attempt, summary="multiply instead of adding")
    mean = (
        '"""Means."""\n\nfrom calc.core import add\n\n\ndef mean(a, b):\n    return add(a, b) / 2\n'
    )
    more = {"src/calc/mean.py": mean}
    await edit("waiting", "Add mean() of two numbers", more, fast, hold=True)
    stack = f'Traceback (most recent call last):\n  File "{top}/{CORE}", line 6, in add\n'
    error = await app.reported.report_error(f"{stack}    return a + b\nTypeError: two kinds\n")
    made["error"] = error.id
    await app.journal.close()
    await fast.journal.close()
    return made


class Server:
    """A dashboard in a thread of its own; `address` admits one browser, and then a new one does."""

    def __init__(self, app: App) -> None:
        import uvicorn

        from self_coding.dashboard import build, guarded

        self.app = app
        config = uvicorn.Config("", log_level="warning", ws="none", lifespan="off",
                                timeout_graceful_shutdown=3)  # fmt: skip
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        pages = build(app, examine=examine)
        self.door = guarded(pages, port=self.port)
        config.app = self.door
        self._server = uvicorn.Server(config)
        pages.state.board.is_stopping = lambda: self._server.should_exit
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    @property
    def root(self) -> str:
        """The address without its token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """The address with the token of the moment."""
        return f"{self.root}/?token={self.door.token}"

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        while not self._server.started:
            threading.Event().wait(0.01)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(10)


@contextmanager
def serving(app: App) -> Iterator[Server]:
    """Serve a dashboard for as long as the block lasts."""
    server = Server(app)
    server.start()
    try:
        yield server
    finally:
        server.stop()
