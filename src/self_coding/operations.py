"""The one table of operations: what the command line, the MCP server and Python offer.

An operation is an async function below. Its name is the tool's name and, with dashes, the
command's; its docstring is the help of both, its annotations are their arguments and the shape of
their answer. `cli.views` may say how a person reads its result, `mcp_server.answers` how a model
does. No rule is here: a function calls one service.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from self_coding.errors import EditError, IndexerError, JournalError
from self_coding.operation import (
    GO_BACK,
    OPERATIONS,
    About,
    Arg,
    AskFirst,
    AttemptId,
    Base,
    BestOf,
    Branch,
    By,
    Caller,
    Check,
    Command,
    DefinedIn,
    DiffOf,
    DryRun,
    EditorName,
    From,
    Limit,
    MeasureMutants,
    OfAttempt,
    OnlyAttempt,
    Operation,
    Outcomes,
    Patch,
    Paths,
    Propose,
    RankBy,
    Reason,
    RunTests,
    Spans,
    Steps,
    Summary,
    Symbol,
    Target,
    Task,
    Tokens,
    Tries,
    Wait,
    operation,
)

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.attempts import Lesson
    from self_coding.values.code import Impact, RelevantFile, SymbolUsers
    from self_coding.values.edits import Begun, Context, SelfEditResult
    from self_coding.values.repository import Operation as RepositoryOperation
    from self_coding.values.repository import RollbackPlan, Snapshot, UndoPlan
    from self_coding.values.results import (
        AttemptRecord,
        Attempts,
        Inbox,
        RolledBack,
        SimilarAttempts,
        Status,
        SuccessRates,
    )

CHANGE, LOOK_BACK, CODE = "Change code", "Look back", "Know the code"


# -- change code ------------------------------------------------------------------------------


@operation(CHANGE, "edit.self_edit", "try", effect="lands")
async def self_edit(
    app: App,
    caller: Caller,
    task: Task,
    patch: Patch = None,
    command: Command = None,
    editor: EditorName = None,
    tries: Tries = None,
    best_of: BestOf = None,
    ask: AskFirst = False,
    propose: Propose = False,
    dry_run: DryRun = False,
    branch: Branch = "",
    base: Base = "",
    wait: Wait = None,
) -> SelfEditResult:
    """Apply a patch, or let an editor make the change; it lands when its tests pass.

    The patch is a unified diff. An editor is one of the configured ones or a preset (aider,
    claude, codex, gemini, opencode, goose, model). Your checkout is not touched while it runs.
    """
    data = None if patch is None else patch.encode("utf-8", "surrogateescape")
    chosen = app.editor(patch=data, command=command, name=editor)
    await _before_edit(app, caller)
    return await app.edit.self_edit(
        await app.reported.task(task),
        editor=chosen,
        tries=tries,
        best_of=best_of,
        ask=caller.ask if ask else None,
        hold=propose,
        dry_run=dry_run,
        branch=branch,
        base=base,
        # Who waits as long as it takes sees it end here, and may interrupt it.
        wait=None if ask or wait == math.inf else wait,
        on_progress=caller.on_progress,
    )


@operation(CHANGE, "edit.begin_edit", "begin", effect="adds")
async def begin_edit(
    app: App,
    caller: Caller,
    task: Task,
    propose: Propose = False,
    from_attempt: From = None,
    branch: Branch = "",
    base: Base = "",
) -> Begun:
    """Create an isolated worktree for TASK, to edit in it with your own tools; then submit.

    The answer has the worktree and the context: code, past attempts, lessons.
    """
    await _before_edit(app, caller)
    return await app.edit.begin_edit(
        await app.reported.task(task),
        ask=propose,
        from_attempt=from_attempt,
        branch=branch,
        base=base,
    )


@operation(CHANGE, "edit.check_edit", effect="adds")
async def check_edit(
    app: App, caller: Caller, attempt: AttemptId, wait: Wait = None
) -> SelfEditResult:
    """Verify the unfinished edit of ATTEMPT: run the tests and rules, but do not land it yet."""
    return await app.edit.check_edit(attempt, wait=wait, on_progress=caller.on_progress)


@operation(CHANGE, "edit.submit_edit", effect="lands")
async def submit_edit(
    app: App,
    caller: Caller,
    attempt: AttemptId,
    summary: Summary = "",
    ask: AskFirst = False,
    wait: Wait = None,
) -> SelfEditResult:
    """Submit your finished edit of ATTEMPT: it is tested, and landed (merged) on main when green.

    It goes on in a process of its own when this call ends early: `wait_edit` waits for it.
    Refused, the edit stays there: correct what failed and submit the same attempt again.
    """
    return await app.edit.submit_edit(
        attempt,
        summary=summary,
        ask=caller.ask if ask else None,
        wait=None if ask else wait,  # a process of its own has nobody to ask
        on_progress=caller.on_progress,
    )


@operation(CHANGE, "edit.wait_edit", effect="lands")
async def wait_edit(
    app: App, caller: Caller, attempt: AttemptId, wait: Wait = None
) -> SelfEditResult:
    """Wait for the result of ATTEMPT, which is being tested, until it has ended.

    What a crash interrupted is started again.
    """
    return await app.edit.wait_edit(attempt, seconds=wait, on_progress=caller.on_progress)


async def _landing_question(app: App, attempt: int, wait: float | None = None) -> str:
    waiting = [one for one in await app.edit.waiting() if one.attempt == attempt]
    if not waiting or waiting[0].waiting != "approval":
        hint = f"show_attempt(attempt={attempt}) says how it stands"
        raise EditError(f"attempt {attempt} does not wait for approval", hint=hint)
    one = waiting[0]
    return f"Land attempt {attempt} on {one.lands_on}? Task: {one.task[:200]}"


@operation(CHANGE, "edit.land_edit", "land", effect="lands", question=_landing_question)
async def land_edit(
    app: App, caller: Caller, attempt: AttemptId, wait: Wait = None
) -> SelfEditResult:
    """Land an approved ATTEMPT: one that was proposed and waits green.

    The tree that lands is the one that was tested; if main has moved, it is tested anew.
    """
    return await app.edit.land_edit(attempt, wait=wait, on_progress=caller.on_progress)


@operation(CHANGE, "edit.drop_edit", "drop", effect="adds")
async def drop_edit(app: App, attempt: AttemptId, reason: Reason = "") -> SelfEditResult:
    """Discard an ATTEMPT that has not ended: give it up, unlanded; its commits are kept."""
    return await app.edit.drop_edit(attempt, reason)


@operation(CHANGE, "edit.resume", effect="lands", tool=False)
async def resume(
    app: App, caller: Caller, attempt: OnlyAttempt = None, check: Check = False
) -> list[SelfEditResult]:
    """Go on with the attempts that a crash interrupted, or with only one."""
    if check and attempt is not None:
        return [await app.edit.check_edit(attempt, on_progress=caller.on_progress)]
    return await app.edit.resume(attempt=attempt, on_progress=caller.on_progress)


async def _before_edit(app: App, caller: Caller) -> None:
    """Say, and record, what moved main past the guard since the last landing."""
    from self_coding.hooks.main_guard import note_bypass

    if bypass := await note_bypass(app):
        caller.say(f"bypassed: {bypass}")
        await app.edit.notices.tell("bypass", str(bypass), "self-coding verify", bypass.attempt)


# -- look back --------------------------------------------------------------------------------


@operation(LOOK_BACK, "edit.status")
async def status(app: App) -> Status:
    """Tell which edits are unfinished, the next step of each, and whether main is red.

    What waits from an earlier session is here, with its worktree.
    """
    await app.catch_up()
    return await app.edit.status()


@operation(LOOK_BACK, "edit.inbox")
async def inbox(app: App) -> Inbox:
    """Tell what needs you, most urgent first, each with the next step; and what was decided.

    A red main, approvals, edits that were refused or are about to expire, what a crash interrupted,
    errors that were reported.
    """
    await app.catch_up()
    return await app.edit.inbox()


@operation(LOOK_BACK, "journal.attempts", "log")
async def attempts(app: App, limit: Limit = 20, outcome: Outcomes = None) -> Attempts:
    """Show the history: all attempts, newest first, landed or failed, and those under way."""
    from self_coding.values.attempts import Outcome
    from self_coding.values.results import Attempts

    await app.catch_up()
    wanted = [Outcome(value) for value in outcome or ()] or None
    ended = await app.journal.attempts(limit + 1, outcomes=wanted)
    is_open = not wanted and await app.journal.unfinished()
    waiting = await app.edit.waiting() if is_open else []
    return Attempts(attempts=ended[:limit], waiting=waiting, has_more=len(ended) > limit)


@operation(LOOK_BACK, "journal.get_by_id", "show")
async def show_attempt(
    app: App, attempt: AttemptId, mutants: MeasureMutants = False
) -> AttemptRecord:
    """Show one attempt whole: events, diff, test output, what failed and why."""
    from self_coding.values.results import AttemptRecord

    await app.catch_up()
    found = await app.journal.get_by_id(attempt)
    if found is None:
        raise JournalError(f"there is no attempt {attempt}", hint="`attempts` lists them")
    is_open = attempt in await app.journal.unfinished()
    waiting = [one for one in await app.edit.waiting() if one.attempt == attempt] if is_open else []
    events = await app.journal.events(attempt)
    # Asked only where there is something to tell: the service loads the gate, four times as much
    # as all else of this look-up.
    is_known = any(one.kind == "measured" or one.data.get("strength") for one in events)
    strength = None
    if mutants or is_known:
        strength = await app.edit.strength(attempt, measure=mutants)
    return AttemptRecord(
        attempt=found, events=events, waiting=next(iter(waiting), None), strength=strength
    )


@operation(LOOK_BACK, "journal.similar_attempts", "similar", "find_similar")
async def similar_attempts(app: App, task: Task, limit: Limit = 5) -> SimilarAttempts:
    """Find who tried something like TASK before: lessons, and whether it is a known dead end."""
    from self_coding.values.results import SimilarAttempts

    await app.catch_up()
    similar = await app.journal.similar_attempts(task, limit=limit)
    return SimilarAttempts(similar=similar, dead_end=await app.journal.dead_end(task))


@operation(LOOK_BACK, "journal.success_rates", "stats")
async def success_rates(app: App, by: By = None) -> SuccessRates:
    """Show statistics: how often edits and attempts succeed, and how good the memory is.

    Rates have their 95 % intervals.
    """
    from self_coding.values.results import SuccessRates

    await app.catch_up()
    rates = await app.journal.success_rates(by)
    anchored = await app.journal.anchored_paths()
    digests: dict[str, str] = {}
    if anchored:  # stale is a lesson whose code is another on main
        from hashlib import sha256

        contents = await app.git.read(await app.git.get_main_commit(), anchored)
        digests = {path: sha256(data).hexdigest() for path, data in contents.items() if data}
    quality = dict(await app.journal.quality(digests))
    missed = {one.attempt for one in await app.journal.recent_events(("missed",))}
    return SuccessRates(
        rates=rates,
        quality=quality,
        missed=len(missed),
        red=await app.journal.refused_by_tests(),
        shown=await app.journal.recalled(),
    )


@operation(LOOK_BACK, "journal.lessons", tool=False)
async def lessons(
    app: App,
    task: Annotated[str, Arg("What is to be done, in words.", positional=True)] = "",
    limit: Limit = 3,
) -> list[Lesson]:
    """List what was learnt that bears on TASK."""
    await app.catch_up()
    return await app.journal.lessons(task=task, limit=limit)


# -- know the code ----------------------------------------------------------------------------


@operation(CODE, "indexer.relevant_files", "relevant")
async def relevant_files(
    app: App, task: About, limit: Limit = 5, spans: Spans = False, max_tokens: Tokens = 4000
) -> list[RelevantFile]:
    """Find the source files that a bug report or a task concerns, best first.

    With spans, their functions and lines, too, with the code, in at most so many tokens.
    """
    return await app.indexer.relevant_files(task, limit=limit, spans=spans, max_tokens=max_tokens)


@operation(CODE, "indexer.impact")
async def impact(app: App, paths: Paths = None, diff: DiffOf = None) -> Impact:
    """Tell what a change of PATHS can break: affected modules, tests to run, blind spots.

    With neither paths nor a diff: what is uncommitted now.
    """
    if diff:
        return await app.indexer.impact(diff=diff, uses=True)
    # A mistyped path has no dependents, which must not look like good news; a deleted one has.
    inside = {path: Path(os.path.normpath(app.top / path)) for path in paths or ()}
    absent = [path for path, file in inside.items() if not os.path.lexists(file)]
    outside = [path for path, file in inside.items() if not file.is_relative_to(app.top)]
    held = [path for path in absent if path not in outside]
    committed = await app.git.read("HEAD", held) if held else {}
    unknown = [*outside, *(path for path in held if committed[path] is None)]
    if unknown:
        raise IndexerError(
            f"{unknown[0]} is neither in the working tree nor in the last commit",
            hint="`git ls-files` lists the paths",
        )
    changed = paths or await app.git.get_modified_files()
    return await app.indexer.impact(paths=changed, uses=True)


@operation(CODE, "indexer.symbol_users", "users")
async def symbol_users(
    app: App, symbol: Symbol, path: DefinedIn = None, limit: Limit = 50
) -> SymbolUsers:
    """List who calls or uses a function or class: all its references.

    Uses that resolve to it are certain; where only the name is the same, they may be uses.
    """
    users = await app.indexer.symbol_users(symbol, path)
    return replace(
        users,
        uses=users.uses[:limit],
        unknown=users.unknown[:limit],
        more_uses=max(0, len(users.uses) - limit),
        more_unknown=max(0, len(users.unknown) - limit),
    )


@operation(CODE, "indexer.get_summary", "summary")
async def code_summary(app: App, max_tokens: Tokens = 3000, task: RankBy = None) -> str:
    """Summarise the project's code in a few thousand tokens: an overview of all modules."""
    return await app.indexer.get_summary(max_tokens, task=task)


