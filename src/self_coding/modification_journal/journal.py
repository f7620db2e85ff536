"""The async face of the journal: it gathers arguments, waits once, returns a value.

All work is blocking code in a thread (`adapters.threads`), so the event loop is never held up
and several `asyncio.run` calls may use one journal. The constructor touches nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.adapters.embedders import Embedder
from self_coding.adapters.paths import database_path
from self_coding.adapters.threads import in_thread
from self_coding.errors import JournalError, ModelError
from self_coding.modification_journal import (
    dead_ends,
    exchange,
    founding,
    lessons,
    quality,
    rates,
    record,
    search,
    truth,
)
from self_coding.modification_journal.fold import ENDED
from self_coding.modification_journal.record import Record
from self_coding.modification_journal.schema import APPLICATION, MIGRATIONS
from self_coding.modification_journal.store import Store
from self_coding.modification_journal.vectors import Nearest
from self_coding.values.attempts import (
    DeadEnd,
    Event,
    Json,
    Lesson,
    ModificationAttempt,
    Outcome,
    Rate,
    SimilarAttempt,
)

_log = logging.getLogger(__name__)
OUTCOME_WEIGHT = 16.0  # how much more a failure of the very same task counts than a success
_RESERVED = ("planned", "ended", "relabelled")


class ModificationJournal:
    """Remembers every attempt, durably, for every process that asks.

    Args:
        db_path: the database file; None: the one in the git common directory of the repository
            around the working directory, or outside any repository one in the user's data home.
        embedder: makes a vector of each task, which search then fuses with the words; None (the
            default) needs no model, and does as well on the benchmark.
    """

    def __init__(
        self, db_path: Path | str | None = None, *, embedder: Embedder | None = None
    ) -> None:
        self.db_path = Path(db_path) if db_path else database_path(Path.cwd(), "journal.db")
        self._database = Database(
            self.db_path, application=APPLICATION, migrations=MIGRATIONS, durable=True
        )
        self._store = Store(self._database)
        self._embedder = embedder
        self._nearest = Nearest(embedder.name, embedder.dimension) if embedder else None

    async def log_attempt(self, attempt: ModificationAttempt) -> int:
        """Store a finished attempt; its id, once it is on the disk."""
        if self._embedder is None:
            return await in_thread(self._log, attempt)
        entry = await in_thread(record.from_attempt, attempt)
        vector, model = await self._vector(entry.task, record.vector(attempt.embedding))
        return await in_thread(self._store.log, entry, vector, model)

    async def get_by_id(self, id: int) -> ModificationAttempt | None:
        """The attempt of that id, or None."""
        found = await in_thread(self._store.get, [_id(id)])
        return found.get(id)

    async def update_reflection(self, id: int, text: str) -> bool:
        """Add what was learnt to an attempt; False when there is none of that id."""
        return await in_thread(self._reflect, _id(id), text)

    async def find_similar(
        self,
        task_description: str,
        limit: int = 5,
        include_outcomes: Sequence[Outcome] | None = None,
    ) -> list[ModificationAttempt]:
        """The attempts most like a task, over all of them, best first."""
        found = await self.similar(task_description, limit=limit, outcomes=include_outcomes)
        return [item.attempt for item in found]

    async def get_success_rate(self) -> dict[str, float | int]:
        """Overall rate, and the number of successes, failures, rollbacks, all of them."""
        return await in_thread(rates.totals, self._database)

    async def get_recent_failures(self, limit: int = 10) -> list[ModificationAttempt]:
        """Failures and rollbacks, newest first."""
        return await in_thread(self._store.failures, _limit(limit))

    async def get_attempts_for_file(self, path: str, limit: int = 10) -> list[ModificationAttempt]:
        """The attempts that modified a file, newest first."""
        spelled = record.path(record.text(str(path), "path"))
        return await in_thread(self._store.for_file, spelled, _limit(limit))

    async def begin(
        self,
        task: str,
        *,
        edit: str = "",
        retry_count: int = 0,
        facts: Mapping[str, Json] | None = None,
    ) -> int:
        """Store that an attempt begins, before it has any effect; its id, once it is on the disk.

        Of `facts`, "editor", "model" and "commit" are what rates and truth go by.
        """
        entry = record.noted(
            Record(
                task=record.text(task, "task"),
                edit=record.text(edit, "edit"),
                retry_count=record.number(retry_count, "retry_count"),
            ),
            facts,
        )
        return await in_thread(self._store.begin, entry)

    async def append(
        self, attempt: int, kind: str, data: Mapping[str, Json] | None = None
    ) -> Event:
        """Store one more event of an attempt; durable when this returns, and never changed."""
        named = record.text(kind, "kind").strip()
        if not named or named in _RESERVED:
            raise JournalError(
                f"an event of kind {kind!r} cannot be appended",
                hint="begin, finish and relabel make those; any other name will do",
            )
        number = _id(attempt)
        return await in_thread(lambda: self._store.append(number, named, record.facts(data)))

    async def events(self, attempt: int) -> list[Event]:
        """The events of an attempt, in their order; [] where there is no such attempt."""
        return await in_thread(self._store.events, _id(attempt))

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
        facts: Mapping[str, Json] | None = None,
        embedding: Sequence[float] | None = None,
    ) -> None:
        """End an attempt and make it findable; ending it twice alike changes nothing.

        `commit` is what it landed as, by which a later revert is noticed.
        """
        texts = {
            "approach": approach,
            "diff": diff,
            "tests": test_results,
            "analysis": failure_analysis,
            "reflection": reflection,
            "stage": stage,
            "editor": editor,
            "model": model,
            "commit": commit,
        }
        number, ended = _id(attempt), record.outcome(outcome)
        entry = await in_thread(record.ending, ended, texts, files_modified, facts)
        vector, by = record.vector(embedding), ""
        if self._embedder is not None:
            known = await in_thread(self._store.get, [number])
            if number in known:
                vector, by = await self._vector(known[number].task_description, vector)
        await in_thread(self._store.finish, number, entry, vector, by)

    async def mark_crashed(self, attempt: int, why: str) -> None:
        """End an attempt whose process is gone: a failure, at stage "crashed"."""
        await self.finish(attempt, Outcome.FAILURE, failure_analysis=why, stage="crashed")

    async def unfinished(self) -> list[int]:
        """The attempts that have begun and not ended, oldest first."""
        return await in_thread(self._store.unfinished)

    async def stage(self, attempt: int) -> str:
        """How far an attempt came: its last stage, or how it ended."""
        found = await in_thread(self._store.stage, _id(attempt))
        if found is None:
            raise JournalError(f"there is no attempt {attempt}", hint="`recent` lists them")
        return found

    async def recent(
        self, limit: int = 20, outcomes: Iterable[Outcome] | None = None
    ) -> list[ModificationAttempt]:
        """The newest attempts that have ended, newest first."""
        return await in_thread(self._store.newest, _limit(limit), _outcomes(outcomes))

    async def similar(
        self,
        task: str,
        *,
        limit: int = 5,
        diff: str = "",
        files: Sequence[str] = (),
        outcomes: Iterable[Outcome] | None = None,
        outcome_weight: float = OUTCOME_WEIGHT,
    ) -> list[SimilarAttempt]:
        """The attempts most like a task, or like a diff, best first, each with its reasons.

        `outcome_weight` is how much more a failure of the same task counts than a success; 0
        ignores outcomes.
        """
        wanted = _outcomes(outcomes)
        meaning = await self._meaning(task)
        return await in_thread(
            lambda: search.find(
                self._database,
                record.text(task, "task"),
                limit=_limit(limit),
                diff=record.text(diff, "diff"),
                files=record.paths(files),
                outcomes=wanted,
                outcome_weight=outcome_weight,
                meaning=meaning,
            )
        )

    async def dead_end(
        self, task: str = "", *, diff: str = "", files: Sequence[str] = (), at: str = "plan"
    ) -> DeadEnd | None:
        """The failed attempt that this task or diff is about to repeat; None when there is none."""
        return await in_thread(
            lambda: dead_ends.find(
                self._database,
                record.text(task, "task"),
                diff=record.text(diff, "diff"),
                files=record.paths(files),
                at=at,
            )
        )

    async def learn(self, lesson: Lesson) -> Lesson:
        """Store a lesson, or merge it into the one that says the same; as it is stored."""
        return await in_thread(lessons.learn, self._database, lesson)

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
        """At most three lessons whose trigger this situation pulls, the most useful first.

        `contents` maps each path to the sha256 of its content now; with it, a lesson whose code
        has changed counts less and one whose code is gone is not shown.
        """
        return await in_thread(
            lessons.find,
            self._database,
            task=task,
            files=files,
            symbols=symbols,
            exception=exception,
            tests=tests,
            contents=contents,
            limit=_limit(limit),
        )

    async def used(self, lesson: int, attempt: int, outcome: Outcome) -> None:
        """Record that a lesson was shown to an attempt, and how that ended."""
        await in_thread(
            lessons.used, self._database, _id(lesson), _id(attempt), record.outcome(outcome)
        )

    async def rates(self, by: str | None = None) -> dict[str, Rate]:
        """Success rates with intervals: overall, or by "area", "editor", "model", "period"."""
        return await in_thread(rates.rates, self._database, by)

    async def relabel(self, reverted: Mapping[str, str]) -> list[int]:
        """Re-label the attempts that landed as these commits (commit -> reason) and were undone.

        The ids of those whose outcome changed.
        """
        return await in_thread(truth.relabel, self._store, dict(reverted))

    async def scan(self, log: str) -> list[int]:
        """Re-label what main's history says was reverted; the ids whose outcome changed.

        `log` is the output of `git log --format=%x1e%H%x1f%B`.
        """
        return await in_thread(truth.scan, self._store, log)

    async def quality(self, contents: Mapping[str, str] | None = None) -> dict[str, float]:
        """How many lessons there are, and the shares that are junk, duplicate, stale, never used.

        `contents` maps each path to the sha256 of its content now; stale is judged by it.
        """
        return await in_thread(quality.measure, self._database, contents)

    async def lesson_worth(self, lesson: int) -> dict[str, Rate]:
        """How attempts ended "with" a lesson, and "without" it on the same files."""
        return await in_thread(quality.worth, self._database, _id(lesson))

    async def export_lines(self) -> list[str]:
        """Everything in the journal as JSON lines; `import_lines` takes them back."""
        return await in_thread(exchange.export_lines, self._database)

    async def import_lines(self, lines: Iterable[str]) -> int:
        """Add exported attempts, under new ids; how many were added."""
        return await in_thread(exchange.import_lines, self._store, list(lines))

    async def import_founding(self, path: Path | str) -> int:
        """Add every attempt of a founding version's database; how many were added."""
        return await in_thread(self._import_founding, Path(path))

    async def close(self) -> None:
        """Close the database; the next call opens it again."""
        await in_thread(self._database.close)

    async def _vector(self, task: str, given: list[float] | None) -> tuple[list[float] | None, str]:
        """The vector to store and the model that made it; a model that fails is no reason to
        lose the attempt."""
        if given is not None or self._embedder is None or not task.strip():
            return given, ""
        try:
            made = await self._embedder.embed([task])
        except ModelError as error:
            _log.warning("no vector for an attempt: %s", error)
            return None, ""
        return record.vector(made[0]), self._embedder.name

    async def _meaning(self, task: str) -> search.Meaning | None:
        if self._nearest is None:
            return None
        vector, _ = await self._vector(await in_thread(record.text, task, "task"), None)
        return search.Meaning(vector, self._nearest) if vector else None

    def _log(self, attempt: ModificationAttempt) -> int:
        return self._store.log(record.from_attempt(attempt), record.vector(attempt.embedding))

    def _import_founding(self, path: Path) -> int:
        return exchange.add(self._store, founding.tales(path))

    def _reflect(self, attempt: int, reflection: str) -> bool:
        if self._store.stage(attempt) is None:
            return False
        cleaned = record.text(reflection, "reflection")
        self._store.append(attempt, "reflected", {"reflection": cleaned})
        return True


def _id(value: int) -> int:
    return record.number(value, "an id")


def _limit(value: int) -> int:
    return max(0, min(record.number(value, "limit"), 100_000))


def _outcomes(values: Iterable[Outcome] | None) -> list[Outcome] | None:
    return None if values is None else [record.outcome(value) for value in values]
