"""What a self-edit passes on: the task, what an editor is shown, what it answers, the result.

Values only. Who makes an edit and in which order things happen is the business of `self_edit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, TypeAlias

from self_coding.values.attempts import DeadEnd, Lesson, SimilarAttempt
from self_coding.values.code import BlindSpot, Dependent, RelevantFile
from self_coding.values.repository import Worktree
from self_coding.values.verdicts import Finding


@dataclass(frozen=True)
class Task:
    """What is asked, in words; `id` is the same for all attempts of one self-edit."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a self-edit stops by itself.

    `tries` attempts one after the other, `best_of` side by side in each try; `edit_seconds` of
    wall time for one edit; `edit_days` that a caller's edit waits before it expires,
    `approval_days` that a green one waits for approval; `cost` in the editor's own currency over
    all attempts (None: no bound), `day_cost` over all that began in 24 hours in this repository,
    and `day_attempts` how many may; `moves` how often a candidate is made anew because main has
    moved; `land_together` how many that wait green are tested and landed at once; `task_characters`
    and `context_tokens` bound what an editor is given.
    """

    tries: int = 1
    best_of: int = 1
    edit_seconds: float = 1800.0
    edit_days: float = 14.0
    approval_days: float = 14.0
    cost: float | None = None
    day_cost: float | None = None
    day_attempts: int | None = None
    moves: int = 5
    land_together: int = 8
    task_characters: int = 32_000
    context_tokens: int = 4000


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What an editor is told about an earlier try at the same task.

    `by` says who refused it ("editor", "empty", "policy", "conflict", "gate", "approval", ...);
    `output` is the telling part of the test output, shortened; `survivors` are changes of its code,
    made on purpose, that its tests did not notice.
    """

    # Read by pydantic: the key under which the journal stores the field.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {
        "alias_generator": lambda name: {"failing_tests": "failing"}.get(name, name)
    }

    attempt: int = 0
    by: str = ""
    reason: str = ""
    failing_tests: tuple[str, ...] = ()
    output: str = ""
    lesson: str = ""
    survivors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of a context: its heading, its text, and where the text comes from."""

    heading: str
    text: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Context:
    """All an editor is shown: code, dependents, tests, what was tried before, what was learnt.

    `parts` is what fitted into the token budget, most important first; `text` is the whole of
    it. The other fields hold the same facts as values, whole.
    """

    files: tuple[RelevantFile, ...] = ()
    code: tuple[str, ...] = ()
    summary: str = ""
    dependents: tuple[Dependent, ...] = ()
    tests: tuple[str, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    similar: tuple[SimilarAttempt, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    warning: DeadEnd | None = None
    feedback: tuple[Feedback, ...] = ()
    parts: tuple[Section, ...] = ()

    @property
    def text(self) -> str:
        """The parts as one Markdown text, each under its heading with its source."""
        return "\n\n".join(
            f"## {part.heading}\n({part.source})\n\n{part.text}" for part in self.parts
        )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An attempt that has not ended, and whom it waits for.

    `waiting` is "submit" (its caller edits in the worktree at `path`), "approval", "review" (others
    merge it at the forge, or close it: `resume` looks), "resume" (a crash interrupted it) or
    "process" (`holder` is at it right now, and told `progress` last).
    `why` is what the last submission was refused for, `rests` since when it has waited like this
    and `expires` until when it may; `change` is what would land, in one line, and `asks` what a
    person should know before it does, `lands_on` the branch that it is meant for.
    """

    attempt: int
    task: str
    since: datetime
    waiting: str
    path: str = ""
    why: str = ""
    holder: str = ""
    progress: str = ""
    rests: datetime | None = None
    expires: datetime | None = None
    change: str = ""
    asks: tuple[str, ...] = ()
    lands_on: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Something happened in a self-edit: the `step` it is in and one line about it.

    While tests run, `done` of `total` have ended, as far as they tell.
    """

    attempt: int
    step: str
    message: str = ""
    done: int = 0
    total: int = 0


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What an editor is given: change the files under `worktree.path` so that `task` is done.

    `say` takes one line of progress; `seconds` is the wall time that it may take.
    """

    task: Task
    worktree: Worktree
    context: Context
    attempt: int = 0
    seconds: float = 1800.0
    say: Callable[[str], None] = field(default=lambda line: None)


@dataclass(frozen=True, kw_only=True)
class EditReport:
    """What an editor says about its edit; what it really changed is read from the worktree.

    `summary` is the approach in words, `output` what it printed (capped). `cost`, `tokens` and
    `model` are None or empty where the editor does not know them. `whole`: it is an edit only
    with everything that it wrote, so that nothing may be left out, as what git ignores is.
    """

    summary: str = ""
    output: str = ""
    seconds: float = 0.0
    cost: float | None = None
    tokens: int | None = None
    model: str = ""
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An edit handed out to its caller: change the files under `worktree.path`, then submit
    `attempt`. `context` is what any editor would be shown; `conflicts` are paths in which the
    change of an earlier attempt and main are marked as conflicting; `lands_on` is the branch that
    it begins from and lands on."""

    attempt: int
    worktree: Worktree
    context: Context
    conflicts: tuple[str, ...] = ()
    lands_on: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked before a landing: the attempt, its task, and what would land.

    `findings` are broken rules of a policy that asks instead of refusing.
    """

    attempt: int
    task: str
    paths: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    tests: str = ""
    findings: tuple[Finding, ...] = ()
    diff: str = ""

    @property
    def text(self) -> str:
        """The question in one line."""
        files = f"{len(self.paths)} file{'' if len(self.paths) == 1 else 's'}"
        size = f"+{self.added} -{self.removed}"
        rules = f", {len(self.findings)} broken rules" if self.findings else ""
        return f"Land attempt {self.attempt}: {files}, {size}, {self.tests}{rules}?"


Answer: TypeAlias = "bool | str"
"""True: land it. False, or a text with the reason: do not."""

Ask: TypeAlias = Callable[[Question], "Answer | Awaitable[Answer]"]


@dataclass(frozen=True)
class SelfEditResult:
    """How a self-edit ended: the founding seven fields, then what was learnt on the way.

    `commit_hash` is the commit main was moved to, None where nothing landed. `stage` is
    "landed", "refused", "environment" (the tests cannot run here, or fail on main as well),
    "stopped", "held" (a dry run that would have landed), "passed over" (best of N), "checked",
    "testing" (a process is at it, and goes on without this call) or "waiting". `waiting` says
    for what it waits: "submit" (the caller edits, or corrects what was refused, in `worktree`),
    "approval" or "process". `by` says who refused. `attempts` are the ids of all attempts of
    the self-edit; `lands_on` is the branch that they are meant for.
    """

    success: bool
    message: str
    attempt_id: int | None = None
    files_modified: list[str] = field(default_factory=list)
    commit_hash: str | None = None
    test_results: str = ""
    diff: str = ""
    stage: str = ""
    by: str = ""
    waiting: str = ""
    worktree: str = ""
    hint: str = ""
    attempts: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    failing_tests: tuple[str, ...] = ()
    branch: str = ""
    checkout: str = ""
    sandbox: str = ""
    warning: str = ""
    lesson: str = ""
    reflection: str = ""
    cost: float | None = None
    lands_on: str = ""
