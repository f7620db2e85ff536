"""Pure. One attempt as it is stored: checked and cleaned before, folded from its events after.

Secrets and control characters go before anything reaches the disk, and what cannot be stored as
it was meant is refused with a hint, so that nothing half-done is ever written. The fold refuses
no event: an unknown kind only moves the stage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias, cast

from self_coding.errors import JournalError
from self_coding.redaction import redact
from self_coding.values.attempts import OPEN, Json, ModificationAttempt, Outcome

PLANNED, ENDED, REFLECTED, RELABELLED = "planned", "ended", "reflected", "relabelled"
TRIED = "tried"  # a submission was refused, and may be corrected: what came of it so far
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 2**63 - 1  # what a column can hold
_FROM_FACTS = ("editor", "model", "commit")  # facts that have a column of their own
_PLANNED_TEXTS = ("task", "edit", *_FROM_FACTS)
_TEXTS = (
    *("task", "approach", "diff", "test_results", "failure_analysis", "reflection"),
    *("edit", "outcome", *_FROM_FACTS),
)

StoredEvent: TypeAlias = tuple[str, int, Mapping[str, Json]]  # an event's kind, moment and data


@dataclass(kw_only=True)
class Record:
    """One attempt as far as it has come: the fold of its events, in the shape of its row.

    The fields are named as in the events' data, so that one reads like the other.
    """

    task: str = ""
    stage: str = PLANNED
    outcome: str | None = None
    at: int = 0
    ended: int | None = None
    approach: str = ""
    files_modified: list[str] = field(default_factory=list)
    diff: str = ""
    test_results: str = ""
    failure_analysis: str = ""
    reflection: str = ""
    retry_count: int = 0
    edit: str = ""
    editor: str = ""
    model: str = ""
    commit: str = ""
    facts: dict[str, Json] = field(default_factory=dict)

    def apply(self, kind: str, at: int, data: Mapping[str, Json]) -> None:
        """Bring the record up to date with one more event."""
        self.at = self.at or at  # an attempt is as old as its first event
        if kind in (ENDED, TRIED):  # what an earlier try of it came to is its event's alone
            self.approach = self.diff = self.test_results = self.failure_analysis = ""
            self.files_modified = []
        if kind in (PLANNED, ENDED, TRIED):
            for name in _TEXTS:
                if value := data.get(name):
                    setattr(self, name, str(value))
            files, count = data.get("files_modified"), data.get("retry_count")
            if isinstance(files, list) and files:
                self.files_modified = [str(path) for path in files]
            if isinstance(count, int):
                self.retry_count = count
            self.facts |= cast("dict[str, Json]", data.get("facts") or {})
        elif kind == REFLECTED:
            self.reflection = str(data.get("reflection") or self.reflection)
        elif kind == RELABELLED:
            self.outcome = str(data["outcome"])
            self.failure_analysis = str(data.get("failure_analysis") or self.failure_analysis)
        if kind == ENDED:
            self.ended = at
            self.stage = str(data.get("stage") or ENDED)
        elif self.ended is None:
            self.stage = kind

    def planned(self) -> dict[str, Json]:
        """Return the data of the event that begins this attempt."""
        return self._data(_PLANNED_TEXTS, {"retry_count": self.retry_count})

    def finished(self) -> dict[str, Json]:
        """Return the data of the event that ends this attempt."""
        numbers: dict[str, Json] = {
            "files_modified": list(self.files_modified),
            "retry_count": self.retry_count,
            "stage": self.stage,
        }
        return self._data(_TEXTS, numbers)

    def _data(self, texts: Iterable[str], more: Mapping[str, Json]) -> dict[str, Json]:
        data: dict[str, Json] = {name: getattr(self, name) for name in texts} | dict(more)
        data["facts"] = dict(self.facts)
        return {name: value for name, value in data.items() if value or name in ("task", "outcome")}

    def note(self, more: Mapping[str, Json] | None) -> Record:
        """Take in a caller's facts; those with a column go there too. Return the record."""
        self.facts = facts(more)
        for name in _FROM_FACTS:
            if value := self.facts.get(name):
                setattr(self, name, str(value))
        return self

    def attempt(self, number: int, embedding: list[float] | None) -> ModificationAttempt:
        """Return the attempt as the founding API hands it out; what is damaged reads as empty."""
        try:
            how = Outcome(cast("str", self.outcome))
        except ValueError:
            how = Outcome.FAILURE
        retries: object = self.retry_count
        return ModificationAttempt(
            task_description=self.task,
            approach=self.approach,
            files_modified=self.files_modified,
            diff=self.diff,
            test_results=self.test_results,
            outcome=how,
            failure_analysis=self.failure_analysis,
            reflection=self.reflection,
            retry_count=retries if isinstance(retries, int) else 0,
            id=number,
            timestamp=moment(self.at),
            embedding=embedding,
            stage=OPEN if self.ended is None else self.stage,
        )


def fold(events: Iterable[StoredEvent]) -> Record:
    """Return the attempt that these events, in their order, amount to."""
    record = Record()
    for kind, at, data in events:
        record.apply(kind, at, data)
    return record