@operation(CODE, "edit.context")
async def context(app: App, task: Task, max_tokens: Tokens = 3000) -> Context:
    """Show what to read before TASK, as any editor is shown it: code, past attempts, lessons."""
    return await app.edit.context(task, max_tokens=max_tokens)


# -- go back ----------------------------------------------------------------------------------


@operation(GO_BACK, "git.snapshot", effect="adds")
async def snapshot(app: App, run_tests: RunTests = False) -> Snapshot:
    """Save the working tree with all uncommitted files, the index and HEAD, to be restored."""
    return await app.git.snapshot(run_tests=run_tests)


@operation(GO_BACK, "git.plan_rollback")
async def plan_rollback(app: App, target: Target) -> RollbackPlan:
    """Preview a rollback to TARGET: which files it would write or delete; nothing is changed."""
    return await app.git.plan_rollback(target)


async def _rollback_question(app: App, target: str) -> str:
    plan = await app.git.plan_rollback(target)
    touched = sum(one.action in ("write", "delete") for one in plan.paths)
    return f"Roll back to {target}: {touched} paths change. Go ahead?"


@operation(GO_BACK, "git.rollback", effect="restores", question=_rollback_question)
async def rollback(app: App, target: Target) -> RolledBack:
    """Go back to TARGET: restore a snapshot or a commit; `undo` takes it back.

    What the working tree holds now is captured first.
    """
    from self_coding.values.results import RolledBack

    plan = await app.git.plan_rollback(target)
    return RolledBack(commit=await app.git.rollback(target), plan=plan)


