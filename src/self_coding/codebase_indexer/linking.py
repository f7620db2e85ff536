"""Resolve the imports of what changed into edges between files, and store them.

Blocking; part of one update's transaction. Resolved again are the files that changed, those
whose imports name a file that appeared or vanished, and all of them when the source roots or a
package's `__init__` changed.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Set

from self_coding.codebase_indexer import project, store
from self_coding.codebase_indexer.resolve import Layout
from self_coding.codebase_indexer.scan import Import, unpack_imports

Changed = Mapping[int, tuple[str, list[Import]]]  # file id -> its path and imports
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
    rows = connection.execute("SELECT path, id FROM files")
    paths = {store.shown(path): file for path, file in rows}
    layout = Layout(paths, declared)
    roots = store.readable("\n".join(sorted(layout.roots())))
    again = changed
    everything = roots != store.meta(connection, "roots") or any(
        path.endswith("__init__.py") for path in added | removed
    )
    if everything or added or removed:
        again = _concerned(connection, changed, added | removed, everything=everything)
        names = [
            (store.readable(layout.module(path)), file)
            for path, file in paths.items()
            if everything or path in added
        ]
        connection.executemany("UPDATE files SET module=? WHERE id=?", names)
        store.put_meta(connection, "roots", roots)
        store.put_meta(connection, "declared", "\n".join(declared))
    connection.executemany(
        "INSERT OR REPLACE INTO edges VALUES (?,?)",
        [(file, _targets(layout, file, path, found)) for file, (path, found) in again.items()],
    )


def _concerned(
    connection: sqlite3.Connection, changed: Changed, moved: Set[str], *, everything: bool
) -> Changed:
    """The files whose imports a file that appeared or vanished can change the meaning of."""
    stems = {path.removesuffix(".py").rpartition("/")[2] for path in moved}
    found = dict(changed)
    for file, path, imports in connection.execute("SELECT id, path, imports FROM files"):
        if file not in found and (everything or any(stem in imports for stem in stems)):
            found[file] = (store.shown(path), unpack_imports(imports))
    return found


def _targets(layout: Layout, file: int, path: str, imports: Iterable[Import]) -> bytes:
    """The edges of one file as they are stored."""
    found: set[int] = set()
    for scope, module, names in imports:
        number = _NUMBERS[scope]
        targets = (
            layout.literal(path, module)
            if scope == "string"
            else layout.resolve(path, module, names)
        )
        for target in targets:
            if target != file:
                found.add(target << 3 | number)
    return array("I", sorted(found)).tobytes()
