"""Add entries to settings files that belong to others, and take them out again byte for byte.

What is inserted is noted in a ledger of ours, so that a file which nobody changed since gets its
old bytes back. One that was changed is merged, or refused; nothing is ever overwritten.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_coding.adapters import settings_text
from self_coding.adapters.files import replace_file
from self_coding.adapters.settings_text import Entry
from self_coding.errors import ConfigError

LEDGER = "installed.json"
_LEFT = "it was left as it is; mend it or edit it yourself, then try again"


@dataclass(frozen=True)
class Change:
    """What is to become of a file: None is for no file, `note` for the ledger."""

    file: Path
    before: bytes | None
    after: bytes | None
    note: dict[str, Any] | None = None

    @property
    def diff(self) -> str:
        """The change as a unified diff."""
        both = (self.before, self.after)
        before, after = ((data or b"").decode().splitlines() for data in both)
        old, new = ("/dev/null" if data is None else str(self.file) for data in both)
        return "\n".join(difflib.unified_diff(before, after, old, new, lineterm=""))


def adding(file: Path, form: str, entries: Sequence[Entry], ledger: Path, mark: str) -> Change:
    """Return the change that adds entries to a file, which may be missing; ours are renewed.

    Raises:
        ConfigError: the file is not in its form, or holds another entry of that name.
    """
    before, text = _read(file)
    note = _noted(ledger, file)
    is_there = False
    with suppress(ValueError):
        is_there = all(settings_text.add(text, form, entry) is None for entry in entries)
    # An older entry of ours goes first: two of one name would both be called.
    if (note or mark in text) and not is_there:
        kept = removing(file, form, entries, ledger, mark)
        text = (kept.after or b"").decode()
    made = bool(note and note["made"]) or before is None
    folders = note["folders"] if note else [str(one) for one in file.parents if not one.exists()]
    pieces = []
    try:
        for entry in entries:
            piece = settings_text.add(text, form, entry)
            if piece is not None:
                text = settings_text.put(text, piece)
                pieces.append([piece.at, piece.text])
    except ValueError as error:
        raise ConfigError(f"{file} {error}", hint=_LEFT) from error
    if not pieces:
        return Change(file, before, before)
    after = text.encode()
    held = {"after": _digest(after), "pieces": pieces, "made": made, "folders": folders}
    return Change(file, before, after, held)


def removing(file: Path, form: str, entries: Sequence[Entry], ledger: Path, mark: str) -> Change:
    """Return the change that takes our entries out of a file.

    An entry is ours if it was noted, in a list by `mark`, and in JSON by its name.

    Raises:
        ConfigError: it was changed so that our entry cannot be told from what is around it.
    """
    before, text = _read(file)
    note = _noted(ledger, file)
    if before is None:
        return Change(file, None, None)
    is_untouched = note is not None and note["after"] == _digest(before)
    # From the end, so that what is cut does not move the places before it.
    for at, piece in reversed(note["pieces"] if note else []):
        if is_untouched or text.count(piece) == 1:
            start = at if is_untouched else text.find(piece)
            text = text[:start] + text[start + len(piece) :]
    try:
        if not is_untouched and form == "json":
            for entry in entries:
                text = settings_text.cut(text, entry, mark)
        settings_text.read(text, form)
    except ValueError as error:
        raise ConfigError(f"{file} {error}", hint=_LEFT) from error
    if form != "json" and not is_untouched and any(entry.key in text for entry in entries):
        raise ConfigError(f"{file} was changed around our entry", hint=_LEFT)
    # Before there was a ledger, the mark itself said what had come with it.
    old = [word for word in ("file", "folder") if f"{mark}, made this {word}" in before.decode()]
    note = note or {"made": bool(old), "folders": [str(file.parent)] if "folder" in old else []}
    is_empty = not re.sub(r"[\s{}]", "", text)
    gone = note["made"] and is_empty
    return Change(file, before, None if gone else text.encode(), note)


def apply(change: Change, ledger: Path, *, remove: bool = False) -> None:
    """Write a change, unless the file is another by now.

    Raises:
        ConfigError: it is another by now, or cannot be written; it stays as it is.
    """
    # The plan may be minutes old, as a person was shown it and asked.
    if _read(change.file)[0] != change.before:
        raise ConfigError(f"{change.file} has just been changed", hint="look again, try again")
    try:
        if not remove:  # noted first: what a crash leaves behind can then still be told apart
            _note(ledger, change.file, change.note)
        # People keep their settings elsewhere and link to them: the file is changed, the link
        # stays.
        target = Path(os.path.realpath(change.file))
        if change.after is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, change.after)
        elif change.before is not None:
            target.unlink()
            for folder in (change.note or {}).get("folders", []):
                with suppress(OSError):  # it holds something else by now
                    Path(folder).rmdir()
        if remove:
            _note(ledger, change.file, None)
    except OSError as error:
        raise ConfigError(f"cannot use {change.file}: {error.strerror}", hint=_LEFT) from error


def _read(file: Path) -> tuple[bytes | None, str]:
    try:
        data = file.read_bytes()
        return data, data.decode("utf-8")
    except FileNotFoundError:
        return None, ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: {error}", hint=_LEFT) from error
    except OSError as error:
        raise ConfigError(f"cannot use {file}: {error.strerror}", hint=_LEFT) from error


def _digest(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


def _ledger(ledger: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        held = json.loads(ledger.read_bytes())
        if isinstance(held, dict):
            return held
    return {}


def _noted(ledger: Path, file: Path) -> dict[str, Any] | None:
    note = _ledger(ledger).get(str(file.absolute()))
    return note if isinstance(note, dict) and note.keys() >= {"after", "pieces", "made"} else None


def _note(ledger: Path, file: Path, note: dict[str, Any] | None) -> None:
    held = _ledger(ledger)
    if held.pop(str(file.absolute()), None) is None and note is None:
        return
    if note is not None:
        held[str(file.absolute())] = note
    ledger.parent.mkdir(parents=True, exist_ok=True)
    replace_file(ledger, json.dumps(held, indent=1), mode=0o600)
