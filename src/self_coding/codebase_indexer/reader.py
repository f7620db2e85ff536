"""Answers about imports and modules from the stored index: impact, tests, one module.

Blocking, and only reading (files of the working tree, where a question needs their text): one
`Database.read()` of the caller spans a whole answer, so that all of it is of one state.
"""

from __future__ import annotations

import sqlite3
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.foreign import Foreign
from self_coding.codebase_indexer.links import declared_roots, make_resolvers
from self_coding.languages import (
    Language,
    Project,
    Resolver,
    Symbol,
    is_setting,
    is_source,
    language_of,
    language_of_manifest,
    top_manifests,
    unpack_imports,
    unpack_symbols,
)
from self_coding.values.code import (
    BlindSpot,
    ClassInfo,
    Dependent,
    FunctionInfo,
    Impact,
    ImportGraph,
    ModuleInfo,
)

if TYPE_CHECKING:
    from self_coding.codebase_indexer.lookup import Corpus


class Graph:
    """Who imports whom, by path.

    Three kinds of edges are in no import statement and are added here: what an import runs on its
    way (of `a.b.c`, the packages `a` and `a.b`), the packages around a module itself, and what a
    test runner loads before a test.

    Args:
        paths: file id -> path.
        edges: (source id, target id) of every import.
    """

    def __init__(self, paths: Mapping[int, str], edges: Iterable[tuple[int, int]]) -> None:
        self.paths = paths
        self._ids = ids = {path: file for file, path in paths.items()}
        self._importers: dict[int, set[int]] = defaultdict(set)
        languages = {file: language_of(path) for file, path in paths.items()}
        packages = {
            file: [ids[each] for each in languages[file].packages(path) if each in ids]
            for file, path in paths.items()
        }
        for source, target in edges:
            self._importers[target].add(source)
            for package in packages.get(target, ()):
                self._importers[package].add(source)
        for file, path in paths.items():
            for package in packages[file]:
                self._importers[package].add(file)
            for fixture in languages[file].fixtures(path):
                if fixture in ids:
                    self._importers[ids[fixture]].add(file)
        self._scopes: dict[str, list[int]] = defaultdict(list)
        self._languages = languages
        # Most languages have none, and Python's files pay nothing for those that have.
        # Nor do those of a language (Java) in which a file of its scope is seen by none as such.
        scoped = {
            each for each in {*languages.values()} if each.scope("a/a") and each.sees("a/a", "a/b")
        }
        for file, path in paths.items() if scoped else ():
            if languages[file] in scoped and (scope := languages[file].scope(path)):
                self._scopes[f"{scope}\0{languages[file].name}"].append(file)

    def _around(self, target: int, left: dict[str, list[int]] | None = None) -> list[int]:
        """Return the files that may need one of their scope without importing it.

        `left` is what was not returned yet of each scope: a walk that gets to all files of a scope
        would else compare each of them with each.
        """
        language, path = self._languages[target], self.paths[target]
        key = f"{language.scope(path)}\0{language.name}"
        if key not in self._scopes:
            return []
        around: tuple[list[int], list[int]] = [], []
        for file in self._scopes[key] if left is None else left.setdefault(key, self._scopes[key]):
            around[file != target and language.sees(self.paths[file], path)].append(file)
        if left is not None:
            left[key] = around[0]
        return around[1]

    def importers(self, path: str) -> list[str]:
        """Return the files that import one file directly, by path."""
        target = self._ids.get(path)
        if target is None:
            return []
        importers = {*self._importers.get(target, ()), *self._around(target)} - {target}
        return sorted(self.paths[file] for file in importers)

    @cached_property
    def value(self) -> ImportGraph:
        """The whole of it, its paths in order."""
        place = {file: at for at, file in enumerate(sorted(self.paths, key=self.paths.__getitem__))}
        edges = (
            (place[source], place[target])
            for target, sources in self._importers.items()
            for source in sources
            if source != target and target in place and source in place
        )
        return ImportGraph(tuple(self.paths[file] for file in place), tuple(sorted(edges)))

    def dependents(
        self, paths: Sequence[str], first: Mapping[str, str] | None = None
    ) -> list[Dependent]:
        """Return the files that import any of `paths`, directly or not, nearest first.

        Args:
            paths: the changed files; those the graph does not know have no importers.
            first: further direct dependents and what they depend on (a data file they read).
        """
        seen = {self._ids[path] for path in paths if path in self._ids}
        level = sorted(seen, key=self.paths.__getitem__)
        near = {self._ids[path]: by for path, by in (first or {}).items() if path in self._ids}
        dependents: list[Dependent] = []
        left: dict[str, list[int]] = {}
        distance = 0
        while level or near:
            distance += 1
            through = {file: by for file, by in near.items() if file not in seen}
            near = {}
            for target in level:
                for source in self._importers.get(target, ()):
                    if source not in seen:
                        through.setdefault(source, self.paths[target])
                for source in self._around(target, left) if self._scopes else ():
                    if source not in seen:
                        through.setdefault(source, self.paths[target])
            seen.update(through)
            level = sorted(through, key=self.paths.__getitem__)
            dependents += [
                Dependent(path=self.paths[file], distance=distance, through=through[file])
                for file in level
            ]
        return dependents


