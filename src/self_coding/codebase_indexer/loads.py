"""Which tests load a file, by the imports that the gate saw them ask for.

A recorded file is asked for by tests, or by files while they are loaded; following that back from
a file leads to the tests that load it. It knows nothing of tests without such a record.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.coverage import ANY, ASKS
from self_coding.values.recording import FOR_ALL, Doer

_CONFTEST = "conftest.py"


class Loads:
    """The recorded imports; `tests` are the test files whose record has them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._asking: dict[str, set[Doer]] = defaultdict(set)
        rows = connection.execute(
            "SELECT doer, once, path FROM coverage WHERE body = ? OR (doer = '' AND body = ?)",
            (ASKS, ANY),  # what was loaded unseen, nobody need have asked for
        )
        for doer, once, path in rows:
            self._asking[store.shown(path)].add(Doer(store.shown(doer), bool(once)))
        self.tests = frozenset(
            path for path, doers in self._asking.items() if Doer(path, False) in doers
        )

    def of(self, path: str) -> frozenset[str] | None:
        """The recorded tests that load a file; None where that is not known of all of them."""
        if path not in self._asking and not _is_conftest(path):
            return None
        found: set[str] = set()
        seen, left = {path}, [path]
        while left:
            file = left.pop()
            if _is_conftest(file):  # pytest loads it, for the tests below its folder
                folder = file.removesuffix(_CONFTEST)
                found |= {test for test in self.tests if test.startswith(folder)}
            for doer in self._asking.get(file, ()):
                if doer == FOR_ALL:
                    return None
                if not doer.once:
                    found.add(doer.file)
                elif doer.file not in seen:
                    seen.add(doer.file)
                    left.append(doer.file)
        return frozenset(found)


def _is_conftest(path: str) -> bool:
    return path.rpartition("/")[2] == _CONFTEST
