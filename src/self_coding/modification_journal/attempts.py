"""Write attempts: each change is an appended event, and the row follows in one transaction.

Outcomes are kept true over time: what landed and was reverted later did not succeed. That is
read from main's history, and nothing is guessed: only a revert that names its commit counts, and
a revert that was itself reverted does not.

Success rates come from counters beside the attempts, changed when an attempt ends and when it is
re-labelled: reading one costs nothing, and what has not ended counts nowhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from self_coding.errors import JournalError
from self_coding.modification_journal import record
from self_coding.modification_journal.queries import Queries, Store, now
from self_coding.modification_journal.ranking import features
from self_coding.modification_journal.record import (
    ENDED,
    PLANNED,
    RELABELLED,
    TRIED,
    Record,
    StoredEvent,
)
from self_coding.values.attempts import UNCOUNTED, Event, Json, ModificationAttempt, Outcome, Rate

DIMENSIONS = ("area", "editor", "model", "period")
_OVERALL = "overall"
_UNDONE = "undone"  # what the reason of such a label begins with
_Z = 1.959964  # 95 %
_SOURCE_ROOTS = frozenset(("src", "lib", "source", "python"))
_REVERTS = re.compile(
    r"[Tt]his (?:partially )?reverts (?:merge )?commit ([0-9a-f]{7,64})"
    r"|^\(reverts? commit ([0-9a-f]{7,64})\)",
    re.MULTILINE,
)


def log(store: Store, attempt: ModificationAttempt) -> int:
    """Store a finished attempt whole; return its id."""
    entry = record.from_attempt(attempt)
    embedding = record.vector(attempt.embedding)
    entry.at = entry.ended = entry.at or now()
    with store.write() as queries:
        number = add(queries, entry, [(ENDED, entry.at, entry.finished())])
        if embedding:
            queries.put_vector(number, embedding, "")
    return number


def begin(store: Store, entry: Record) -> int:
    """Store that an attempt begins; return its id."""
    entry.at = now()
    with store.write() as queries:
        return add(queries, entry, [(PLANNED, entry.at, entry.planned())])


def add(queries: Queries, entry: Record, events: Sequence[StoredEvent]) -> int:
    """Store an attempt with its whole history; return its id."""
    # A big text of an event and of the row that is its fold are the same blob.
    blobs = [queries.keep(data) for _, _, data in events]
    attempt = queries.insert(entry, {key: n for kept in blobs for key, n in kept.items()})
    for sequence, (event, kept) in enumerate(zip(events, blobs, strict=True), 1):
        queries.append(attempt, sequence, event, kept)
    if entry.ended is not None:
        _index(queries, attempt, entry)
    return attempt


def append(store: Store, attempt: int, kind: str, data: dict[str, Json]) -> Event:
    """Store one more event of an attempt."""
    with store.write() as queries:
        entry = queries.record(attempt)
        event = _advance(queries, attempt, entry, kind, data)
        # A refused try stays open for its caller, but the next one must find it as a dead end.
        if kind == TRIED and entry.outcome:
            _index(queries, attempt, entry)
        return event


def finish(store: Store, attempt: int, how: Record) -> None:
    """End an attempt, once; ending it the same way again changes nothing."""
    with store.write() as queries:
        entry = queries.record(attempt)
        if entry.ended is not None:
            if entry.outcome == how.outcome:
                return  # recovery repeats the last step when it cannot know whether it was done
            raise JournalError(
                f"attempt {attempt} has ended already, as {entry.outcome}",
                hint="a landed attempt that was reverted is re-labelled, not ended again",
            )
        data = how.finished()  # the task and the number of the try are known since it began
        data.pop("task", None)
        data.pop("retry_count", None)
        _advance(queries, attempt, entry, ENDED, data)
        _index(queries, attempt, entry)


def _advance(
    queries: Queries, attempt: int, entry: Record, kind: str, data: dict[str, Json]
) -> Event:
    """Append an event, and bring the record and its row up to date."""
    sequence, last = queries.last_event(attempt)
    blobs = queries.keep(data)
    # A clock that was set back must not disorder the events of an attempt.
    event = kind, max(now(), last), data
    entry.apply(*event)
    # Other events may have big texts under the same names, and those are not the attempt's. What
    # a try before had as a blob may be short now: 0 is none.
    whole = {"diff": 0, "test_results": 0, **blobs}
    queries.update(attempt, entry, whole if kind in (ENDED, TRIED) else {})
    return queries.append(attempt, sequence + 1, event, blobs)


def _index(queries: Queries, attempt: int, entry: Record) -> None:
    """Make an attempt findable, and count it once it has ended; not one that proves nothing."""
    queries.touch(attempt, entry.files_modified)
    if entry.stage in UNCOUNTED:
        return
    searchable = features(
        entry.task, files=entry.files_modified, diff=entry.diff, notes=entry.approach
    )
    queries.put_features(attempt, str(entry.outcome), searchable)
    if entry.ended is not None:
        queries.count(_labels(entry), entry.outcome, +1)


def scan(store: Store, log: str) -> list[int]:
    """Bring the outcomes into line with main's history; return the attempts that changed."""
    undone, restored = reverted(log)
    changed = relabel(store, undone)
    for commit in restored - undone.keys():
        with store.read() as queries:
            landed = [(number, queries.events(number)) for number in queries.landed_as(commit)]
        for number, events in landed:
            before = [event.data.get("was") for event in events if event.kind == RELABELLED]
            if before and before[0]:
                outcome = Outcome(str(before[0]))
                if _relabel(store, number, outcome, "its revert was reverted"):
                    changed.append(number)
    return changed


