"""Pure: what the other packages know of a programming language, behind one protocol.

A language is one new module of this package whose `LANGUAGE` satisfies `Language` (derived from
it, `suffixes` and `is_test` are enough to begin with), and its row in `_ROWS`; `add_language` is
for one from elsewhere. Nothing else names its files, its tests or its imports; its module is loaded
when a file of it is there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from self_coding.values.code import ModuleInfo


class Language(Protocol):
    """One programming language: its files, its tests, its imports.

    What a language does not say is the cautious answer: no names, no imports, and in each file a
    blind spot, so that `impact` never calls a selection of tests complete.
    """

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of its source files end in."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def missing(self) -> str:
        """Why none of its files can be read here, empty where they can."""
        return ""

    @property
    def test_settings(self) -> tuple[str, ...]:
        """The settings files of the test runner, in the order in which it looks for them."""
        return ()

    @property
    def settings(self) -> frozenset[str]:
        """The names of files that decide which tests run, and how."""
        return frozenset()

    def is_test(self, path: str) -> bool:
        """Return whether a source file belongs to the tests: a test or what supports one."""

    def is_test_module(self, path: str) -> bool:
        """Return whether test runners collect a source file, going by its name."""
        return self.is_test(path)

    def may_hold_tests(self, path: str) -> bool:
        """Return whether a file of the tests that defines a test is collected."""
        return True

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        """Return the file names that a test of this source file usually has."""
        return ()

    def stem(self, path: str) -> str:
        """Return the word that every import of a file holds."""
        return path.rpartition("/")[2].partition(".")[0]

    def is_package(self, path: str) -> bool:
        """Return whether a file makes its folder importable, and so moves source roots."""
        return False

    @property
    def inline_tests(self) -> bool:
        """Whether what is no test file may hold tests."""
        return False

    def with_tests(self, text: str, other: str) -> str:
        """Return a file with the tests inside of it that another version of it has."""
        return text

    @property
    def qualified(self) -> bool:
        """Whether a name with its whole path needs no import."""
        return False

    def scope(self, path: str) -> str:
        """Return what files of one scope share: they see each other without an import."""
        return ""

    def sees(self, path: str, other: str) -> bool:
        """Return whether a file may need another one of its scope that it does not import."""
        return True

    def exported_as(self, text: str, name: str) -> frozenset[str]:
        """Return the names under which others import what a file calls `name`."""
        return frozenset((name,))

    def packages(self, path: str) -> Iterator[str]:
        """Return the files that run before `path` is imported, if they exist, innermost first."""
        return iter(())

    def fixtures(self, path: str) -> Iterator[str]:
        """Return the files that a test runner loads before the test `path`, if they exist."""
        return iter(())

    def decode(self, source: bytes) -> str:
        """Return the text of a source file; bytes that cannot be decoded are replaced."""
        return source.decode("utf-8", "replace")

    def scan(self, source: bytes, path: str = "") -> Scan:
        """Return what the text of a file tells, in linear time, whatever its bytes are."""
        text = self.decode(source)
        blind = [BlindLine(1, "what this file imports is not known")]
        return Scan(text.count("\n") + 1, "", [], "", "", blind, text)

    def syntax_error(self, source: bytes, path: str = "") -> str | None:
        """Return why the parser refuses a file, None when it does not."""
        return None

    def parse(self, source: bytes, path: str, module: str) -> ModuleInfo | None:
        """Return the signatures and docstrings of a file, None when it cannot be parsed."""
        return None

    def bodies(self, text: str, path: str) -> list[Body]:
        """Return the functions of a file that are inside no other one."""
        return []

    def find_names(self, text: str, words: frozenset[str]) -> Occurrences:
        """Return where a file uses words that are `nfkc`, and the imports on whose lines one is."""
        import re  # not at the top: see `nfkc`

        lines = enumerate(text.split("\n"), 1)
        found = [(at, words.intersection(re.findall(r"\w+", nfkc(line)))) for at, line in lines]
        return Occurrences([], [], [], [], [(word, at) for at, held in found for word in held])

    def class_body_uses(
        self, text: str, name: str, heads: Iterable[int], lines: list[int]
    ) -> list[int]:
        """Return which of some lines use a method's bare name in the body of its class.

        Args:
            text: the file.
            name: the name of the methods.
            heads: the lines of their heads.
            lines: those on which the name occurs by itself, in order.
        """
        return []

    def mutants(self, text: str, lines: Container[int]) -> Iterator[Mutant]:
        """Yield small changes of these lines of a file that a good test notices."""
        return iter(())

    def project(self, manifests: Mapping[str, str]) -> Project:
        """Read the texts of the manifests (see `_ROWS`), by path; nothing in them is required."""
        return Project()

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        """Return what resolves the imports of these files (path -> id), its source roots given."""
        return NoImports()


class Resolver(Protocol):
    """Names to files, in one state of a repository; without more, no import leads to a file."""

    def module(self, path: str) -> str:
        """Return the name under which a file is imported."""
        return path

    def roots(self) -> frozenset[str]:
        """Return the folders that imports start from."""
        return frozenset()

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the files that `from module import names` in `path` runs."""
        return ()

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Return what `resolve` says for every importer; None where that depends on it."""
        return ()

    def literal(self, path: str, text: str) -> tuple[int, ...]:
        """Return the files that a string names: a module, or the path of a script."""
        return ()


class NoImports(Resolver):
    """The resolver of a language whose imports are not known."""


class Project(NamedTuple):
    """`roots` are folders imports start from; `entries` the modules that installed commands and
    plugins name; `plugins` the modules that the test runner loads before any test."""

    roots: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


class Statement(NamedTuple):
    """One import statement: `module` is None for `import a, b`; names with what binds them."""

    line: int
    module: str | None
    names: tuple[tuple[str, str | None], ...]


class Occurrences(NamedTuple):
    """What a file does with some words.

    `names`, `strings` (that are one of the words) and `unparsed` are (word, line), `attributes`
    (dotted name of the value or "", word, line). `imports` are the statements with one of the
    words, and those of all names.
    """

    imports: list[Statement]
    names: list[tuple[str, int]]
    attributes: list[tuple[str, str, int]]
    strings: list[tuple[str, int]]
    unparsed: list[tuple[str, int]]


class Body(NamedTuple):
    """A function: its first and last line, and its name behind those of its classes."""

    start: int
    end: int
    name: str


class Mutant(NamedTuple):
    """A text in which `old`, which begins on a line of it, has become `new`."""

    line: int
    old: str
    new: str
    text: str


class BlindLine(NamedTuple):
    """A line that static analysis cannot follow, and why."""

    line: int
    reason: str


class Scan(NamedTuple):
    """What the text of one file tells.

    `symbols` and `imports` are packed, as they are stored: a line an entry, quicker to make, to
    store and to read than a row for every name. `names` are those of the symbols; `text` is what
    the full text is made of.
    """

    lines: int
    symbols: str
    names: list[str]
    imports: str
    docstrings: str
    blind: list[BlindLine]
    text: str


class Symbol(NamedTuple):
    """A class or function head: `kind` is "class", "def" or "async def"; `parent` the dotted
    names of the heads around it, empty at the top level."""

    line: int
    kind: str
    name: str
    parent: str


class Import(NamedTuple):
    """One imported module: `module` keeps its leading dots, `names` is empty for `import a.b`.

    `kind` is "import", or "string" where a literal names the module.
    """

    kind: str
    module: str
    names: tuple[str, ...]


def unpack_symbols(text: str) -> list[Symbol]:
    """Return the symbols of a packed text, in order of their lines."""
    symbols = []
    for packed in text.split("\n") if text else ():
        line, kind, name, parent = packed.split("\t")
        symbols.append(Symbol(int(line), kind, name, parent))
    return symbols


def is_method(symbols: str, of: Symbol) -> bool:
    """Return whether a symbol of a packed text is defined directly in a class."""
    outer, _, name = of.parent.rpartition(".")
    return bool(name) and f"\tclass\t{name}\t{outer}\n" in f"{symbols}\n"


def pack_import(module: str, names: Iterable[str], *, kind: str = "import") -> str:
    """Return one import as a line, whatever a hostile source has in it."""
    named = ",".join(names)
    if not (module + named).isprintable():
        module, named = " ".join(module.split()), " ".join(named.split())
    return f"{kind}\t{module}\t{named}"


def unpack_import(line: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the kind, module and names of one packed import."""
    kind, module, names = line.split("\t")
    return kind, module, tuple(names.split(",")) if names else ()


