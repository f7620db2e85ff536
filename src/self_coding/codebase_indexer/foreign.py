"""Find who imports, in one language, what is built of files of another one.

Blocking, and only reading. What the whole tree says of it (which files hold bindings, which
imports may mean a file's name) is read once for as long as the index stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.links import declared_roots
from self_coding.languages import language_of, unpack_import

if TYPE_CHECKING:
    from self_coding.codebase_indexer.reader import IndexReader

_COMPILED = (".rs", ".go", ".java", ".c", ".cc", ".cpp", ".cxx", ".f90", ".pyx", ".pxd")
# What builds a module for another language, in a manifest or in the source itself.
_BINDINGS = re.compile(
    rb"pyo3|maturin|setuptools.rust|cffi|gopy|napi|neon|wasm|jpype|PyInit_|no_mangle|//export "
)
# The same as the full text has it: the beginnings of words.
_BINDING_WORDS = (
    "pyo3", "maturin", "setuptools rust", "cffi", "gopy", "napi", "neon", "wasm", "jpype",
    "pyinit", "no mangle", "export",
)  # fmt: skip
_BUILT_NAMES = re.compile(
    rb"PyInit_(\w{1,99})|#\[pymodule[^]]{0,99}\]\s{0,99}(?:pub )?(?:fn|mod) (\w{1,99})"
)
_NAMELESS = frozenset(("", "lib", "main", "mod"))


class Foreign:
    """What one state of the index says of modules that are built for another language."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader
        self._meant: dict[int, list[frozenset[str]]] = {}  # file: the names each import may mean
        self._names: set[str] = set()  # those that a built module may have

    def importers(
        self, paths: Sequence[str], dependents: Sequence[str]
    ) -> tuple[dict[str, str], bool]:
        """Return who imports what is built of files and their dependents, and of which file.

        And whether somebody may do so whom no name gives away.
        """
        if not any(path.endswith(_COMPILED) for path in paths) or not self._others:
            return {}, False
        below = [one for one in (*paths, *dependents) if one.endswith(_COMPILED)]
        sources = {path: self._reader.source(path) or b"" for path in paths if path in below}
        built: dict[str, str] = {}  # by which name another language may import it: the file
        for path in below:
            names = {_stem(path), *self._declared.get(path, ())}
            names |= _built(sources[path]) if path in sources else self._named.get(path, set())
            for name in names - _NAMELESS:
                built.setdefault(name, path)
        if not self._names:
            compiled = (path for path in self._reader.ids if path.endswith(_COMPILED))
            self._names.update(
                *self._declared.values(), *self._named.values(), map(_stem, compiled)
            )
        if not built.keys() <= self._names:  # of files that are not in the index
            self._names |= built.keys()
            self._meant.clear()
            self.__dict__.pop("_mentions", None)
        found: dict[str, str] = {}
        near = {
            file for name in built.keys() & self._mentions.keys() for file in self._mentions[name]
        }
        for file in sorted(near):
            said = next(
                (each for each in self._means(file) if not built.keys().isdisjoint(each)), None
            )
            if said is not None:
                found[self._reader.paths[file]] = built[min(said & built.keys())]
        return found, not found and (
            self._is_built_at_top
            or any(map(_BINDINGS.search, sources.values()))
            or not self._bound.isdisjoint(below)
            or any(path.startswith(folder) for folder in self._bound_folders for path in below)
        )

    @cached_property
    def _others(self) -> list[tuple[int, str]]:
        """The files that import by names alone: id and path."""
        return [
            (file, path) for path, file in self._reader.ids.items() if not path.endswith(_COMPILED)
        ]

    @cached_property
    def _declared(self) -> dict[str, list[str]]:
        """The names under which manifests declare a file."""
        declared: dict[str, list[str]] = {}
        for roots in declared_roots(self._reader.connection).values():
            for root in roots:
                name, is_named, path = root.partition("=")
                if is_named:
                    declared.setdefault(path, []).append(name)
        return declared

    @cached_property
    def _named(self) -> dict[str, set[str]]:
        """The names that compiled files give to modules in their text."""
        held = (
            (path, _built(self._reader.source(path) or b""))
            for path in self._holding(("pyinit", "pymodule"))
        )
        return {path: names for path, names in held if names}

    @cached_property
    def _bound(self) -> set[str]:
        """The compiled files that are made for another language to call."""
        return {
            path
            for path in self._holding(_BINDING_WORDS)
            if _BINDINGS.search(self._reader.source(path) or b"")
        }

    def _holding(self, words: Iterable[str]) -> Iterator[str]:
        """Yield the compiled files whose text holds a word that begins with one of some."""
        held = {
            file
            for word in words
            for file in store.holders(
                self._reader.connection, word, "body", live=self._reader.live, starts=True
            )
        }
        for file in sorted(held):
            if (path := self._reader.paths.get(file, "")).endswith(_COMPILED):
                yield path

    @cached_property
    def _is_built_at_top(self) -> bool:
        texts = (
            self._reader.source(name) for name in ("pyproject.toml", "setup.py", "package.json")
        )
        return any(_BINDINGS.search(text or b"") for text in texts)

    @cached_property
    def _bound_folders(self) -> list[str]:
        """The folders of crates that are built for another language, with a "/" at the end."""
        manifests = store.meta(self._reader.connection, "manifests").split("\n")
        return [
            each.removesuffix("Cargo.toml")
            for each in manifests
            if each.rpartition("/")[2] == "Cargo.toml"
            and _BINDINGS.search(self._reader.source(each) or b"")
        ]

    @cached_property
    def _mentions(self) -> dict[str, list[int]]:
        """The files in whose imports a name that a built module may have stands."""
        wanted = self._names - _NAMELESS
        seen: dict[str, Set[str]] = {}  # most lines are in many files
        mentions: dict[str, list[int]] = {}
        for file, path, imports in store.all_imports(self._reader.connection):
            if path.endswith(_COMPILED):
                continue
            names: set[str] = set()
            for line in imports.split("\n"):
                if line not in seen:
                    seen[line] = wanted.intersection(re.findall(r"[^./,\s]+", line))
                names |= seen[line]
            for name in names:
                mentions.setdefault(name, []).append(file)
        return mentions

    def _means(self, file: int) -> list[frozenset[str]]:
        """Return the names of each import that is no file of the importer's own language."""
        if (known := self._meant.get(file)) is not None:
            return known
        self._meant[file] = found = []
        path = self._reader.paths[file]
        for line in store.imports(self._reader.connection, file).split("\n"):
            kind, module, names = unpack_import(line) if line else ("string", "", ())
            said = self._mentions.keys() & {re.split(r"[./]", module)[-1], *names}
            # or it is something in one: a name that a package has
            if (
                kind != "string"
                and said
                and all(
                    language_of(one).is_package(one)
                    for one in self._reader.resolve(path, module, names)
                )
            ):
                found.append(frozenset(said))
        return found


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _built(source: bytes) -> set[str]:
    """Return the names of the modules that a text of a compiled language makes."""
    return {(a or b).decode("latin-1") for a, b in _BUILT_NAMES.findall(source)}
