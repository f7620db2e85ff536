"""What the journal is about to store, checked and cleaned; pure.

Secrets and control characters go before anything reaches the disk. What cannot be stored as it
was meant is refused here with a hint, so that nothing half-done is ever written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

from self_coding.errors import JournalError
from self_coding.redaction import redact
from self_coding.values.attempts import Json, ModificationAttempt, Outcome

_LARGEST = 2**63 - 1
FOLDED = ("editor", "model", "commit")  # facts that have a column of their own


@dataclass(kw_only=True)
class Record:
    """One attempt as far as it is known: the fold of its events, in the shape of its row."""

    task: str = ""
    stage: str = "planned"
    outcome: str | None = None
    at: int = 0
    ended: int | None = None
    approach: str = ""
    files: list[str] = field(default_factory=list)
    diff: str = ""
    tests: str = ""
    analysis: str = ""
    reflection: str = ""
    retry_count: int = 0
    edit: str = ""
    editor: str = ""
    model: str = ""
    commit: str = ""
    facts: dict[str, Json] = field(default_factory=dict)


def text(value: object, name: str) -> str:
    """`value` as text that is safe to store; JournalError when it is no text."""
    if not isinstance(value, str):
        raise JournalError(
            f"{name} must be text, not {type(value).__name__}", hint=f"pass {name} as a str"
        )
    return redact(value)


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Several texts by name, safe to store; looked through once when all are clean."""
    known: dict[str, str] = {}
    for name, value in values.items():
        known[name] = value if isinstance(value, str) else text(value, name)
    joined = "\n".join(filter(None, known.values()))
    if redact(joined) == joined:
        return known
    return {name: redact(value) for name, value in known.items()}


def number(value: object, name: str) -> int:
    """`value` as a number that a row can hold."""
    if not isinstance(value, int) or abs(value) > _LARGEST:
        raise JournalError(
            f"{name} must be a whole number", hint="numbers of 64 bits can be stored"
        )
    return int(value)


def outcome(value: object) -> Outcome:
    """`value` as an Outcome; its stored text is accepted too."""
    try:
        return Outcome(cast("str", value))
    except ValueError:
        known = ", ".join(repr(item.value) for item in Outcome)
        raise JournalError(f"unknown outcome {value!r}", hint=f"use one of {known}") from None


def paths(values: object) -> list[str]:
    """Repository-relative paths with `/`, each once, in their order."""
    return _paths(texts(_named(values)))


def path(value: str) -> str:
    """One path in the spelling that the journal stores: `/`, no leading `./`."""
    spelled = value.replace("\\", "/")
    while spelled.startswith("./"):
        spelled = spelled[2:]
    return spelled


def facts(data: Mapping[str, Json] | None) -> dict[str, Json]:
    """A mapping of JSON values, cleaned; JournalError for anything JSON cannot hold."""
    if data is None:
        return {}
    try:
        cleaned = json.loads(json.dumps(dict(data), ensure_ascii=True), parse_int=_bounded)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(
            f"event data must be JSON: {error}", hint="pass text, numbers, lists and dicts only"
        ) from error
    return cast("dict[str, Json]", _cleaned(cleaned))


def vector(values: object) -> list[float] | None:
    """An embedding as finite floats; None where there is none."""
    if values is None:
        return None
    try:
        floats = [float(value) for value in cast("Iterable[float]", values)]
    except (TypeError, ValueError) as error:
        raise JournalError("an embedding must be a list of numbers", hint="or None") from error
    if not all(map(math.isfinite, floats)):
        raise JournalError("an embedding must hold finite numbers", hint="drop NaN and infinity")
    return floats or None


def micros(moment: datetime | None) -> int | None:
    """A moment as whole microseconds since 1970, UTC; a naive one is taken as UTC."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise JournalError("timestamp must be a datetime", hint="pass an aware datetime, or None")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int((aware - EPOCH).total_seconds() * 1_000_000)


def moment(value: object) -> datetime | None:
    """The moment that `micros` made the number of; None for what is no moment."""
    if not isinstance(value, int):
        return None
    try:
        return datetime.fromtimestamp(value / 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def from_attempt(attempt: ModificationAttempt) -> Record:
    """The record of a founding attempt, whole at once."""
    if not isinstance(attempt, ModificationAttempt):
        raise JournalError(
            f"log_attempt takes a ModificationAttempt, not {type(attempt).__name__}",
            hint="ModificationAttempt(task_description=...)",
        )
    clean = texts(
        {
            "task_description": attempt.task_description,
            "approach": attempt.approach,
            "diff": attempt.diff,
            "test_results": attempt.test_results,
            "failure_analysis": attempt.failure_analysis,
            "reflection": attempt.reflection,
            **_named(attempt.files_modified),
        }
    )
    return Record(
        task=clean["task_description"],
        stage="ended",
        outcome=outcome(attempt.outcome).value,
        at=micros(attempt.timestamp) or 0,
        approach=clean["approach"],
        files=_paths(clean),
        diff=clean["diff"],
        tests=clean["test_results"],
        analysis=clean["failure_analysis"],
        reflection=clean["reflection"],
        retry_count=number(attempt.retry_count, "retry_count"),
    )


def ending(
    how: Outcome,
    said: Mapping[str, object],
    files: Iterable[str],
    known: Mapping[str, Json] | None,
) -> Record:
    """The record of how an attempt ended, cleaned."""
    clean = texts(said)
    entry = Record(outcome=how.value, files=paths(files))
    for name, value in clean.items():
        setattr(entry, name, value)
    entry.stage = entry.stage or "ended"
    return noted(entry, known)


def noted(entry: Record, known: Mapping[str, Json] | None) -> Record:
    """The record with its facts; those that have a column go there too."""
    told = facts(known)
    named = {name: str(told[name]) for name in FOLDED if told.get(name)}
    return replace(entry, facts=told, **named)  # type: ignore[arg-type]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _named(values: object) -> dict[str, object]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise JournalError("files_modified must be a list of paths", hint="pass a list of str")
    return {f"path {at + 1}": value for at, value in enumerate(values)}


def _paths(clean: Mapping[str, str]) -> list[str]:
    named = (path(value) for name, value in clean.items() if name.startswith("path "))
    return [value for value in dict.fromkeys(named) if value]


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
        return None
    return value
