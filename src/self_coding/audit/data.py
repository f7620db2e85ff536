"""Files that tests read: golden outputs, snapshots, tables of cases.

Pure. They may grow, move and follow the code; they may not vanish or be rewritten where no code
changes, for then only the judge was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from self_coding.audit.files import File, Files, Kind
from self_coding.values.verdicts import Finding

_GOLDEN = re.compile(
    r"(?:^|/)(?:__snapshots__|snapshots?|goldens?|expected|approved|cassettes)(?:/|$)|"
    r"\.(?:ambr|snap|golden|approved\.\w+|expected|out)$|(?:^|[/_.-])(?:golden|expected|snapshot)",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"(?i)(?:^|/)(?:readme|license|copying|authors)[\w.]*$|\.(?:md|rst)$|(?:^|/)\.gitignore$"
)


def audit_data(files: Files, *, strict: bool = False) -> Iterator[Finding]:
    """Every file of test data that went, shrank, or was rewritten without a reason in the code."""
    arrived = {file.new for file in files.changed if file.old is None}
    names = {file.name for file in files.changed if file.old is None}
    excused = files.touches_source and not strict
    for file in files.changed:
        if not _is_data(file) or file.old is None or _PROSE.search(file.path):
            continue
        if file.new is None:
            if file.old not in arrived and file.name not in names and not _unread(file, files):
                yield _finding("test-data-removed", file, "test data is gone")
        elif excused:
            continue
        elif _GOLDEN.search(file.path):
            yield _finding("snapshot-rewritten", file, "rewritten, and no code changed")
        elif len(file.new.splitlines()) < len(file.old.splitlines()):
            yield _finding("test-data-shrunk", file, "has fewer lines, and no code changed")


def _is_data(file: File) -> bool:
    return file.kind is Kind.DATA or (
        file.kind in {Kind.OTHER, Kind.PROSE}
        and _GOLDEN.search(file.path) is not None
        and "docs" not in file.path.split("/")
    )


def _unread(file: File, files: Files) -> bool:
    """Whether the change itself takes out the code that named this file, or the code changed."""
    stem = file.name.partition(".")[0]
    tests = files.of(Kind.TEST, Kind.SUPPORT)
    named = any(stem in (test.old or "") and stem not in (test.new or "") for test in tests)
    return named or files.touches_source


def _finding(rule: str, file: File, message: str) -> Finding:
    return Finding(rule=rule, path=file.path, message=message)
