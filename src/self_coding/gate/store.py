"""What the gate remembers on disk: evidence by key, and the tests set aside until a day.

A folder of small JSON files in the git common directory, written by rename. A file that is
damaged or too old counts as absent; nothing here is ever needed, everything saves time.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_coding.gate.evidence import Evidence, dump, load

_GREEN, _RED = timedelta(days=7), timedelta(days=1)  # how long evidence counts as fresh
_KEPT = 200  # pieces of evidence
Clock = Callable[[], datetime]


def now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)


class GateStore:
    """The gate's memory in `folder`, which is made when something is to be kept."""

    def __init__(self, folder: Path, clock: Clock = now) -> None:
        self.folder = folder
        self._clock = clock

    def load(self, key: str) -> Evidence | None:
        """The evidence kept under `key`, while it is fresh."""
        path = self._evidence / f"{key}.json"
        try:
            age = self._clock().timestamp() - path.stat().st_mtime
            evidence = load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        if evidence is None:
            return None
        fresh = _RED if evidence.exit_status else _GREEN
        return evidence if age <= fresh.total_seconds() else None

    def keep(self, key: str, evidence: Evidence) -> None:
        """Keep evidence under `key`; the oldest goes when there is too much."""
        write(self._evidence / f"{key}.json", dump(evidence))
        files = sorted(self._evidence.glob("*.json"), key=modified, reverse=True)
        for old in files[_KEPT:]:
            old.unlink(missing_ok=True)

    def quarantined(self) -> tuple[str, ...]:
        """The tests whose failures do not count today."""
        today = self._clock()
        return tuple(test for test, entry in sorted(self._read().items()) if _until(entry) > today)

    def quarantine(self, test: str, *, until: datetime, reason: str) -> None:
        """Set a test aside until a day; a person's decision, never the gate's own."""
        entries = self._read() | {test: {"until": until.isoformat(), "reason": reason}}
        live = {name: entry for name, entry in entries.items() if _until(entry) > self._clock()}
        write(self.folder / "quarantine.json", json.dumps(live, indent=1, sort_keys=True))

    def release(self, test: str) -> bool:
        """Let a test count again; False when it was not set aside."""
        entries = self._read()
        found = entries.pop(test, None) is not None
        if found:
            write(self.folder / "quarantine.json", json.dumps(entries, indent=1, sort_keys=True))
        return found

    @property
    def _evidence(self) -> Path:
        return self.folder / "verdicts"

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            entries = json.loads((self.folder / "quarantine.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def write(path: Path, text: str) -> None:
    """Write a whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="surrogateescape")
        os.replace(part, path)  # noqa: PTH105 - as everywhere: written aside, then renamed
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _until(entry: object) -> datetime:
    try:
        assert isinstance(entry, dict)
        return datetime.fromisoformat(entry["until"])
    except (AssertionError, KeyError, ValueError, TypeError):
        return datetime.min.replace(tzinfo=UTC)


def modified(path: Path) -> float:
    """When a file was last written; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