_NAMES, _SHORT_NAME = 30, 2  # names whose users are told apart, and those too short to tell


class IndexReader:
    """What most questions about imports need, read once for as long as the index stays as it is."""

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self.connection = connection
        self.root = root
        self._updates = store.meta(connection, "updates")
        self.files = store.files(connection)
        self.paths = {each.id: each.path for each in self.files}
        self.ids = {each.path: each.id for each in self.files}

    def is_of(self, connection: sqlite3.Connection) -> bool:
        """Return whether the index is still as it was read: each update counts itself."""
        # An index that was made anew counts from the start, but is another file, and so another
        # connection; the one that is held here keeps its identity from being given away.
        return connection is self.connection and self._updates == store.meta(connection, "updates")

    @cached_property
    def live(self) -> dict[int, int]:
        """The file of each live row of the full text."""
        return store.versions(self.connection)

    @cached_property
    def links(self) -> dict[int, bytes]:
        """The files that each file imports, packed."""
        return store.links(self.connection)

    @cached_property
    def stars(self) -> dict[str, list[str]]:
        """The modules that files import all names of, by the importing file."""
        return {
            path: [each.module for each in unpack_imports(text) if "*" in each.names]
            for _, path, text in store.all_imports(self.connection, "\t*")
        }

    @cached_property
    def corpus(self) -> Corpus:
        """What a ranking needs of all files."""
        from self_coding.codebase_indexer.lookup import Corpus

        return Corpus(self.files, self.live)

    @cached_property
    def graph(self) -> Graph:
        """Who imports whom."""
        return Graph(self.paths, store.pairs(self.connection))

    @cached_property
    def projects(self) -> dict[str, Project]:
        """What the manifests at the top of the tree declare, by their names."""
        texts = {name: self.source(name) for name in top_manifests()}
        return {
            name: language.project({name: language.decode(text)})
            for name, text in texts.items()
            if text
            for language in [language_of_manifest(name)]
        }

    @cached_property
    def _resolvers(self) -> dict[Language, Resolver]:
        return make_resolvers(self.ids, declared_roots(self.connection))

    def resolve(self, importer: str, module: str, names: tuple[str, ...]) -> list[str]:
        """Return the files that an import in `importer` means."""
        resolver = self._resolvers[language_of(importer)]
        return [self.paths[file] for file in resolver.resolve(importer, module, names)]

    def named(self, language: Language, modules: Iterable[str]) -> frozenset[str]:
        """Return the files that dotted names mean, as the top of the project sees them."""
        if language not in self._resolvers:
            return frozenset()
        literal = self._resolvers[language].literal
        return frozenset(self.paths[file] for module in modules for file in literal("", module))

    def source(self, path: str) -> bytes | None:
        """Return the bytes of a file of the working tree, None when it cannot be read."""
        try:
            with open(f"{self.root}/{path}", "rb", buffering=0) as file:
                return file.read()
        except OSError:
            return None

    def text(self, path: str) -> str:
        """Return the text of a source file, empty when it cannot be read."""
        return language_of(path).decode(self.source(path) or b"")

    @cached_property
    def tests(self) -> frozenset[str]:
        """The files that hold tests: by name, or by a test they define among the tests."""
        defining = store.testing(self.connection)
        return frozenset(
            each.path
            for each in self.files
            if each.is_test
            for language in [language_of(each.path)]
            if language.may_hold_tests(each.path)
            and (language.is_test_module(each.path) or each.id in defining)
        )

    @cached_property
    def foreign(self) -> Foreign:
        """What is built of some languages' files for others to import."""
        return Foreign(self)

    @cached_property
    def blind_tests(self) -> frozenset[str]:
        """The tests that reach a line which nobody can follow."""
        spots = {spot.path for spot in self.blind_spots}
        reaching = spots.union(each.path for each in self.graph.dependents(sorted(spots)))
        return self.tests & reaching

    @cached_property
    def blind_spots(self) -> list[BlindSpot]:
        """Every line that no static analysis can follow, by path and line."""
        spots = [
            BlindSpot(path=self.paths[file], line=line, reason=reason)
            for file, line, reason in store.blind_lines(self.connection)
            if file in self.paths
        ]
        return sorted(spots, key=lambda spot: (spot.path, spot.line))


