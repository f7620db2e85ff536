"""What the gate remembers on disk: records of runs, by key.

A folder of small JSON files in the git common directory, written by rename. A file that is
damaged or too old counts as absent; nothing here is ever needed, everything saves time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_coding.adapters.files import replace_file
from self_coding.gate.test_report import RunRecord

_GREEN, _RED = timedelta(days=7), timedelta(days=1)  # how long a record counts as fresh
_KEPT = 200  # records
_FORMAT = 3
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

    def load(self, key: str) -> RunRecord | None:
        """Return the record kept under `key`, while it is fresh; one that is damaged is absent."""
        from pydantic import TypeAdapter  # costs 0.1 s, which a command that tests nothing saves

        path = self._verdicts / f"{key}.json"
        try:
            age = self._clock().timestamp() - path.stat().st_mtime
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("format") != _FORMAT:
                return None
            record = TypeAdapter(RunRecord).validate_python(data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        fresh = _RED if record.exit_status else _GREEN
        return record if age <= fresh.total_seconds() else None

    def keep(self, key: str, record: RunRecord) -> None:
        """Keep a record under `key`; the oldest goes when there are too many."""
        self._verdicts.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"format": _FORMAT} | asdict(record), sort_keys=True)
        replace_file(self._verdicts / f"{key}.json", content)
        files = sorted(self._verdicts.glob("*.json"), key=modified, reverse=True)
        for old in files[_KEPT:]:
            old.unlink(missing_ok=True)


def modified(path: Path) -> float:
    """Return when a file was last written; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
