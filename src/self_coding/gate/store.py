"""What the gate remembers on disk: records of runs by key, and the tests set aside until a day.

A folder of small JSON files in the git common directory, written by rename. A file that is
damaged or too old counts as absent; nothing here is ever needed, everything saves time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_coding.adapters.files import replace_file
from self_coding.gate.test_report import RunRecord, dump, load

_GREEN, _RED = timedelta(days=7), timedelta(days=1)  # how long a record counts as fresh
_KEPT = 200  # records
Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


class GateStore:
    """The gate's memory in `folder`, which is made when something is to be kept."""

    def __init__(self, folder: Path, clock: Clock = now) -> None:
        self.folder = folder
        self._clock = clock
        self._verdicts = folder / "verdicts"
        self._aside = folder / "quarantine.json"

    def load(self, key: str) -> RunRecord | None:
        """Return the record kept under `key`, while it is fresh."""
        path = self._verdicts / f"{key}.json"
        try:
            age = self._clock().timestamp() - path.stat().st_mtime
            record = load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        if record is None:
            return None
        fresh = _RED if record.exit_status else _GREEN
        return record if age <= fresh.total_seconds() else None

    def keep(self, key: str, record: RunRecord) -> None:
        """Keep a record under `key`; the oldest goes when there are too many."""
        self._verdicts.mkdir(parents=True, exist_ok=True)
        replace_file(self._verdicts / f"{key}.json", dump(record))
        files = sorted(self._verdicts.glob("*.json"), key=modified, reverse=True)
        for old in files[_KEPT:]:
            old.unlink(missing_ok=True)

    def quarantined(self) -> tuple[str, ...]:
        """Return the tests whose failures do not count today."""
        return tuple(sorted(self._set_aside()))

    def quarantine(self, test: str, *, until: datetime, reason: str) -> None:
        """Set a test aside until a day; a person's decision, never the gate's own."""
        entry = {"until": until.isoformat(), "reason": reason}
        self._write(self._set_aside() | {test: entry})

    def release(self, test: str) -> bool:
        """Let a test count again; False when it was not set aside."""
        entries = self._set_aside()
        if entries.pop(test, None) is None:
            return False
        self._write(entries)
        return True

    def _write(self, entries: dict[str, dict[str, str]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._aside, json.dumps(entries, indent=1, sort_keys=True))

    def _set_aside(self) -> dict[str, dict[str, str]]:
        """Return the entries whose day has not come; what is damaged sets nothing aside."""
        entries = {}
        try:
            for test, entry in json.loads(self._aside.read_text(encoding="utf-8")).items():
                with suppress(KeyError, TypeError, ValueError):
                    if datetime.fromisoformat(entry["until"]) > self._clock():
                        entries[test] = entry
        except (OSError, ValueError, AttributeError):
            return {}
        return entries


def modified(path: Path) -> float:
    """Return when a file was last written; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
