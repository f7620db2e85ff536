"""The story that `self-coding demo` plays on a copy of a real repository.

A change that breaks a distant module is refused and explained, a good one lands, and a second
try at the first mistake is warned. It works on a clone in a temporary directory and touches
nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters import git
from self_coding.app import App, open_app
from self_coding.errors import SelfCodingError
from self_coding.self_edit.editors import CallableEditor
from self_coding.values.edits import Progress, SelfEditResult

Say = Callable[[str], None]

# What the demo changes in a copy of this project, and the tests that judge it: few, so that the
# story takes seconds; the broken code is in one module, what goes red is in another room.
_FILE = "src/self_coding/retrieval.py"
_TESTS = "python -m pytest -q -n 0 -p no:randomly tests/unit/journal/test_journal_ranking.py"
_BREAKING_TASK = "Make split_identifier faster: lower-case the name once, not every part"
_BROKEN = (
    "tuple([part.lower() for part in pattern.findall(name)])",
    "tuple(pattern.findall(name.lower()))",
)
_GOOD_TASK = "Count tokens of an empty text without a division"
_GOOD = (
    "    return -(-len(text) // CHARACTERS_PER_TOKEN)\n",
    "    return -(-len(text) // CHARACTERS_PER_TOKEN) if text else 0\n",
)


@dataclass(frozen=True)
class Story:
    """What the demo saw: the three attempts, and where they can be looked at."""

    repository: str
    refused: SelfEditResult
    landed: SelfEditResult
    warning: str
    checkout_untouched: bool

    @property
    def went_well(self) -> bool:
        """Whether each part of the promise was kept."""
        refused = not self.refused.success and bool(self.refused.failing_tests)
        kept = refused and self.landed.success and bool(self.warning)
        return kept and self.checkout_untouched


async def play(say: Say) -> Story:
    """Play the story in a fresh copy; `say` takes one line at a time."""
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        raise SelfCodingError(
            "the demo plays on self-coding's own repository, and this is an installed copy",
            hint="clone the repository, or use `self-coding self-edit` in a repository of yours",
        )
    root = Path(tempfile.mkdtemp(prefix="self-coding-demo-")) / "copy"
    _git(source, "clone", "--quiet", "--no-hardlinks", str(source), str(root))
    _git(root, "checkout", "--quiet", "-B", "main")
    count = _git(root, "rev-list", "--count", "HEAD").strip()
    say(f"A copy of this project's own repository, {count} commits: {root}\n")
    app = open_app(root, test_command=_TESTS)
    say("1. What the index knows")
    impact = await app.indexer.impact(paths=[_FILE])
    near = ", ".join(one.path for one in impact.dependents[:3])
    say(f"   {_FILE}: {len(impact.dependents)} files depend on it ({near}, ...)")
    say(f"   {len(impact.tests)} test files reach it")
    before = _state(root)
    say(f"\n2. An agent tries: {_BREAKING_TASK!r}")
    refused = await _attempt(app, _BREAKING_TASK, _BROKEN, say)
    untouched = _state(root) == before
    say(f"\n3. A good change: {_GOOD_TASK!r}")
    landed = await _attempt(app, _GOOD_TASK, _GOOD, say)
    say("\n4. Another agent is about to make the first mistake again")
    warning = await app.journal.dead_end(_BREAKING_TASK)
    say(f"   warning: {warning}" if warning else "   no warning")
    say(f"\nThe copy is kept: look around with  self-coding --repo {root} attempts")
    return Story(str(root), refused, landed, str(warning or ""), untouched)


async def _attempt(app: App, task: str, edit: tuple[str, str], say: Say) -> SelfEditResult:
    def replace(worktree: Path) -> str:
        file = worktree / _FILE
        text = file.read_text(encoding="utf-8")
        if edit[0] not in text:
            raise SelfCodingError("the demo's edit does not fit this version of the code")
        file.write_text(text.replace(edit[0], edit[1], 1), encoding="utf-8")
        return f"one line of {_FILE}"

    def progress(step: Progress) -> None:
        say(f"   {step.step}: {step.message}" if step.message else f"   {step.step}")

    result = await app.edit.self_edit(task, editor=CallableEditor(replace), on_progress=progress)
    say(f"   -> {'landed' if result.success else 'refused'}: {result.message}")
    for test in result.failing_tests[:3]:
        say(f"      failing: {test}")
    if result.lesson:
        say(f"      lesson: {result.lesson}")
    return result


def _state(root: Path) -> tuple[str, str]:
    return _git(root, "status", "--porcelain"), _git(root, "rev-parse", "HEAD")


def _git(cwd: Path, *args: str) -> str:
    return git.decode(git.run(args, cwd=cwd, timeout=120).stdout)
