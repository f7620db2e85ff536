"""Published fakes that play a script, an editor and a model, and a small real repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from self_coding.adapters import git as git_adapter
from self_coding.errors import EditError
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport

Act = Mapping[str, str | None] | str | Exception | Callable[[Path], object]
"""One edit: files to write (None deletes one), a failure, or a function of the worktree."""


class ScriptedEditor:
    """Plays one act after the other, one for each edit; the last one is played again.

    `assignments` holds what it was given. A text is an EditError with that message.
    """

    name = "scripted"

    def __init__(self, *acts: Act, cost: float | None = None) -> None:
        self.assignments: list[Assignment] = []
        self._acts = acts or ({},)
        self._cost = cost

    def spec(self) -> Mapping[str, Json] | None:
        """None: a script is not stored."""
        return None

    async def edit(self, assignment: Assignment) -> EditReport:
        """Play the next act in the worktree."""
        act = self._acts[min(len(self.assignments), len(self._acts) - 1)]
        self.assignments.append(assignment)
        await asyncio.sleep(0)
        if isinstance(act, str):
            raise EditError(act)
        if isinstance(act, Exception):
            raise act
        if callable(act):
            act(assignment.worktree.path)
        else:
            write_files(assignment.worktree.path, act)
        return EditReport(summary=f"act {len(self.assignments)}", cost=self._cost)


@dataclass(frozen=True)
class Reply:
    """What a model answers, in the form that the founding adapters have."""

    content: str
    provider_used: str = "scripted"


@dataclass
class ScriptedModel:
    """A language model that plays its replies in order; the last one is played again.

    `messages` holds what it was asked. An exception among the replies is raised.
    """

    replies: Sequence[str | Exception] = ("",)
    messages: list[str] = field(default_factory=list)

    async def chat(self, message: str = "", context: object = None) -> Reply:
        """The next reply, as the founding adapter gives it."""
        reply = self.replies[min(len(self.messages), len(self.replies) - 1)]
        self.messages.append(message)
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply)


_PLUGINS = ("hypothesispytest", "randomly", "pytest_cov", "xdist", "asyncio", "anyio", "timeout")
SAMPLE: Mapping[str, str] = {
    # it needs no plugin, and what is installed beside pytest would load for longer than it runs
    "pytest.ini": f"[pytest]\naddopts = {' '.join(f'-p no:{each}' for each in _PLUGINS)}\n",
    "src/calc/__init__.py": '"""A small package to practise on."""\n',
    "src/calc/core.py": (
        '"""Sums."""\n\n\ndef add(a: int, b: int) -> int:\n    """The sum."""\n'
        "    return a + b\n\n\n"
        'def double(a: int) -> int:\n    """Twice a."""\n    return add(a, a)\n'
    ),
    "src/calc/report.py": (
        '"""Words about sums."""\n\nfrom calc.core import add\n\n\n'
        'def line(a: int, b: int) -> str:\n    """The sum in words."""\n'
        '    return f"{a} + {b} = {add(a, b)}"\n'
    ),
    "tests/conftest.py": (
        "import sys\nfrom pathlib import Path\n\n"
        'sys.path.insert(0, str(Path(__file__).parents[1] / "src"))\n'
    ),
    "tests/test_core.py": (
        "from calc.core import add, double\n\n\ndef test_add():\n    assert add(2, 3) == 5\n\n\n"
        "def test_double():\n    assert double(4) == 8\n"
    ),
    "tests/test_report.py": (
        'from calc.report import line\n\n\ndef test_line():\n    assert line(1, 2) == "1 + 2 = 3"\n'
    ),
}


def sample_repo(path: Path, files: Mapping[str, str] | None = None) -> Path:
    """A real git repository at `path` with one commit on `main`: a small package and its tests."""
    write_files(path, SAMPLE if files is None else files)
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "config", "user.name", "Sample")
    git(path, "config", "user.email", "sample@example.invalid")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=A small package")
    return path


def write_files(root: Path, files: Mapping[str, str | None]) -> None:
    """Write texts below `root`; None deletes the file."""
    for name, text in files.items():
        file = root / name
        if text is None:
            file.unlink(missing_ok=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def git(path: Path, *args: str) -> str:
    """Run a plain git command in a test's repository; its output without the last newline."""
    path.mkdir(parents=True, exist_ok=True)
    done = git_adapter.run(args, cwd=path, timeout=60)
    return git_adapter.decode(done.stdout, errors="replace").rstrip("\n")
