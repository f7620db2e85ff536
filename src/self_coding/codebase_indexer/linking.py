"""Resolve the imports of what changed into edges between files, and store them.

Blocking; part of one update's transaction. Resolved again are the files that changed, those
whose imports name a file that appeared or vanished, and all of them when the source roots or a
package's `__init__` changed.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Mapping, Set

from self_coding.codebase_indexer import project, store
from self_coding.codebase_indexer.packed import unpack_import
from self_coding.codebase_indexer.resolve import Layout

Changed = Mapping[int, tuple[str, str]]  # file id -> its path and (packed) imports
_NUMBERS = {scope: number for number, scope in enumerate(store.SCOPES)}


def link(
    connection: sqlite3.Connection,
    changed: Changed,
    added: Set[str],
    removed: Set[str],
    pyproject: str,
) -> None:
    """Bring the edges and the module names up to the files.

    Args:
        connection: inside a transaction; `files` is up to date already.
        changed: the files whose text changed, new ones included.
        added: the paths that appeared; `removed`: those that vanished.
        pyproject: the text of pyproject.toml, which may declare source roots.
    """
    declared = project.read(pyproject).roots
    known = store.meta(connection, "declared")
    if not (changed or added or removed or "\n".join(declared) != known):
        return
    rows = connection.execute("SELECT path, id FROM files").fetchall()
    paths = {store.shown(path): file for path, file in rows}
    layout = Layout(paths, declared)
    roots = store.readable("\n".join(sorted(layout.roots())))
    again = changed
    everything = roots != store.meta(connection, "roots") or any(
        path.endswith("__init__.py") for path in added | removed
    )
    if everything or added or removed:
        if len(changed) < len(paths):
            again = _concerned(connection, changed, added | removed, everything=everything)
        store.put_meta(connection, "roots", roots)
        store.put_meta(connection, "declared", "\n".join(declared))
    targets = _Targets(layout)
    connection.executemany(
        "INSERT OR REPLACE INTO links VALUES (?,?,?)",
        [
            (file, store.readable(layout.module(path)), targets.of(file, path, found))
            for file, (path, found) in again.items()
        ],
    )


def _concerned(
    connection: sqlite3.Connection, changed: Changed, moved: Set[str], *, everything: bool
) -> Changed:
    """The files whose imports a file that appeared or vanished can change the meaning of."""
    stems = {path.removesuffix(".py").rpartition("/")[2] for path in moved}
    found = dict(changed)
    for file, path, imports in connection.execute("SELECT id, path, imports FROM files"):
        if file not in found and (everything or any(stem in imports for stem in stems)):
            found[file] = (store.shown(path), imports)
    return found


class _Targets:
    """The edges of files as they are stored, from their packed imports.

    Most lines stand in many files and mean the same in all of them, so each is resolved once.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.same: dict[str, tuple[int, ...]] = {}  # of lines that mean the same in every file
        self.own: set[str] = set()  # the lines whose meaning depends on the file

    def of(self, file: int, path: str, imports: str) -> bytes:
        """The edges of one file."""
        found: set[int] = set()
        for line in imports.split("\n") if imports else ():
            known = self.same.get(line)
            if known is None:
                known = self._resolved(path, line)
            found.update(known)
        found.difference_update(range(file << 3, file + 1 << 3))  # nobody imports itself
        return array("I", sorted(found)).tobytes()

    def _resolved(self, path: str, line: str) -> tuple[int, ...]:
        scope, module, names = unpack_import(line)
        number = _NUMBERS[scope]
        if scope != "string" and line not in self.own:
            same = self.layout.anywhere(module, names)
            if same is not None:
                packed = self.same[line] = tuple([target << 3 | number for target in same])
                return packed
            self.own.add(line)
        resolve = self.layout.resolve
        targets = (
            resolve(path, module, names) if scope != "string" else self.layout.literal(path, module)
        )
        return tuple([target << 3 | number for target in targets])
