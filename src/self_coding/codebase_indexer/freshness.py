"""Is the index what the working tree says? Where it is not, `update` brings it there.

Blocking. Nearly every question finds nothing changed, so no more is asked then than the times of
the files, and nothing is loaded of what reads them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.store import Counts
from self_coding.codebase_indexer.walk import Look, Stamp, look
from self_coding.errors import StorageError


def refresh(
    database: Database, root: Path, src_dirs: Sequence[str] | None, *, tier2: bool = False
) -> Counts:
    """Make the index say what the working tree says; cheap when nothing has changed."""
    with database.read() as connection:
        before = store.meta(connection, "updates")
        seen, stamps, same = _look(connection, root, src_dirs)
        counts, unasked = store.counts(connection) if same else (None, 0)
        viewed = store.meta(connection, "view")
    if counts is not None and not (tier2 and unasked):
        if seen.view != viewed:
            _remember(database, seen.view, before)
        return counts
    from self_coding.codebase_indexer.update import update  # as long to load as all of this

    with database.write() as connection:
        if store.meta(connection, "updates") != before:  # somebody else was quicker
            seen, stamps, _ = _look(connection, root, src_dirs)
        return update(connection, root, seen, stamps, tier2=tier2)


def _remember(database: Database, view: str, updates: object) -> None:
    """Spare the next question asking git, unless somebody has updated since the look.

    Where the file may not be written, git is asked again.
    """
    with suppress(StorageError), database.write() as connection:
        if store.meta(connection, "updates") == updates:
            store.put_meta(connection, "view", view)


def _look(
    connection: sqlite3.Connection, root: Path, src_dirs: Sequence[str] | None
) -> tuple[Look, dict[str, Stamp], bool]:
    """The files as they are and as they are stored, and whether that is the same."""
    stamps, settled = store.stamps(connection)
    folders = dict(connection.execute("SELECT path, stamp FROM folders").fetchall())
    folders = {store.shown(path): stamp for path, stamp in folders.items()}
    seen = look(root, src_dirs, stamps, folders, store.meta(connection, "view"))
    return seen, stamps, settled and not seen.relisted and seen.files == stamps