@operation(GO_BACK, "git.plan_undo")
async def plan_undo(app: App, attempt: OfAttempt = None) -> UndoPlan:
    """Tell what `undo` would take back, or why it would be refused; nothing is changed."""
    return await app.git.plan_undo(attempt=None if attempt is None else str(attempt))


async def _undo_question(app: App, steps: int = 1, attempt: int | None = None) -> str:
    of = "" if attempt is None else f" on attempt {attempt}"
    return f"Take back the last {steps} operation(s) of self-coding{of}?"


@operation(GO_BACK, "git.undo", effect="restores", question=_undo_question)
async def undo(app: App, steps: Steps = 1, attempt: OfAttempt = None) -> RepositoryOperation:
    """Take back what self-coding last did here: revert a landing or a rollback."""
    done = await app.git.undo(steps, attempt=None if attempt is None else str(attempt))
    await app.follow_undo()
    return done


@operation(GO_BACK, "git.redo", effect="restores", tool=False)
async def redo(app: App, steps: Steps = 1, attempt: OfAttempt = None) -> RepositoryOperation:
    """Do again what `undo` has taken back."""
    done = await app.git.redo(steps, attempt=None if attempt is None else str(attempt))
    await app.follow_undo()
    return done


# At the end: in help, what is registered first comes first.
from self_coding.incoming import (  # noqa: E402, F401
    cancel,
    digest,
    drop_error,
    report_error,
    submit,
    watch,
    worker,
    workers,
)
from self_coding.upkeep import explain, gc, operations, recover, verify  # noqa: E402, F401

#: Every name that is accepted, with the operation it means.
NAMES: Mapping[str, Operation] = {
    name: row for row in OPERATIONS.values() for name in (row.name, row.command, *row.old_names)
}
