"""Commands that ask the index: relevant, impact, users, summary, context."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from self_coding.cli.session import AT_LEAST_ONE, Session, table
from self_coding.errors import IndexerError
from self_coding.values.code import Impact, RelevantFile, SymbolUse, SymbolUsers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from self_coding.app import App


_TOKENS = click.option(
    "--tokens",
    type=AT_LEAST_ONE,
    default=4000,
    show_default=True,
    help="The most tokens it may count.",
)


@click.command("relevant")
@click.argument("task")
@click.option(
    "--limit",
    "-n",
    type=AT_LEAST_ONE,
    default=5,
    show_default=True,
    help="How many files at the most.",
)
@click.option("--explain", is_flag=True, help="Say why each file was chosen.")
@click.pass_obj
def relevant_command(session: Session, task: str, limit: int, *, explain: bool) -> None:
    """The files that a task concerns, best first.

    TASK is text: a sentence, a bug report, a traceback.
    """
    from self_coding.app import open_app

    found = session.run(open_app(session.repo).indexer.relevant(task, limit=limit))
    session.emit(found, _relevant_text(found, explain=explain))


def _relevant_text(found: list[RelevantFile], *, explain: bool) -> str:
    if not found:
        return "nothing in the code matches these words"
    if not explain:
        return "\n".join(file.path for file in found)
    return table([[f"{file.score:.2f}", file.path, "; ".join(file.reasons)] for file in found])


@click.command("impact")
@click.argument("paths", nargs=-1)
@click.option("--diff", type=click.File("r"), help="Take the paths from a diff ('-' for stdin).")
@click.pass_obj
def impact_command(session: Session, paths: tuple[str, ...], diff: TextIO | None) -> None:
    """What a change of PATHS can break: dependents, tests, blind spots.

    Without PATHS and --diff: what is uncommitted now.
    """
    from self_coding.app import open_app

    app = open_app(session.repo)

    async def ask() -> Impact:
        if diff:
            return await app.indexer.impact(diff=diff.read())
        await _refuse_strangers(app, paths)
        chosen = list(paths) or await app.git.get_modified_files()
        return await app.indexer.impact(paths=chosen)

    impact = session.run(ask())
    session.emit(impact, _impact_text(impact))


async def _refuse_strangers(app: App, paths: tuple[str, ...]) -> None:
    """A mistyped path has no dependents, which must not look like good news."""
    outside = [path for path in paths if not _lies_in(app, path)]
    absent = [path for path in paths if not _is_there(app, path) and path not in outside]
    known = await app.git.read("HEAD", absent) if absent else {}
    strangers = [*outside, *(path for path in absent if known[path] is None)]
    if strangers:
        raise IndexerError(
            f"{strangers[0]} is neither in the working tree nor in the last commit",
            hint="give paths from the top of the repository, as `git ls-files --full-name` shows",
        )


def _lies_in(app: App, path: str) -> bool:
    """Whether a path stays in the working tree, by its letters alone."""
    return Path(os.path.normpath(app.top / path)).is_relative_to(app.top)


def _is_there(app: App, path: str) -> bool:
    """Whether the working tree has it; a name that no file can have is not there."""
    try:
        return (app.top / path).exists()
    except OSError:
        return False


def _impact_text(impact: Impact) -> str:
    if not impact.paths:
        return "nothing is changed"
    lines = [f"risk {impact.risk:.2f}: {', '.join(impact.paths)}"]
    lines.append(f"\ndependents ({len(impact.dependents)}):")
    lines += [f"  {one.distance}  {one.path}" for one in impact.dependents]
    lines.append(f"\ntests to run ({len(impact.tests)}):")
    lines += [f"  {path}" for path in impact.tests]
    if impact.blind_spots:
        lines.append(f"\nblind spots ({len(impact.blind_spots)}): static analysis cannot see past")
        lines += [f"  {spot.path}:{spot.line}  {spot.reason}" for spot in impact.blind_spots]
    if not impact.complete:
        lines.append("\nonly the full suite is safe")
    return "\n".join(lines)


@click.command("users")
@click.argument("symbol")
@click.option("--in", "path", help="The file that defines it, where several do.")
@click.option(
    "--limit",
    "-n",
    type=AT_LEAST_ONE,
    default=50,
    show_default=True,
    help="How many lines of each kind at the most (JSON has all).",
)
@click.pass_obj
def users_command(session: Session, symbol: str, path: str | None, limit: int) -> None:
    """Who uses SYMBOL, a function, class or `Class.method`; what is not certain is apart.

    Uses that resolve to it are certain; where only the name is the same, they may be uses.
    """
    from self_coding.app import open_app

    found = session.run(open_app(session.repo).indexer.users_of(symbol, path))
    session.emit(found, _users_text(found, limit))


def _users_text(found: SymbolUsers, limit: int) -> str:
    lines = [f"{found.symbol} is defined in {', '.join(found.definitions)}"]
    lines += _uses_text(f"uses ({len(found.uses)})", found.uses, limit)
    lines += _uses_text(f"may be uses ({len(found.unknown)})", found.unknown, limit)
    if found.unread:
        lines.append(f"\n{len(found.unread)} more files hold the word and were not read")
    return "\n".join(lines)


def _uses_text(title: str, uses: Sequence[SymbolUse], limit: int) -> list[str]:
    lines = [f"\n{title}:", *(f"  {use.path}:{use.line}  {use.how}" for use in uses[:limit])]
    if len(uses) > limit:
        lines.append(f"  ... {len(uses) - limit} more: --limit {len(uses)} shows them")
    return lines if uses else []


@click.command("summary")
@_TOKENS
@click.option("--task", help="Rank by what this task concerns.")
@click.pass_obj
def summary_command(session: Session, tokens: int, task: str | None) -> None:
    """The code in a few thousand tokens: modules, classes, functions."""
    from self_coding.app import open_app

    text = session.run(open_app(session.repo).indexer.get_summary(tokens, task=task))
    session.emit({"summary": text}, text)


@click.command("context")
@click.argument("task")
@_TOKENS
@click.pass_obj
def context_command(session: Session, task: str, tokens: int) -> None:
    """All that an editor would be shown for TASK: code, past attempts, lessons."""
    from self_coding.app import open_app

    context = session.run(open_app(session.repo).edit.context(task, max_tokens=tokens))
    session.emit(context, context.text)