def impact(reader: IndexReader, paths: Sequence[str]) -> Impact:
    """Return what changing `paths` can break.

    A test is left out only where no import leads from it to the change and nothing on its way
    imports by a computed name.
    """
    # Who depends on what is in no import any more, or in none at all.
    first: dict[str, str] = {}
    for path in paths:
        if not is_source(path):
            # Who reads a data file has its name in its text; failing that, its folder's.
            folder, _, name = path.rpartition("/")
            for word in filter(None, (name, folder.rpartition("/")[2])):
                found = store.holders(reader.connection, word, "body", live=reader.live)
                holders = sorted(reader.paths[each] for each in found)
                readers = [holder for holder in holders if word in reader.text(holder)]
                first.update(dict.fromkeys(readers, path))
                if readers:
                    break
        elif path not in reader.ids:
            first.update(dict.fromkeys(_importers_of_gone(reader, path), path))
    dependents = reader.graph.dependents(paths, first)
    foreign, is_unseen = reader.foreign.importers(paths, [each.path for each in dependents])
    if foreign:
        first.update(foreign)
        dependents = reader.graph.dependents(paths, first)
    entries: dict[str, str] = {}
    plugins: set[str] = set()
    for manifest, project in reader.projects.items():
        language = language_of_manifest(manifest)
        named = reader.named(language, project.entries)
        entries.update(dict.fromkeys(named, manifest))
        plugins |= reader.named(language, project.plugins)
    outside = [
        Dependent(path=name, distance=1, through=path)
        for path, name in sorted(entries.items())
        if path in paths
    ]
    reached = {each.path for each in dependents} | set(paths)
    tests = all_tests = reader.tests
    if not (any(map(is_setting, paths)) or reached & plugins):
        # Those in the closure, and those that reach a line which nobody can follow.
        tests = tests & reached | reader.blind_tests
    hidden = [
        BlindSpot(
            path=path, line=0, reason="not source code: who reads it by a computed name is not seen"
        )
        for path in paths
        if not is_source(path) and not is_setting(path)
    ]
    if is_unseen:
        reason = "built into a module of another language: who imports it is not seen"
        hidden.append(BlindSpot(path=paths[0], line=0, reason=reason))
    if any(map(is_source, paths)):
        hidden += reader.blind_spots
        if others := store.meta(reader.connection, "others"):
            reason = f"what is written in {others} is not read: who uses it there is not seen"
            hidden.append(BlindSpot(path=paths[0], line=0, reason=reason))
    distances = {each.path: each.distance for each in dependents}
    risk = _risk(paths, dependents, tests, all_tests, is_blind=bool(hidden))
    for one in outside:  # into thousands that are in this order already
        insort(dependents, one, key=lambda each: (each.distance, each.path))
    return Impact(
        paths=tuple(paths),
        dependents=tuple(dependents),
        tests=tuple(sorted(tests, key=lambda path: (distances.get(path, 1 << 30), path))),
        blind_spots=tuple(hidden),
        risk=risk,
        complete=not hidden,
    )


def _risk(
    paths: Sequence[str],
    dependents: Sequence[Dependent],
    tests: Set[str],
    all_tests: Set[str],
    *,
    is_blind: bool,
) -> float:
    """Return reach, lack of tests and blindness as independent chances to go wrong, weighted.

    Ten dependents outside the tests make half the reach. A rule of thumb, not a probability:
    it orders changes, and is fitted to nothing.
    """
    if not paths:
        return 0.0
    outside = sum(each.path not in all_tests for each in dependents)
    reach = outside / (outside + 10)
    # Of code alone: that no test reaches a text says nothing.
    product = [path for path in paths if is_source(path) and path not in all_tests]
    untested = 1.0 if product and not tests else 0.0
    calm = (1 - 0.6 * reach) * (1 - 0.5 * untested) * (1 - 0.2 * is_blind)
    return round(1 - calm, 3)


