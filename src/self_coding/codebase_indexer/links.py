"""Resolve the imports of stored files into edges between them, and store these.

Blocking, inside a transaction of `refresh`; the working tree is not read here.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from self_coding.codebase_indexer import store
from self_coding.languages import (
    Language,
    Resolver,
    language_of,
    language_of_manifest,
    unpack_import,
)


def declared_roots(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return what the manifests declared, by a name of each language's files."""
    text = store.meta(connection, "declared")
    roots: dict[str, list[str]] = json.loads(text) if text[:1] == "{" else {}
    return roots


def left_out(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the languages of the tree of which nothing but text is known, or not even that."""
    unparsed = {language_of(f"a{end}").name for end in store.meta(connection, "unread").split()}
    return tuple(sorted(unparsed.union(store.meta(connection, "others").split(", ")) - {""}))


def read_manifests(read: Callable[[str], bytes], manifests: Iterable[str]) -> dict[str, list[str]]:
    """Return what the manifests of a tree declare, by a name of each language's files."""
    texts: dict[str, dict[str, str]] = {}
    for path in manifests:
        language = language_of_manifest(path)
        if text := read(path):
            texts.setdefault(f"a{language.suffixes[0]}", {})[path] = language.decode(text)
    return {name: list(language_of(name).project(held).roots) for name, held in texts.items()}


def link(
    connection: sqlite3.Connection,
    changed: Mapping[int, tuple[str, str]],
    moved: Set[str],
    *,
    anew: bool,
) -> None:
    """Resolve imports into edges between files, and store them.

    Resolved are those that changed, those that may name a file that appeared or vanished, and
    all of them when the source roots or a package changed.

    Args:
        connection: inside a transaction; `files` is up to date already.
        changed: id -> path and imports of the files whose imports are new.
        moved: the paths that appeared or vanished.
        anew: whether the declared source roots are others.
    """
    if not (changed or moved or anew):
        return
    paths = store.paths(connection)
    resolvers = make_resolvers(paths, declared_roots(connection))
    roots = sorted(root for each in resolvers.values() for root in each.roots())
    discovered = store.readable("\n".join(roots))
    again = dict(changed)
    everything = (
        anew
        or discovered != store.meta(connection, "roots")
        or any(language_of(path).is_package(path) for path in moved)
    )
    if (everything or moved) and len(changed) < len(paths):
        stems = {language_of(path).stem(path) for path in moved}
        for file, path, imports in store.all_imports(connection):
            if file not in again and (everything or any(stem in imports for stem in stems)):
                again[file] = (path, imports)
    store.put_meta(connection, "roots", discovered)
    targets = {each: _Targets(resolver, paths) for each, resolver in resolvers.items()}
    store.put_links(
        connection,
        [
            (file, resolvers[language].module(path), targets[language].of(file, path, imports))
            for file, (path, imports) in again.items()
            for language in [language_of(path)]
        ],
    )


def make_resolvers(
    paths: Mapping[str, int], declared: Mapping[str, Sequence[str]]
) -> dict[Language, Resolver]:
    """Return what resolves the imports of each language that has files."""
    files: dict[Language, dict[str, int]] = {}
    for path, file in paths.items():
        files.setdefault(language_of(path), {})[path] = file
    return {
        each: each.resolver(own, declared.get(f"a{each.suffixes[0]}", ()))
        for each, own in files.items()
    }


class _Targets:
    """The edges of files as they are stored, from their packed imports.

    Most lines are in many files and mean the same in all of them, so each is resolved once.
    """

    def __init__(self, resolver: Resolver, paths: Mapping[str, int]) -> None:
        self.resolver = resolver
        self.paths = paths
        self.same: dict[str, tuple[int, ...]] = {}  # of lines that mean the same in every file
        self.own: set[str] = set()  # the lines whose meaning depends on the file

    def of(self, file: int, path: str, imports: str) -> bytes:
        """Return the files that one file imports."""
        targets: set[int] = set()
        for line in imports.split("\n") if imports else ():
            resolved = self.same.get(line)
            if resolved is None:
                kind, module, names = unpack_import(line)
                if kind == "string" and names:  # a file of which this one is another name
                    resolved = (self.paths[module],) if module in self.paths else ()
                elif kind == "string":
                    resolved = self.resolver.literal(path, module)
                elif line in self.own:
                    resolved = self.resolver.resolve(path, module, names)
                elif (resolved := self.resolver.anywhere(module, names)) is not None:
                    self.same[line] = resolved
                else:
                    self.own.add(line)
                    resolved = self.resolver.resolve(path, module, names)
            targets.update(resolved)
        targets.discard(file)  # a file does not import itself
        return array("I", sorted(targets)).tobytes()
