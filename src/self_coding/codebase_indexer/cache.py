"""Open the index's file: a cache of ours that is unusable is thrown away, nothing else is.

A damaged index, or one of another schema, is deleted and rebuilt from the working tree. A file
that does not carry our mark is refused, and nothing is written into it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.errors import StorageBusyError, StorageDamagedError, StorageVersionError

T = TypeVar("T")
_FINGERPRINT = str(zlib.crc32("".join(store.MIGRATIONS).encode()))
_PATIENCE = 20  # times half a minute: as long as another process may build a very large index


class Cache:
    """The index's database, rebuilt where it cannot be used.

    Args:
        path: the file.
        ours: True when nobody else puts files there (the default place).
    """

    def __init__(self, path: Path, *, ours: bool) -> None:
        self.path = path
        self._ours = ours
        self._database: Database | None = None

    def use(self, work: Callable[[Database], T]) -> T:
        """Do `work` on the database; once more on an empty one when the old one is unusable."""
        try:
            return self._wait(work)
        except (StorageDamagedError, StorageVersionError):
            if not (self._ours or self._carries_our_mark()):
                raise
        self._delete()
        return self._wait(work)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._database is not None:
            self._database.close()

    def _wait(self, work: Callable[[Database], T]) -> T:
        """Do `work` when no other process writes."""
        for _ in range(_PATIENCE):
            with suppress(StorageBusyError):
                return work(self._open())
        return work(self._open())

    def _open(self) -> Database:
        """Return the database, with the schema of this version."""
        if self._database is not None:
            return self._database
        self._database = database = Database(
            self.path,
            application=store.APPLICATION,
            migrations=store.MIGRATIONS,
            durable=False,
            page=store.PAGE,
        )
        with database.read() as connection:
            schema = store.meta(connection, "schema")
        if schema and schema != _FINGERPRINT:
            self._delete()
            return self._open()
        if not schema:
            with database.write() as connection:
                store.put_meta(connection, "schema", _FINGERPRINT)
        return database

    def _carries_our_mark(self) -> bool:
        """Return whether the file says that it is an index of ours."""
        try:
            with open(self.path, "rb") as file:
                header = file.read(72)
        except OSError:
            return False
        mark = store.APPLICATION.to_bytes(4, "big")  # where SQLite keeps the application's id
        return header.startswith(b"SQLite format 3") and header[68:] == mark

    def _delete(self) -> None:
        self.close()
        self._database = None
        for suffix in ("-wal", "-shm", "-journal", ""):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")  # noqa: PTH108 - a name, not a path, is made