def unpack_imports(text: str) -> list[Import]:
    """Return the imports of a packed text."""
    return [Import(*unpack_import(line)) for line in text.split("\n")] if text else []


_MARKS = 50


def nfkc(text: str) -> str:
    """Return a text as names are compared: those spelled with marks of their own are the same."""
    if text.isascii():
        return text
    import re  # neither is loaded by most questions
    from unicodedata import normalize

    # The library sorts a run of marks in quadratic time: very long ones, in no name, stay.
    if b"?" * _MARKS not in text.encode("ascii", "replace"):  # a search in C
        return normalize("NFKC", text)
    parts = re.split(rf"([^\w\x00-\x7f]{{{_MARKS},}}+)", text)
    return "".join([each if at % 2 else normalize("NFKC", each) for at, each in enumerate(parts)])


# A module, what the names of its files end in, and its manifests: the files that declare source
# roots, names and entry points, at the top of the tree, or anywhere in it ("*/" before them).
_ROWS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("python", (".py",), ("pyproject.toml",)),
    (
        "typescript",
        (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"),
        ("*/package.json", "*/tsconfig.json", "*/jsconfig.json", "*/tsconfig.base.json"),
    ),
    ("go", (".go",), ("*/go.mod",)),
    ("rust", (".rs",), ("*/Cargo.toml",)),
    ("java", (".java",), ()),
)
# Programming languages that are not read, so that their users of a symbol are not seen.
_UNREAD = {
    f".{end}": words.split()[0].replace("_", " ")
    for words in (
        *(
            "Kotlin kt kts",
            "Scala scala",
            "Groovy groovy",
            "Clojure clj",
            "C c h",
            "C++ cc cpp cxx hpp hh",
        ),
        *(
            "C# cs",
            "F# fs",
            "Visual_Basic vb",
            "Objective-C m",
            "Swift swift",
            "Ruby rb",
            "PHP php",
        ),
        *(
            "Perl pl pm",
            "Lua lua",
            "Dart dart",
            "Elixir ex exs",
            "Erlang erl",
            "Haskell hs",
            "OCaml ml",
        ),
        *("Julia jl", "R r R", "Zig zig", "Nim nim", "Crystal cr", "Cython pyx pxd", "Fortran f90"),
        *("Vue vue", "Svelte svelte"),
    )
    for end in words.split()[1:]
}
_MODULES: dict[str, str] = {}  # the module of each ending
_TOPS: dict[str, str] = {}  # of each name of a manifest
_BELOW: dict[str, str] = {}


