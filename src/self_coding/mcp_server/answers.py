"""What a model is told of a result, where the whole of it is too long or lacks the next step.

Every other operation answers with its result as it is. Texts are data from a repository or a
journal, bounded in length; whole diffs and outputs are resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_type_hints

from self_coding.mcp_server.bounds import BUDGET, PROSE
from self_coding.operation import OPERATIONS, spoken
from self_coding.self_edit.context import fit_parts
from self_coding.text import cut_middle, shorten
from self_coding.values import results
from self_coding.values.attempts import ModificationAttempt, Rate, SimilarAttempt, editor_output
from self_coding.values.code import (
    Impact,
    RelevantFile,
    SymbolUse,
    SymbolUsers,
)
from self_coding.values.edits import Begun, Context, SelfEditResult, Waiting
from self_coding.values.repository import Operation, RollbackPlan, Snapshot, UndoPlan

_WAITS = {
    "checked": "submit_edit(attempt={n}) lands it",
    "submit": "{hint}; then submit_edit(attempt={n}) again, or drop_edit",
    "process": "wait_edit(attempt={n}) waits on; only drop_edit ends it",
    "approval": "land_edit(attempt={n}) asks the person and lands it, drop_edit ends it",
}
PROSE_TOKENS = 3000
TEXT_LIMIT = 20_000  # characters of one text in an answer


@dataclass(frozen=True)
class Answer:
    """The shape of an answer, how it is made, and what it is when the person said no.

    `budget` is the most characters of it; `links` are its resources; `limited` are the lists that
    the argument `limit` cuts.
    """

    form: type
    of: Callable[[Any], Any]
    declined: Callable[[str, Mapping[str, Any]], object] = lambda why, arguments: None
    budget: int = BUDGET
    links: Callable[[Any], Mapping[str, str]] = lambda result: {}
    limited: tuple[str, ...] = ()


def shape(
    source: type, keys: str, doc: str, **computed: tuple[Any, Callable[[Any], object]]
) -> Answer:
    """Return an answer with some fields of `source` ("key" or "key=field") and computed ones."""
    pairs = [(pair.partition("=")[0], pair.rpartition("=")[2]) for pair in keys.split()]
    # A dataclass is made, so that the SDK publishes a schema of it as of any other result.
    hints = get_type_hints(source, localns=globals()) if pairs else {}
    columns = [(key, hints[name]) for key, name in pairs]
    columns += [(key, kind) for key, (kind, _) in computed.items()]
    # What was left out, and where it is.
    more: Any = ("more", dict[str, str] | None, field(default=None))
    form = make_dataclass(f"{source.__name__}Answer", [*columns, more], frozen=True, kw_only=True)
    form.__doc__ = doc

    def of(result: Any) -> Any:
        values = {key: getattr(result, name) for key, name in pairs}
        values |= {key: make(result) for key, (_, make) in computed.items()}
        return form(
            **{
                key: cut_middle(value, TEXT_LIMIT) if isinstance(value, str) else value
                for key, value in values.items()
            }
        )

    return Answer(form, of)


EDITED = shape(
    SelfEditResult,
    "success message attempt=attempt_id stage waiting worktree refused_by=by commit=commit_hash "
    "files=files_modified failing_tests lesson warning checkout lands_on",
    "How a self-edit ended, or what it waits for; its diff is the resource `attempt://ID/diff`.",
    findings=(list[str], lambda result: [str(finding) for finding in result.findings]),
    test_output=(
        str,
        lambda result: "" if result.success else cut_middle(result.test_results, 6_000),
    ),
    hint=(
        str,
        lambda result: (
            _WAITS.get(result.stage if result.success else result.waiting, "{hint}").format(
                hint=spoken(result.hint, calls=True) or "correct it in `worktree`",
                n=result.attempt_id,
            )
            if result.waiting or result.hint
            else ""
        ),
    ),
)
BEGUN = shape(
    Begun,
    "attempt lands_on",
    "Where the caller makes its edit, and what it should know first.",
    worktree=(str, lambda begun: str(begun.worktree.path)),
    branch=(str, lambda begun: begun.worktree.branch),
    base=(str, lambda begun: begun.worktree.base),
    context=(str, lambda begun: fit_parts(begun.context, PROSE_TOKENS).text),
    warning=(str, lambda begun: str(begun.context.warning or "")),
    conflicts=(list[str], lambda begun: list(begun.conflicts)),
    next=(
        str,
        lambda begun: (
            f"edit files under the worktree only, then submit_edit(attempt={begun.attempt})"
        ),
    ),
)
ATTEMPT = shape(
    ModificationAttempt,
    "id",
    "One attempt as the journal remembers it.",
    outcome=(str, lambda one: one.ended_as),
    files=(list[str], lambda one: _first(one.files_modified, 50)),
    task=(str, lambda one: cut_middle(one.task_description, 2_000)),
    at=(str, lambda one: one.timestamp.isoformat() if one.timestamp else ""),
    why=(str, lambda one: cut_middle(one.failure_analysis, 2_000)),
    lesson=(str, lambda one: cut_middle(one.reflection, 2_000)),
)
_NEXT = {
    "submit": "edit files under `worktree`, then submit_edit(attempt={0}); drop_edit ends it",
    "approval": "land_edit(attempt={0}) asks the person and lands it; drop_edit ends it",
    "resume": "a crash interrupted it: wait_edit(attempt={0}) goes on with it",
    "process": "wait_edit(attempt={0}) waits for it; drop_edit ends it",
}
LINE = shape(
    ModificationAttempt,
    "id",
    "One attempt in a list; `show_attempt` has all of it.",
    outcome=(str, lambda one: one.ended_as),
    files=(list[str], lambda one: _first(one.files_modified, 5)),
    task=(str, lambda one: shorten(one.task_description, 200)),
    at=(str, lambda one: one.timestamp.isoformat(timespec="seconds") if one.timestamp else ""),
    why=(str, lambda one: shorten(one.failure_analysis, 200)),
    lesson=(str, lambda one: shorten(one.reflection, 200)),
)
OPEN = shape(
    Waiting,
    "attempt waiting worktree=path why holder progress lands_on",
    "An attempt that has not ended, and the call that goes on with it.",
    task=(str, lambda one: cut_middle(one.task, 500)),
    since=(str, lambda one: one.since.isoformat()),
    minutes=(int, lambda one: int((datetime.now(UTC) - one.since).total_seconds() // 60)),
    next=(str, lambda one: _NEXT[one.waiting].format(one.attempt)),
)
OPENS = list[OPEN.form]  # type: ignore[name-defined]
STATUS = shape(
    results.Status,
    "repository main_branch commit",
    "How the repository stands; `failing` are tests that failed when last run on main as it is.",
    failing=(list[str], lambda found: found.failing),
    waiting=(OPENS, lambda found: [OPEN.of(one) for one in found.waiting]),
)


def _call(need: results.InboxItem) -> str:
    """Return the call that goes on with it; what no tool does is a command."""
    if need.action not in OPERATIONS or not OPERATIONS[need.action].tool:
        return f"the command `self-coding {need.action}`"
    if need.error:
        return f'{need.action}(task="Fix error {need.error}")'
    return need.action if need.attempt is None else f"{need.action}(attempt={need.attempt})"


NEED = shape(
    results.InboxItem,
    "kind attempt title why worktree=path",
    "Something that needs a person or a caller, and the call that goes on with it.",
    since=(str, lambda one: one.since.isoformat(timespec="seconds") if one.since else ""),
    expires=(str, lambda one: one.expires.isoformat(timespec="seconds") if one.expires else ""),
    next=(str, _call),
)
INBOX = shape(
    results.Inbox,
    "",
    "What needs somebody, most urgent first; `decided` are approvals of the past.",
    needs=(list[NEED.form], lambda found: [NEED.of(one) for one in found.needs]),  # type: ignore[name-defined]
    decided=(list[results.Decision], lambda found: found.decided),
)
ATTEMPTS = shape(
    results.Attempts,
    "has_more",
    "Attempts, newest first, and what has not ended; `has_more`: a larger `limit` tells even more.",
    attempts=(list[LINE.form], lambda found: [LINE.of(one) for one in found.attempts]),  # type: ignore[name-defined]
    waiting=(OPENS, lambda found: [OPEN.of(one) for one in found.waiting]),
)
EVENTS = list[dict[str, str]]
RECORD = shape(
    results.AttemptRecord,
    "",
    "All that is known of one attempt.",
    attempt=(ATTEMPT.form, lambda record: ATTEMPT.of(record.attempt)),
    events=(
        EVENTS,
        lambda record: [{"kind": one.kind, "at": one.at.isoformat()} for one in record.events],
    ),
    diff=(str, lambda record: record.attempt.diff),
    test_output=(str, lambda record: record.attempt.test_results),
    editor_output=(str, lambda record: editor_output(record.events)),
    mutants=(
        str,
        lambda record: (
            "\n".join([str(record.strength), *record.strength.survived]) if record.strength else ""
        ),
    ),
    waiting=(
        OPEN.form | None,
        lambda record: OPEN.of(record.waiting) if record.waiting else None,
    ),
)
ALIKE = shape(
    SimilarAttempt,
    "score reasons",
    "An earlier attempt and what makes it alike.",
    attempt=(LINE.form, lambda one: LINE.of(one.attempt)),
)
SIMILAR = shape(
    results.SimilarAttempts,
    "",
    "Earlier attempts, best first; `warning` says that the task is a known dead end.",
    similar=(list[ALIKE.form], lambda found: [ALIKE.of(one) for one in found.similar]),  # type: ignore[name-defined]
    warning=(str, lambda found: str(found.dead_end or "")),
)
RATES = shape(
    results.SuccessRates,
    "",
    "Success rates, and how good the memory itself is.",
    rates=(dict[str, Rate], lambda found: found.rates),
    memory=(dict[str, float], lambda found: found.quality),
    missed=(int, lambda found: found.missed),
)
FILES = shape(
    list,
    "",
    "The files that a task concerns, best first.",
    files=(list[RelevantFile], lambda files: files),
)


def _first(names: Sequence[str], count: int) -> list[str]:
    """Return the first names of a list inside an entry, and how many more there are."""
    more = len(names) - count
    return [*names[:count], *([f"and {more} more"] if more > 0 else [])]


def _dependents(impact: Impact) -> list[str]:
    """Return the dependents, those first that use a changed name, and of each the nearest."""
    tests = set(impact.tests)
    return [
        f"{one.path} ({one.distance} away{', uses ' * bool(one.uses)}"
        f"{', '.join(_first(one.uses, 3))})"
        for one in sorted(
            impact.dependents,
            key=lambda one: (not one.uses, one.distance, one.path in tests, one.path),
        )
    ]


def _blind_spots(impact: Impact) -> list[str]:
    """Return the lines that cannot be followed, those in the nearest dependents first."""
    away = {one.path: one.distance for one in impact.dependents} | dict.fromkeys(impact.paths, 0)
    spots = sorted(impact.blind_spots, key=lambda one: (away.get(one.path, 99), one.path, one.line))
    return [f"{one.path}:{one.line} {one.reason}" for one in spots]


IMPACT = shape(
    Impact,
    "risk complete",
    "What a change can break: who uses its names comes first; `counts` are of all there are.",
    paths=(list[str], lambda impact: list(impact.paths)),
    counts=(
        dict[str, int],
        lambda impact: {
            "dependents": len(impact.dependents),
            "using": sum(bool(one.uses) for one in impact.dependents),
            "tests": len(impact.tests),
            "blind_spots": len(impact.blind_spots),
        },
    ),
    dependents=(list[str], _dependents),
    tests=(list[str], lambda impact: list(impact.tests)),
    blind_spots=(list[str], _blind_spots),
)
USE = shape(SymbolUse, "path line how", "One line that uses a symbol, and how it does.")
USES = list[USE.form]  # type: ignore[name-defined]
USERS = shape(
    SymbolUsers,
    "definitions left_out",
    "Who uses a symbol: `uses` are certain, `unknown` share its name; `counts` are of all.",
    uses=(USES, lambda users: [USE.of(use) for use in users.uses]),
    unknown=(USES, lambda users: [USE.of(use) for use in users.unknown]),
    counts=(
        dict[str, int],
        lambda users: {
            "uses": len(users.uses) + users.more_uses,
            "unknown": len(users.unknown) + users.more_unknown,
        },
    ),
    unread_files=(int, lambda users: len(users.unread)),
)
SUMMARY = shape(str, "", "The code in a few thousand tokens.", text=(str, str))
CONTEXT = shape(Context, "", "All that an editor would be shown.", text=(str, lambda c: c.text))
SNAPSHOT = shape(
    Snapshot,
    "ref commit=commit_hash branch",
    "A snapshot, and what it does not hold; `tests_passed` is null where none ran.",
    tests_passed=(
        bool | None,
        lambda taken: taken.test_status if taken.test_output or not taken.test_status else None,
    ),
    uncaptured=(list[str], lambda taken: [f"{x.path}: {x.reason}" for x in taken.uncaptured]),
)
PLAN = shape(
    RollbackPlan,
    "target branch head_from head_to paths",
    "Exactly what a rollback would do, or did.",
    done=(bool, lambda plan: False),
    message=(str, lambda plan: ""),
)
UNDO_PLAN = shape(
    UndoPlan,
    "blocked",
    "What `undo` would take back; `blocked` says why it would be refused.",
    kind=(str, lambda plan: plan.operation.kind),
    reason=(str, lambda plan: plan.operation.reason),
    refs=(list[str], lambda plan: [f"{ref}: {now} -> {then}" for ref, now, then in plan.refs]),
    files=(list[str], lambda plan: [one.path for one in plan.files]),
)
UNDONE = shape(
    Operation,
    "kind",
    "An operation on the repository.",
    operation=(int | None, lambda operation: operation.id),
    done=(bool, lambda operation: True),
    message=(str, lambda operation: "undone"),
    refs=(list[str], lambda one: [f"{ref}: {old} -> {new}" for ref, old, new in one.refs]),
)


def _not_landed(why: str, given: Mapping[str, Any]) -> object:
    result = SelfEditResult(False, why, given["attempt"], stage="waiting", waiting="approval")
    return replace(EDITED.of(result), hint="it waits: `land_edit` asks again, `drop_edit` ends it")


def _not_rolled_back(why: str, given: Mapping[str, Any]) -> object:
    plan = RollbackPlan(target=given["target"], branch="", head_from="", head_to="")
    return replace(PLAN.of(plan), message=why)


ERROR = shape(
    results.ReportedError,
    "id title count first last",
    "A reported error, and the task that repairs it.",
    task=(str, lambda error: error.task),
)


SUBMITTED = shape(
    results.Submitted,
    "job repository",
    "A task that was handed to the fleet.",
    next=(str, lambda done: f"`workers` tells which attempt job {done.job} has become"),
)
FLEET = shape(results.FleetStatus, "workers jobs", "Who works, and what for.")
JOB = shape(results.FleetJob, "job state attempt said", "A job of the fleet.")


def _not_undone(why: str, given: Mapping[str, Any]) -> object:
    return UNDONE.form(operation=None, kind="", done=False, message=why, refs=[])


def _evidence(attempt: int | None) -> dict[str, str]:
    uri = f"attempt://{attempt}"
    return {"the whole diff": f"{uri}/diff", "the whole test output": f"{uri}/output"}


EDITED = replace(
    EDITED, links=lambda one: _evidence(one.attempt_id) if one.by and one.files_modified else {}
)
RECORD = replace(RECORD, links=lambda record: _evidence(record.attempt.id))
ANSWERS = {
    "self_edit": EDITED,
    "begin_edit": replace(BEGUN, budget=PROSE),
    "check_edit": EDITED,
    "submit_edit": EDITED,
    "wait_edit": EDITED,
    "land_edit": replace(EDITED, declined=_not_landed),
    "drop_edit": EDITED,
    "status": STATUS,
    "inbox": INBOX,
    "report_error": ERROR,
    "attempts": replace(ATTEMPTS, limited=("attempts",)),
    "show_attempt": RECORD,
    "similar_attempts": replace(SIMILAR, limited=("similar",)),
    "success_rates": RATES,
    "relevant_files": replace(FILES, limited=("files",)),
    "impact": IMPACT,
    "symbol_users": replace(USERS, limited=("uses", "unknown")),
    "code_summary": replace(SUMMARY, budget=PROSE),
    "context": replace(CONTEXT, budget=PROSE),
    "submit": SUBMITTED,
    "workers": FLEET,
    "cancel": JOB,
    "snapshot": SNAPSHOT,
    "plan_rollback": PLAN,
    "plan_undo": UNDO_PLAN,
    "rollback": Answer(
        PLAN.form,
        lambda done: replace(PLAN.of(done.plan), done=True, message=f"at {done.commit}"),
        _not_rolled_back,
    ),
    "undo": replace(UNDONE, declined=_not_undone),
}
