"""The async face of the journal: it gathers arguments, waits once, returns a value.

All work is blocking code in a thread (`adapters.threads`), so the event loop is never held up
and several `asyncio.run` calls may use one journal. The constructor touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from self_coding.adapters.paths import database_path
from self_coding.adapters.threads import in_thread
from self_coding.errors import JournalError
from self_coding.modification_journal import attempts, lessons, listing, record, search
from self_coding.modification_journal.queries import Queries, Store
from self_coding.modification_journal.ranking import Features, features
from self_coding.modification_journal.record import ENDED, PLANNED, REFLECTED, RELABELLED, Record
from self_coding.values.attempts import (
    AttemptLine,
    DeadEnd,
    Event,
    Json,
    Lesson,
    ModificationAttempt,
    Outcome,
    Rate,
    SimilarAttempt,
)

if TYPE_CHECKING:
    from self_coding.adapters.db import Sessions

_T = TypeVar("_T")
_IDS = 500  # that one question may name


class ModificationJournal:
    """Remembers every attempt, durably, for every process that asks.

    Args:
        db_path: the database file; None: the one in the git common directory of the repository
            around the working directory, or outside any repository one in the user's data home.
            Or `postgresql://USER@HOST/DATABASE?schema=NAME`, with a schema for each repository.
    """

    def __init__(self, db_path: Path | str | None = None) -> None:
        self.db_path: Path | None = None  # a file, where it is one
        self._store: Store
        if str(db_path).startswith(("postgresql://", "postgres://")):
            from self_coding.modification_journal.postgres import PostgresStore

            self._store = PostgresStore(str(db_path))
            return
        from self_coding.modification_journal.store import SQLiteStore

        self.db_path = Path(db_path) if db_path else database_path(Path.cwd(), "journal.db")
        self._store = SQLiteStore(self.db_path)

    async def log_attempt(self, attempt: ModificationAttempt) -> int:
        """Store a finished attempt; return its id, once it is on the disk."""
        return await in_thread(attempts.log, self._store, attempt)

    async def get_by_id(self, id: int) -> ModificationAttempt | None:
        """Return the attempt of that id, or None."""
        number = _id(id)
        return await self._read(lambda queries: queries.attempts([number]).get(number))

    async def update_reflection(self, id: int, text: str) -> bool:
        """Add what was learnt to an attempt; return False when there is none of that id."""
        number = _id(id)

        def reflect() -> bool:
            with self._store.read() as queries:
                if queries.stage(number) is None:
                    return False
            learnt: dict[str, Json] = {"reflection": record.text(text, "reflection")}
            attempts.append(self._store, number, REFLECTED, learnt)
            return True

        return await in_thread(reflect)

    async def find_similar(
        self,
        task_description: str,
        limit: int = 5,
        include_outcomes: Sequence[Outcome] | None = None,
    ) -> list[ModificationAttempt]:
        """Return the attempts most like a task, over all of them, best first."""
        hits = await self.similar_attempts(task_description, limit=limit, outcomes=include_outcomes)
        return [hit.attempt for hit in hits]

    async def get_success_rate(self) -> dict[str, float | int]:
        """Return the overall rate, and the number of successes, failures, rollbacks, all."""
        return await in_thread(attempts.totals, self._store)

    async def get_recent_failures(self, limit: int = 10) -> list[ModificationAttempt]:
        """Return failures and rollbacks, newest first."""
        return await self.attempts(limit, (Outcome.FAILURE, Outcome.ROLLBACK))

    async def get_attempts_for_file(self, path: str, limit: int = 10) -> list[ModificationAttempt]:
        """Return the attempts that modified a file, newest first."""
        spelled = record.path(record.text(str(path), "path"))
        return await self._read(lambda queries: queries.attempts_for_file(spelled, _limit(limit)))

    async def begin(
        self,
        task: str,
        *,
        edit: str = "",
        retry_count: int = 0,
        facts: Mapping[str, Json] | None = None,
    ) -> int:
        """Store that an attempt begins, before it has any effect; its id, once it is on the disk.

        Of `facts`, "editor", "model" and "commit" are what rates and reverts go by.
        """
        entry = Record(
            task=record.text(task, "task"),
            edit=record.text(edit, "edit"),
            retry_count=record.number(retry_count, "retry_count"),
        )
        return await in_thread(attempts.begin, self._store, entry.note(facts))

    async def append(
        self, attempt: int, kind: str, data: Mapping[str, Json] | None = None
    ) -> Event:
        """Store one more event of an attempt; durable when this returns, and never changed."""
        name = record.text(kind, "kind").strip()
        if name in ("", PLANNED, ENDED, RELABELLED):
            raise JournalError(
                f"an event of kind {kind!r} cannot be appended",
                hint="begin, finish and relabel make those; any other name will do",
            )
        number = _id(attempt)
        return await in_thread(
            lambda: attempts.append(self._store, number, name, record.facts(data))
        )

    async def events(self, attempt: int) -> list[Event]:
        """Return the events of an attempt, in their order; [] where there is no such attempt."""
        number = _id(attempt)
        return await self._read(lambda queries: queries.events(number))

    async def finish(
        self,
        attempt: int,
        outcome: Outcome,
        *,
        approach: str = "",
        files_modified: Sequence[str] = (),
        diff: str = "",
        test_results: str = "",
        failure_analysis: str = "",
        reflection: str = "",
        stage: str = ENDED,
        editor: str = "",
        model: str = "",
        commit: str = "",
    ) -> None:
        """End an attempt and make it findable; ending it twice alike changes nothing.

        `commit` is what it landed as, by which a later revert is noticed.
        """
        texts = {
            "approach": approach,
            "diff": diff,
            "test_results": test_results,
            "failure_analysis": failure_analysis,
            "reflection": reflection,
            "stage": stage,
            "editor": editor,
            "model": model,
            "commit": commit,
        }
        number, how = _id(attempt), record.outcome(outcome)

        def finish() -> None:
            attempts.finish(self._store, number, record.ending(how, texts, files_modified))

        await in_thread(finish)

    async def landed_as(self, commit: str) -> list[int]:
        """Return the attempts that landed as this commit."""
        return await self._read(lambda queries: queries.landed_as(commit))

    async def unfinished(self, edit: str = "") -> list[int]:
        """Return the attempts that have begun and not ended, oldest first; of one self-edit."""
        return await self._read(lambda queries: queries.unfinished(edit))

    async def of_edit(self, edit: str) -> list[int]:
        """Return the attempts of a self-edit, oldest first."""
        return await self._read(lambda queries: listing.of_edit(queries, edit))

    @property
    def sessions(self) -> Sessions | None:
        """What holds self-edits on the connection that writes; None for a file."""
        return self._store.sessions

    async def stage(self, attempt: int) -> str:
        """Return how far an attempt came: its last stage, or how it ended."""
        number = _id(attempt)
        return await self._read(lambda queries: queries.record(number).stage)

    async def attempts(
        self, limit: int = 20, outcomes: Iterable[Outcome] | None = None
    ) -> list[ModificationAttempt]:
        """Return the newest attempts that have ended, newest first."""
        wanted = _outcomes(outcomes)
        return await self._read(lambda queries: queries.newest(_limit(limit), wanted))

    async def lines(
        self,
        *,
        words: str = "",
        state: str = "",
        editor: str = "",
        path: str = "",
        before: int | None = None,
        ids: Collection[int] | None = None,
        since: datetime | None = None,
        limit: int = 50,
    ) -> list[AttemptLine]:
        """Return attempts as a list shows them, newest first, those that go on as well.

        Args:
            words: stand in the task, in what failed or in the paths.
            state: a stage, an outcome, or "open".
            editor: who made the edit.
            path: what was changed.
            before: only attempts older than this one.
            ids: only these.
            since: only those that began then or later.
            limit: the most.
        """
        wanted = None if ids is None else [*dict.fromkeys(map(_id, ids))][:_IDS]
        return await self._read(
            lambda queries: listing.lines(
                queries,
                words=record.text(words, "words"),
                state=record.text(state, "state"),
                editor=record.text(editor, "editor"),
                path=record.path(record.text(path, "path")),
                before=before,
                ids=wanted,
                since=_microseconds(since) if since else 0,
                limit=_limit(limit),
            )
        )

    async def daily(self) -> list[tuple[int, str, int]]:
        """Return (day since 1970, outcome, attempts) of all that rates count."""
        return await self._read(listing.daily)

    async def recent_events(self, kinds: Collection[str], limit: int = 200) -> list[Event]:
        """Return the newest events of some kinds among the newest 500 attempts, newest first."""
        return await self._read(
            lambda queries: listing.recent_events(queries, kinds, _limit(limit))
        )

    async def refused_by_tests(self) -> int:
        """Return how many of the newest 500 attempts were refused since tests failed."""
        return await self._read(listing.refused_by_tests)

    async def recalled(self) -> dict[str, Rate]:
        """Return how those of the newest 500 attempts ended that were shown lessons, similar
        attempts, a warning, or nothing; one that was shown several counts under each."""
        found = await self._read(listing.recalled)
        return {name: attempts.wilson(*counted) for name, counted in found.items()}

    async def spent(self, since: datetime) -> tuple[int, float]:
        """Return how many attempts began since then, and what their editors say they cost."""
        return await self._read(lambda queries: listing.spent(queries, _microseconds(since)))

    async def mark(self) -> str:
        """Return a text that is another one whenever an attempt has begun, gone on or ended."""
        return await self._read(listing.mark)

    async def similar_attempts(
        self, task: str, *, limit: int = 5, outcomes: Iterable[Outcome] | None = None
    ) -> list[SimilarAttempt]:
        """Return the attempts most like a task, best first, each with its reasons."""
        wanted = _outcomes(outcomes)
        return await in_thread(
            lambda: search.find(self._store, _query(task), _limit(limit), wanted)
        )

    async def dead_end(
        self, task: str = "", *, diff: str = "", files: Sequence[str] = (), at: str = "plan"
    ) -> DeadEnd | None:
        """Return the failed attempt that a task or diff is about to repeat, or None."""
        return await in_thread(lambda: search.dead_end(self._store, _query(task, diff, files), at))

    async def learn(self, lesson: Lesson) -> Lesson:
        """Store a lesson, or merge it into the one that says the same; return it as stored."""
        return await in_thread(lessons.learn, self._store, lesson)

    async def lessons(
        self,
        *,
        task: str = "",
        files: Sequence[str] = (),
        symbols: Sequence[str] = (),
        exception: str = "",
        tests: Sequence[str] = (),
        contents: Mapping[str, str] | None = None,
        limit: int = 3,
    ) -> list[Lesson]:
        """Return at most three lessons that this situation pulls, the most useful first.

        `contents` maps each path to the sha256 of its content now; with it, a lesson whose code
        has changed counts less and one whose code is gone is not shown.
        """
        situation = Lesson(
            text=task,
            files=tuple(map(record.path, files)),
            symbols=tuple(symbols),
            exception=exception,
            tests=tuple(tests),
        )
        return await in_thread(lessons.find, self._store, situation, contents, _limit(limit))

    async def used(self, lesson: int, attempt: int, outcome: Outcome) -> None:
        """Store that a lesson was shown to an attempt, and how that ended."""
        how = record.outcome(outcome)
        await in_thread(lessons.used, self._store, _id(lesson), _id(attempt), how)

    async def success_rates(self, by: str | None = None) -> dict[str, Rate]:
        """Return rates with intervals: overall, or by "area", "editor", "model", "period"."""
        return await in_thread(attempts.rates, self._store, by)

    async def scan(self, log: str) -> list[int]:
        """Re-label what main's history says was reverted; the ids whose outcome changed.

        `log` is the output of `git log --format=%x1e%H%x1f%B`.
        """
        return await in_thread(attempts.scan, self._store, log)

    async def follow_undo(self, undone: Mapping[str, str], standing: Collection[str]) -> list[int]:
        """Re-label the attempts whose landing (commit -> reason) was undone, and those that stand
        again; the ids whose outcome changed."""
        return await in_thread(attempts.follow_undo, self._store, undone, standing)

    async def quality(self, contents: Mapping[str, str] | None = None) -> dict[str, float]:
        """Return how many lessons there are, and which shares are junk, duplicate, stale, unused.

        `contents` maps each path to the sha256 of its content now; stale is judged by it.
        """
        return await in_thread(lessons.quality, self._store, contents)

    async def anchored_paths(self) -> list[str]:
        """Return the files by whose contents `quality` judges what is stale."""
        return await in_thread(lessons.anchored_paths, self._store)

    async def export_lines(self) -> list[str]:
        """Return everything in the journal as JSON lines; `import_lines` takes them back."""
        from self_coding.modification_journal import transfer

        return await in_thread(transfer.export_lines, self._store)

    async def import_lines(self, lines: Iterable[str]) -> int:
        """Add exported attempts, under new ids; return how many were added."""
        from self_coding.modification_journal import transfer

        return await in_thread(transfer.import_lines, self._store, list(lines))

    async def copy_from(
        self, source: ModificationJournal, told: Callable[[int, int], None] = lambda *_: None
    ) -> int:
        """Become a copy of another journal, numbers included; go on where an earlier copy ended.

        Args:
            source: the journal to copy; it can be used meanwhile.
            told: is told now and then how many attempts are done, and of how many.

        Returns:
            How many attempts were new or had gone on.

        Raises:
            JournalError: this journal has attempts of its own.
        """
        from self_coding.modification_journal import table_copy

        return await in_thread(table_copy.copy, source._store, self._store, told)

    async def import_founding(self, path: Path | str) -> int:
        """Add every attempt of a founding version's database; return how many were added."""
        from self_coding.modification_journal import transfer

        return await in_thread(transfer.import_founding, self._store, Path(path))

    # the old names, until 0.2
    similar, recent, rates = similar_attempts, attempts, success_rates

    async def close(self) -> None:
        """Close the database; the next call opens it again."""
        await in_thread(self._store.close)

    async def _read(self, ask: Callable[[Queries], _T]) -> _T:
        def inside() -> _T:
            with self._store.read() as queries:
                return ask(queries)

        return await in_thread(inside)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _id(value: int) -> int:
    return record.number(value, "an id")


def _limit(value: int) -> int:
    return max(0, min(record.number(value, "limit"), 100_000))


def _outcomes(values: Iterable[Outcome] | None) -> list[Outcome] | None:
    return None if values is None else [record.outcome(value) for value in values]


def _query(task: str, diff: str = "", files: Sequence[str] = ()) -> Features:
    spelled = record.paths(files)
    return features(record.text(task, "task"), files=spelled, diff=record.text(diff, "diff"))