def add_language(module: str, endings: tuple[str, ...], manifests: tuple[str, ...] = ()) -> None:
    """Let everything here know one more language, before a repository of it is opened.

    Args:
        module: the full name of the module that holds its `LANGUAGE`.
        endings: what the names of its files end in.
        manifests: as in `_ROWS`.
    """
    _MODULES.update(dict.fromkeys(endings, module))
    for name in manifests:
        _TOPS[name.removeprefix("*/")] = module
        if name[:2] == "*/":
            _BELOW[name[2:]] = module
    languages.cache_clear()
    suffixes.cache_clear()


@cache
def _load(module: str) -> Language:
    language: Language = import_module(module).LANGUAGE
    return language


@cache
def languages() -> tuple[Language, ...]:
    """Return every language there is."""
    return tuple(_load(module) for module in dict.fromkeys(_MODULES.values()))


@cache
def suffixes() -> tuple[str, ...]:
    """Return what source files end in, for `str.endswith`."""
    return tuple(_MODULES)


for _module, _endings, _manifests in _ROWS:
    add_language(f"{__name__}.{_module}", _endings, _manifests)


def unread_languages(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the programming languages of some files that nothing here reads."""
    ends = {path[at:] for path in paths if (at := path.rfind(".")) > 0}
    return tuple(sorted({_UNREAD[end] for end in ends if end in _UNREAD and end not in _MODULES}))


def top_manifests() -> tuple[str, ...]:
    """Return the names of manifests at the top of a tree."""
    return tuple(_TOPS)


def is_manifest(path: str) -> bool:
    """Return whether a file declares how one language's imports are to be read."""
    return path in _TOPS or path.rpartition("/")[2] in _BELOW


def language_of_manifest(path: str) -> Language:
    """Return the language of a manifest."""
    return _load(_TOPS.get(path) or _BELOW[path.rpartition("/")[2]])


def language_of(path: str) -> Language:
    """Return the language of a source file; a KeyError for any other."""
    return _load(_MODULES["." + path.rpartition(".")[2]])


def is_source(path: str) -> bool:
    """Return whether a file is source code."""
    return path.endswith(suffixes())


def is_test(path: str) -> bool:
    """Return whether a file is source code that belongs to the tests."""
    return is_source(path) and language_of(path).is_test(path)


def is_test_module(path: str) -> bool:
    """Return whether test runners collect a file, going by its name."""
    return is_source(path) and language_of(path).is_test_module(path)


def is_setting(path: str) -> bool:
    """Return whether a file decides which tests run, and how."""
    name = path.rpartition("/")[2]
    return any(name in each.settings for each in languages())