def relabel(store: Store, undone: Mapping[str, str]) -> list[int]:
    """Make the attempts that landed as these commits (commit -> reason) rollbacks; their ids."""
    with store.read() as queries:
        landed = [(n, why) for commit, why in undone.items() for n in queries.landed_as(commit)]
    return [number for number, why in landed if _relabel(store, number, Outcome.ROLLBACK, why)]


def follow_undo(store: Store, undone: Mapping[str, str], standing: Collection[str]) -> list[int]:
    """Bring outcomes into line with what `undo` and `redo` did; return the attempts that changed.

    Args:
        store: the journal's database.
        undone: the landings (commit -> reason) that were taken back.
        standing: those that were not, or were done again.
    """
    changed = relabel(store, {commit: f"{_UNDONE}: {why}" for commit, why in undone.items()})
    for commit in standing:
        with store.read() as queries:
            landed = [(number, queries.events(number)) for number in queries.landed_as(commit)]
        for number, events in landed:
            last = next((one.data for one in reversed(events) if one.kind == RELABELLED), {})
            # A landing that a person reverted stands in no log of ours, and stays reverted.
            ours = str(last.get("failure_analysis")).startswith(_UNDONE)
            before = Outcome(str(last["was"])) if ours and last.get("was") else None
            if before and _relabel(store, number, before, "it was done again"):
                changed.append(number)
    return changed


def _relabel(store: Store, attempt: int, outcome: Outcome, because: str) -> bool:
    """Give an ended attempt another outcome; return False when it has it already."""
    with store.write() as queries:
        entry = queries.record(attempt)
        if entry.ended is None or entry.outcome == outcome.value:
            return False
        queries.count(_labels(entry), entry.outcome, -1)
        data: dict[str, Json] = {
            "outcome": outcome.value,
            "was": entry.outcome,
            "failure_analysis": because,
        }
        _advance(queries, attempt, entry, RELABELLED, data)
        queries.count(_labels(entry), entry.outcome, +1)
        queries.relabel_features(attempt, outcome.value)
    return True


def reverted(log: str) -> tuple[dict[str, str], set[str]]:
    """Return what a history (newest first) says of its commits.

    Args:
        log: the output of `git log --format=%x1e%H%x1f%B`.

    Returns:
        the commits that were reverted and stayed so, with the reason, and the commits whose
        revert was itself reverted; as the messages name them, so maybe abbreviated.
    """
    undone: dict[str, str] = {}
    restored: set[str] = set()
    for entry in log.split("\x1e"):
        commit, _, message = entry.strip("\n").partition("\x1f")
        if not message.strip():
            continue
        named = [full or short for full, short in _REVERTS.findall(message)]
        # Newest first: who reverted this commit has been read already.
        if any(commit.startswith(name) for name in undone):
            restored.update(named)
            continue
        title = message.strip().splitlines()[0]
        for name in named:
            undone.setdefault(name, f"reverted by {commit[:12]}: {title}")
    return undone, restored


def wilson(successes: int, total: int) -> Rate:
    """Return a rate with its 95 % Wilson interval; an empty one spans everything."""
    if total <= 0:
        return Rate(successes=0, total=0, rate=0.0, low=0.0, high=1.0)
    share = successes / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z * _Z / (4 * total * total))
    centre = share + _Z * _Z / (2 * total)
    divisor = 1 + _Z * _Z / total
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / divisor)
    high = 1.0 if successes == total else min(1.0, (centre + spread) / divisor)
    return Rate(successes=successes, total=total, rate=share, low=low, high=high)


def _labels(entry: Record) -> list[tuple[str, str]]:
    """Return what an ended attempt is counted under, as (dimension, value)."""
    areas = set()
    for path in entry.files_modified:
        folders = path.split("/")[:-1]
        if folders and folders[0] in _SOURCE_ROOTS:
            folders = folders[1:]
        areas.add("/".join(folders[:2]) or ".")
    when = record.moment(entry.ended if entry.ended is not None else entry.at)
    return [
        (_OVERALL, ""),
        *(("area", area) for area in sorted(areas)),
        ("editor", entry.editor or "unknown"),
        *([("model", entry.model)] if entry.model else []),
        ("period", f"{when.year}-{when.month:02}" if when else "unknown"),
    ]


def totals(store: Store) -> dict[str, float | int]:
    """Return the founding summary: overall, success, failure, rollback, total."""
    with store.read() as queries:
        counts = queries.counts(_OVERALL).get("", {})
    numbers = {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
    total = sum(numbers.values())
    overall = numbers["success"] / total if total else 0.0
    return {"overall": overall, **numbers, "total": total}


def rates(store: Store, by: str | None) -> dict[str, Rate]:
    """Return the rates by one dimension, most attempts first; None gives the overall one."""
    if by is not None and by not in DIMENSIONS:
        raise JournalError(
            f"there are no rates by {by!r}", hint=f"use one of {', '.join(DIMENSIONS)}"
        )
    with store.read() as queries:
        counts = queries.counts(by or _OVERALL)
    measured = {
        value: wilson(numbers.get(Outcome.SUCCESS.value, 0), sum(numbers.values()))
        for value, numbers in counts.items()
    }
    if by is None:
        return {_OVERALL: measured.get("", wilson(0, 0))}
    kept = [(value, rate) for value, rate in measured.items() if rate.total > 0]
    return dict(sorted(kept, key=lambda item: (-item[1].total, item[0])))