def with_uses(reader: IndexReader, found: Impact) -> Impact:
    """Note for each dependent which names of the changed files stand in it.

    The others only run them, as whatever imports a package runs its `__init__`.
    """
    names: list[str] = []
    for path in found.paths:
        module = module_info(reader, path)
        if module is not None:
            names += [one.name for one in module.classes]
            names += [one.name for one in module.functions]
    uses: dict[str, list[str]] = {}
    for name in [one for one in dict.fromkeys(names) if len(one) > _SHORT_NAME][:_NAMES]:
        for file in store.holders(reader.connection, name, "body", live=reader.live):
            uses.setdefault(reader.paths.get(file, ""), []).append(name)
    dependents = (replace(one, uses=tuple(uses.get(one.path, ()))) for one in found.dependents)
    return replace(found, dependents=tuple(dependents))


def _importers_of_gone(reader: IndexReader, path: str) -> list[str]:
    """Return the files that import a file that is no longer there."""
    phantom, language = -1, language_of(path)
    [resolver] = [
        made
        for each, made in make_resolvers(
            {**reader.ids, path: phantom}, declared_roots(reader.connection)
        ).items()
        if each is language
    ]
    return sorted(
        importer
        for _, importer, imports in store.all_imports(reader.connection, language.stem(path))
        if any(
            phantom in resolver.resolve(importer, each.module, each.names)
            for each in unpack_imports(imports)
            if each.kind != "string"
        )
    )


def covering_test(reader: IndexReader, path: str) -> str | None:
    """Return the test file that covers `path`, by import or by its name."""
    if not is_source(path):
        return None
    language, file = language_of(path), reader.ids.get(path)
    tests = reader.tests - {path}
    importing = tests.intersection(reader.graph.importers(path))
    # Only those that name the file in an import, not those that merely run it as a package.
    covering = {
        test for test in importing if file in store.targets(reader.connection, reader.ids[test])
    }
    names = language.tests_named_after(path)
    covering = covering or {test for test in tests if test.rpartition("/")[2] in names}
    stem = language.stem(path)
    nearest = sorted(covering, key=lambda test: (stem not in test.rpartition("/")[2], test))
    return nearest[0] if nearest else None


def module_info(reader: IndexReader, path: str) -> ModuleInfo | None:
    """Return what one file holds; None when it is not in the index.

    It is parsed now, from the working tree. What the parser refuses is answered from the text
    scan, and says why.
    """
    if path not in reader.ids:
        return None
    module = next(each.module for each in reader.files if each.path == path)
    source = reader.source(path)
    if source is None:
        info = ModuleInfo(file_path=path, module_name=module, error="it cannot be read")
    else:
        info = language_of(path).parse(source, path, module) or _by_text(path, module, source)
    info.test_coverage = covering_test(reader, path)
    return info


def _by_text(path: str, module: str, source: bytes) -> ModuleInfo:
    """Return what the text scan tells of a file that cannot be parsed."""
    language = language_of(path)
    told = language.scan(source, path)
    symbols = unpack_symbols(told.symbols)
    classes = [each for each in symbols if each.kind == "class" and not each.parent]
    return ModuleInfo(
        file_path=path,
        module_name=module,
        classes=[
            ClassInfo(each.name, _functions(symbols, each.name), line_number=each.line)
            for each in classes
        ],
        functions=_functions(symbols, ""),
        imports=[
            f"{each.module}.{name}" if name else each.module
            for each in unpack_imports(told.imports)
            for name in each.names or ("",)
            if each.kind != "string"
        ],
        error=language.syntax_error(source, path) or "it cannot be parsed",
    )


def _functions(symbols: Sequence[Symbol], parent: str) -> list[FunctionInfo]:
    return [
        FunctionInfo(
            each.name,
            line_number=each.line,
            is_async=each.kind == "async def",
            is_method=bool(parent),
        )
        for each in symbols
        if each.kind != "class" and each.parent == parent
    ]