def from_attempt(attempt: ModificationAttempt) -> Record:
    """Return the record of a finished attempt of the founding API, checked and cleaned."""
    if not isinstance(attempt, ModificationAttempt):
        raise JournalError(
            f"log_attempt takes a ModificationAttempt, not {type(attempt).__name__}",
            hint="ModificationAttempt(task_description=...)",
        )
    given = {
        "task": attempt.task_description,
        "approach": attempt.approach,
        "diff": attempt.diff,
        "test_results": attempt.test_results,
        "failure_analysis": attempt.failure_analysis,
        "reflection": attempt.reflection,
    }
    record = ending(outcome(attempt.outcome), given, attempt.files_modified)
    record.at = micros(attempt.timestamp) or 0
    record.retry_count = number(attempt.retry_count, "retry_count")
    return record


def ending(how: Outcome, texts: Mapping[str, object], files: object) -> Record:
    """Return the record of how an attempt ended, its texts by the names of their fields."""
    listed = {f"path {at}": value for at, value in enumerate(_listed(files), 1)}
    clean = dict(texts) | listed
    for name, value in clean.items():
        if not isinstance(value, str):
            text(value, name)  # raises
    # Looking for secrets costs more than all the rest, and most attempts hold none: they are
    # looked through once, together, and again one by one only where there was something.
    joined = "\n".join(filter(None, cast("Iterable[str]", clean.values())))
    if redact(joined) != joined:
        clean = {name: redact(cast("str", value)) for name, value in clean.items()}
    spelled = dict.fromkeys(path(cast("str", clean.pop(name))) for name in listed)
    record = Record(outcome=how.value, files_modified=[one for one in spelled if one])
    for name, value in clean.items():
        setattr(record, name, value)
    if record.stage in ("", PLANNED):
        record.stage = ENDED
    return record


def text(value: object, name: str) -> str:
    """Return `value` as text that is safe to store.

    Raises:
        JournalError: it is not text.
    """
    if not isinstance(value, str):
        raise JournalError(
            f"{name} must be text, not {type(value).__name__}", hint=f"pass {name} as a str"
        )
    return redact(value)


def number(value: object, name: str) -> int:
    """Return `value` as a number that a row can hold."""
    if not isinstance(value, int) or abs(value) > _LARGEST:
        raise JournalError(
            f"{name} must be a whole number", hint="numbers of 64 bits can be stored"
        )
    return int(value)


def outcome(value: object) -> Outcome:
    """Return `value` as an Outcome; its stored text is accepted too."""
    try:
        return Outcome(cast("str", value))
    except ValueError:
        names = ", ".join(repr(item.value) for item in Outcome)
        raise JournalError(f"unknown outcome {value!r}", hint=f"use one of {names}") from None


def paths(values: Iterable[str]) -> tuple[str, ...]:
    """Return repository-relative paths as they are stored, each once, in their order."""
    return tuple(dict.fromkeys(path(text(one, "a path")) for one in _listed(values) if one))


def _listed(files: object) -> Iterable[object]:
    if isinstance(files, str) or not isinstance(files, Iterable):
        raise JournalError("files_modified must be a list of paths", hint="pass a list of str")
    return files


def path(value: str) -> str:
    """Return a path in the spelling that the journal stores: `/`, no leading `./`."""
    spelled = value.replace("\\", "/")
    # Again and again: `././a` is a path, too, and must be the same key as `a`.
    while spelled.startswith("./"):
        spelled = spelled[2:]
    return spelled


def facts(data: Mapping[str, Json] | None) -> dict[str, Json]:
    """Return a mapping of JSON values, cleaned.

    Raises:
        JournalError: JSON, or a column, cannot hold it.
    """
    if data is None:
        return {}
    try:
        # There and back: what comes out is JSON for certain, a copy that the caller cannot change
        # any more, and (escaped in between) free of what UTF-8 cannot hold.
        plain = json.loads(json.dumps(dict(data), ensure_ascii=True), parse_int=_bounded)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(
            f"event data must be JSON: {error}", hint="pass text, numbers, lists and dicts only"
        ) from error
    return cast("dict[str, Json]", _cleaned(plain))


def vector(values: object) -> list[float] | None:
    """Return an embedding as finite floats, or None for an empty one."""
    if values is None:
        return None
    try:
        floats = [float(value) for value in cast("Iterable[float]", values)]
    except (TypeError, ValueError) as error:
        raise JournalError("an embedding must be a list of numbers", hint="or None") from error
    if not all(map(math.isfinite, floats)):
        raise JournalError("an embedding must hold finite numbers", hint="drop NaN and infinity")
    return floats or None


def micros(value: datetime | None) -> int | None:
    """Return a moment as whole microseconds since 1970, UTC; a naive one is taken as UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise JournalError("timestamp must be a datetime", hint="pass an aware datetime, or None")
    # Not the local zone: a journal is read on other machines.
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return int((aware - EPOCH).total_seconds() * 1_000_000)


def moment(value: object) -> datetime | None:
    """Return the moment that `micros` made the number of; None for anything else."""
    if not isinstance(value, int):
        return None
    try:
        return datetime.fromtimestamp(value / 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _bounded(digits: str) -> int:
    value = int(digits)
    if abs(value) > _LARGEST:
        raise ValueError("a number over 64 bits")
    return value


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {redact(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None  # Python reads and writes NaN, JSON elsewhere does not
    return value
