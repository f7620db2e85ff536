"""The services of a self-edit in memory, on a disk that outlives crashes.

For tests of the lifecycle and of editors: no git, no process, no file. `Disk.crash_at` names the
points at which the process dies; from then on nothing has an effect until `restart`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from self_coding.errors import GitOperationError
from self_coding.self_edit.ports import Files, Services
from self_coding.values.attempts import (
    Event,
    Failure,
    Json,
    Lesson,
    ModificationAttempt,
    Outcome,
    SimilarAttempt,
)
from self_coding.values.code import Impact, RelevantFile
from self_coding.values.edits import Assignment, EditReport
from self_coding.values.repository import (
    Candidate,
    Change,
    Conflict,
    ConflictFile,
    FileChange,
    GateBypass,
    Landed,
    Moved,
    Worktree,
)
from self_coding.values.verdicts import Finding, GateReport, Verdict

if TYPE_CHECKING:
    from self_coding.adapters.db import Sessions
    from self_coding.codebase_indexer import CodebaseIndexer
    from self_coding.git_safety import GitSafety
    from self_coding.modification_journal import ModificationJournal
    from self_coding.reflection import ReflectionService
    from self_coding.self_edit.policy import Policy

Tree = dict[str, str]
_START = datetime.now(UTC) - timedelta(hours=1)  # what waits too long expires


class Crash(BaseException):
    """The process died here; nothing after it happened."""


@dataclass
class Disk:
    """What outlives the process, and the points at which it dies."""

    trees: dict[str, Tree] = field(default_factory=lambda: {"c0": {"a.py": "1"}})
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": ["c0"]})
    worktrees: dict[str, Tree] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    events: dict[int, list[Event]] = field(default_factory=dict)
    ended: dict[int, tuple[Outcome, str]] = field(default_factory=dict)
    lessons: list[Lesson] = field(default_factory=list)
    landings: list[str] = field(default_factory=list)
    crash_at: Collection[int] = ()
    points: int = 0
    dead: bool = False
    on_point: Callable[[], None] = field(default=lambda: None)
    dirty: list[str] = field(default_factory=list)
    failure: str = "FAILED test_a"
    strangers: int = 0  # how many landings of others come before ours
    broken: Callable[[Tree], bool] = field(default=lambda tree: "bug" in "".join(tree.values()))

    @property
    def main(self) -> list[str]:
        """Where main was, newest last."""
        return self.branches["main"]

    def point(self) -> None:
        """A place where the process may die."""
        if self.dead:
            raise Crash
        self.points += 1
        self.on_point()
        if self.points in self.crash_at:
            self.dead = True
            raise Crash

    def restart(self, crash_at: Collection[int] = ()) -> None:
        """A new process on the same disk."""
        self.dead, self.points, self.crash_at = False, 0, crash_at

    def store(self, tree: Tree) -> str:
        """The commit that holds this tree."""
        name = hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()[:12]
        self.trees[name] = dict(tree)
        return name


@dataclass
class MemoryRepository:
    """A repository of commits that are named after their content."""

    disk: Disk
    main_branch: str = "main"
    repo_path: Path = Path("checkout")
    top: Path = Path("checkout")

    requests: object = None

    async def person(self) -> str:
        """Who approves."""
        return "A Person <person@example.invalid>"

    def onto(self, branch: str) -> MemoryRepository:
        """The same disk, with another branch in main's place."""
        return self if branch in ("", self.main_branch) else replace(self, main_branch=branch)

    @property
    def main(self) -> list[str]:
        """Where the branch was that things land on, newest last."""
        if self.main_branch not in self.disk.branches:
            raise GitOperationError(f"there is no branch called {self.main_branch!r}")
        return self.disk.branches[self.main_branch]

    async def get_main_commit(self) -> str:
        """Where main is."""
        return self.main[-1]

    async def isolate(
        self, attempt: str, base: str | None = None, branch: str = "", *, equip: bool = False
    ) -> Worktree:
        """A worktree on main; the one of that name, where there is one."""
        self.disk.point()
        if attempt not in self.disk.worktrees:
            start = base or self.main[-1]
            self.disk.worktrees[attempt] = dict(self.disk.trees[start])
            self.disk.bases[attempt] = start
        self.disk.point()
        start = self.disk.bases[attempt]
        return Worktree(Path(attempt), branch or f"self-edit/{attempt}", start, attempt)

    async def record(self, worktree: Worktree, message: str) -> Change:
        """What stands in the worktree, as a commit."""
        self.disk.point()
        head = self.disk.store(self.disk.worktrees[worktree.attempt])
        self.disk.point()
        return await self.change(worktree.base, head)

    async def record_late(self, worktree: Worktree, message: str, head: str) -> Change | None:
        """What stands there beyond a commit."""
        if worktree.attempt not in self.disk.worktrees:
            return None
        late = self.disk.store(self.disk.worktrees[worktree.attempt])
        return None if late == head else await self.change(head, late)

    async def get_modified_files(self) -> list[str]:
        """What a person has changed in the checkout."""
        return list(self.disk.dirty)

    async def carry(self, worktree: Worktree, earlier: Worktree, head: str) -> tuple[str, ...]:
        """The files that the earlier change names are as it left them."""
        change = await self.change(earlier.base, head)
        tree = self.disk.trees[head]
        self.disk.worktrees[worktree.attempt].update({path: tree[path] for path in change.paths})
        return ()

    async def strength(self, base: str, commit: str, tests: Sequence[str]) -> None:
        """Nobody measures here."""

    async def gate_bypass(self, worktree: Worktree) -> GateBypass | None:
        """Nobody moves main past the gate here."""
        return None

    async def change(self, base: str, head: str, diff_limit: int = 0) -> Change:
        """The files that differ between two commits."""
        old, new = self.disk.trees[base], self.disk.trees[head]
        paths = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
        files = tuple(FileChange(path=path, status="M", added=1) for path in paths)
        diff = "".join(f"+{path}: {new.get(path)}\n" for path in paths)
        return Change(base=base, head=head, files=files, diff=diff)

    async def read(self, commit: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Files of a commit."""
        tree = self.disk.trees[commit]
        return {path: tree[path].encode() if path in tree else None for path in paths}

    async def candidate(
        self, change: Change, message: str = "", *, onto: str = ""
    ) -> Candidate | Conflict:
        """The change upon main as it is now; the same path changed twice is a conflict."""
        self.disk.point()
        onto = onto or self.main[-1]
        base, mine = self.disk.trees[change.base], self.disk.trees[change.head]
        theirs = self.disk.trees[onto]
        clash = [p for p in change.paths if theirs.get(p) not in (base.get(p), mine.get(p))]
        if files := tuple(ConflictFile(path=path) for path in clash):
            return Conflict(onto=onto, head=change.head, files=files)
        merged = theirs | {path: mine[path] for path in change.paths if path in mine}
        commit = self.disk.store(merged | {".merge": f"{onto} {change.head}"})
        self.disk.point()
        return Candidate(commit=commit, tree=f"tree-{commit}", onto=onto, head=change.head)

    async def test(self, candidate: Candidate, **how: object) -> GateReport:
        """Red for a broken tree."""
        self.disk.point()
        broken = self.disk.broken(self.disk.trees[candidate.commit])
        self.disk.point()
        return GateReport(
            passed=not broken,
            commit=candidate.commit,
            tree=candidate.tree,
            command="memory",
            exit_status=int(broken),
            new_failures=("test_a",) if broken else (),
            output=self.disk.failure if broken else "1 passed",
        )

    async def land(
        self,
        candidate: Candidate,
        *,
        attempt: str = "",
        reason: str = "",
        group: Sequence[tuple[str, Candidate]] = (),
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> Landed | Moved:
        """Main moves to the candidate, if it is where the candidate expects it."""
        self.disk.point()
        if self.disk.strangers:
            self.disk.strangers -= 1
            other = {**self.disk.trees[self.main[-1]], "z.py": str(self.disk.strangers)}
            self.main.append(self.disk.store(other))
        now = self.main[-1]
        if now != candidate.onto or (still and not await still()):
            return Moved(expected=candidate.onto, actual=now)
        pairs = group or [(attempt, candidate)]
        self.main.extend(one.commit for _, one in pairs)
        self.disk.landings.extend(number for number, _ in pairs)
        self.disk.point()
        return Landed(old=now, new=candidate.commit)

    async def has(self, worktree: Worktree, commit: str = "") -> bool:
        """Whether a commit, or the worktree, is there."""
        return commit in self.disk.trees if commit else worktree.attempt in self.disk.worktrees

    async def landed(self, commits: Sequence[str], *, settle: bool = False) -> str:
        """Which of the commits main holds."""
        self.disk.point()
        here = self.disk.branches.get(self.main_branch, [])
        return next((one for one in reversed(commits) if one in here), "")

    async def release(self, worktree: Worktree) -> None:
        """The worktree goes, if it is still there."""
        self.disk.point()
        self.disk.worktrees.pop(worktree.attempt, None)
        self.disk.point()


@dataclass
class MemoryIndex:
    """Knows one file, which two tests reach."""

    async def relevant_files(self, task: str, limit: int = 5, **more: object) -> list[RelevantFile]:
        """Return always the same file."""
        return [RelevantFile(path="a.py", score=1.0, reasons=("word",))]

    async def get_summary(self, max_tokens: int = 4000, task: str | None = None) -> str:
        """One line."""
        return "Codebase Summary\nTotal modules: 1"

    async def impact(self, paths: Sequence[str] | None = None, **more: object) -> Impact:
        """One test reaches everything."""
        return Impact(paths=tuple(paths or ()), tests=("test_a.py",))

    async def has_test_coverage(self, path: str) -> bool:
        """Everything is covered."""
        return True


@dataclass
class MemoryJournal:
    """Events in a list; each append may be the last thing the process does."""

    disk: Disk
    sessions: Sessions | None = None

    async def begin(
        self, task: str, *, edit: str = "", facts: Mapping[str, Json] | None = None, **more: object
    ) -> int:
        """Return the next id; its first event is stored with it."""
        self.disk.point()
        attempt = len(self.disk.events) + 1
        self.disk.events[attempt] = []
        self._store(attempt, "planned", {"task": task, "edit": edit, "facts": dict(facts or {})})
        self.disk.point()
        return attempt

    async def append(
        self, attempt: int, kind: str, data: Mapping[str, Json] | None = None
    ) -> Event:
        """One more event."""
        self.disk.point()
        event = self._store(attempt, kind, data or {})
        self.disk.point()
        return event

    async def events(self, attempt: int) -> list[Event]:
        """The events so far."""
        return list(self.disk.events.get(attempt, []))

    async def finish(
        self, attempt: int, outcome: Outcome, *, stage: str = "ended", **more: object
    ) -> None:
        """The last event."""
        self.disk.point()
        self._store(attempt, "ended", {"outcome": outcome.value, "stage": stage})
        self.disk.ended[attempt] = (outcome, stage)
        self.disk.point()

    async def unfinished(self, edit: str = "") -> list[int]:
        """The attempts without a last event."""
        return [one for one in await self.of_edit(edit) if one not in self.disk.ended]

    async def of_edit(self, edit: str) -> list[int]:
        """The attempts of a self-edit; of all, where none is named."""
        attempts = self.disk.events.items()
        return [n for n, (first, *_) in attempts if edit in ("", first.data["edit"])]

    async def similar_attempts(self, task: str, **more: object) -> list[SimilarAttempt]:
        """Return nothing alike."""
        return []

    async def dead_end(self, task: str = "", **more: object) -> None:
        """Warn of nothing."""

    async def lessons(self, **more: object) -> list[Lesson]:
        """Return what was learnt."""
        return list(self.disk.lessons)

    async def learn(self, lesson: Lesson) -> Lesson:
        """Stored once."""
        self.disk.point()
        if lesson not in self.disk.lessons:
            self.disk.lessons.append(lesson)
        return lesson

    async def used(self, lesson: int, attempt: int, outcome: Outcome) -> None:
        """Not counted here."""

    def _store(self, attempt: int, kind: str, data: Mapping[str, Json]) -> Event:
        events = self.disk.events[attempt]
        at = _START + timedelta(seconds=len(events))
        event = Event(attempt=attempt, sequence=len(events) + 1, kind=kind, at=at, data=dict(data))
        events.append(event)
        return event


@dataclass
class MemoryReflection:
    """Says the same of every failure."""

    async def analyse(self, attempt: ModificationAttempt, **more: object) -> Failure:
        """The failing test, with a mark of its own for each edit."""
        return Failure(failing_tests=("test_a",), signature=f"bug in {attempt.diff.strip()}")

    async def lesson(self, attempt: ModificationAttempt, failure: Failure) -> Lesson | None:
        """One sentence."""
        return Lesson(text="do not write bugs")

    async def reflect_with_context(
        self,
        attempt: ModificationAttempt,
        similar_attempts: list[ModificationAttempt],
        *,
        failure: Failure | None = None,
    ) -> str:
        """One line."""
        return "What could be improved: everything"


@dataclass(frozen=True)
class MemoryRules:
    """Refuses whatever holds the word `forbidden`."""

    asks: bool = False
    tests_may_change: str = "audited"
    files: tuple[str, ...] = ("settings",)
    held: str = ""
    rule: str = ""

    def asks_for(self, paths: Sequence[str], risk: float) -> str:
        """Why a person is asked."""
        return self.held

    def approves(self, paths: Sequence[str], risk: float) -> str:
        """The rule that approves."""
        return self.rule

    def read(self, files: Files) -> Policy:
        """The same rules for every commit."""
        return cast("Policy", self)

    def judge(
        self, change: Change, *, before: Files, after: Files, covered: frozenset[str]
    ) -> Verdict:
        """One finding for each forbidden file."""
        bad = [path for path, text in after.items() if text is not None and b"forbidden" in text]
        return Verdict(findings=tuple(Finding(rule="forbidden", path=path) for path in bad))


@dataclass
class MemoryEditor:
    """Writes `acts[n]` (path to text) for attempt n; a text that begins with "+" is appended.

    It may die before and after each file.
    """

    disk: Disk
    acts: Mapping[int, Mapping[str, str]]
    name: str = "memory"

    def spec(self) -> Mapping[str, Json] | None:
        """It can always be had again."""
        return {"kind": "memory"}

    async def edit(self, assignment: Assignment) -> EditReport:
        """Write the files of the attempt's act, one after the other."""
        act = self.acts.get(assignment.attempt, self.acts[max(self.acts)])
        for path, text in act.items():
            self.disk.point()
            tree = self.disk.worktrees[assignment.worktree.attempt]
            tree[path] = tree.get(path, "") + text[1:] if text.startswith("+") else text
        self.disk.point()
        return EditReport(summary=f"wrote {', '.join(act)}")


def memory_services(disk: Disk, rules: MemoryRules | None = None) -> Services:
    """Return all services over one disk."""
    return Services(
        repository=cast("GitSafety", MemoryRepository(disk)),
        index=cast("CodebaseIndexer", MemoryIndex()),
        journal=cast("ModificationJournal", MemoryJournal(disk)),
        reflection=cast("ReflectionService", MemoryReflection()),
        rules=rules or MemoryRules(),
    )
