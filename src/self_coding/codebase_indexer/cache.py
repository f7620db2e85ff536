"""Opening the index's file: a cache of ours that is unusable is thrown away, nothing else is.

A damaged index, or one of another schema, is deleted and rebuilt from the working tree. A file
that does not carry our mark is somebody else's: it is refused, and nothing is written into it.
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
            return self._patiently(work)
        except (StorageDamagedError, StorageVersionError):
            if not self._may_delete():
                raise
        self._delete()
        return self._patiently(work)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._database is not None:
            self._database.close()

    def _patiently(self, work: Callable[[Database], T]) -> T:
        for _ in range(_PATIENCE):
            with suppress(StorageBusyError):
                return work(self._opened())
        return work(self._opened())

    def _opened(self) -> Database:
        if self._database is None:
            self._database = Database(
                self.path,
                application=store.APPLICATION,
                migrations=store.MIGRATIONS,
                durable=False,
                page=store.PAGE,
            )
            self._check_schema(self._database)
        return self._database

    def _check_schema(self, database: Database) -> None:
        with database.read() as connection:
            schema = store.meta(connection, "schema")
        if schema and schema != _FINGERPRINT:
            self._delete()
            self._opened()
        elif not schema:
            with database.write() as connection:
                store.put_meta(connection, "schema", _FINGERPRINT)

    def _may_delete(self) -> bool:
        """Whether the file carries our mark, or lies where only we put files."""
        if self._ours:
            return True
        try:
            with open(self.path, "rb") as file:
                header = file.read(72)
        except OSError:
            return False
        return header[:15] == b"SQLite format 3" and header[68:72] == store.APPLICATION.to_bytes(
            4, "big"
        )

    def _delete(self) -> None:
        self.close()
        self._database = None
        for suffix in ("-wal", "-shm", "-journal", ""):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")  # noqa: PTH108 - a name, not a path, is made
