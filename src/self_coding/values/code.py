"""What the index knows about code: modules, dependents, impact, relevance."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FunctionInfo:
    """A function or method: `args` and `returns` are source text, its lines are 1-based."""

    name: str
    args: list[str] = field(default_factory=list)
    returns: str | None = None
    docstring: str | None = None
    line_number: int = 0
    is_async: bool = False
    is_method: bool = False
    end_line: int = 0


@dataclass
class ClassInfo:
    """A class with its own methods; `bases` are source text."""

    name: str
    methods: list[FunctionInfo] = field(default_factory=list)
    docstring: str | None = None
    line_number: int = 0
    bases: list[str] = field(default_factory=list)
    end_line: int = 0


@dataclass
class ModuleInfo:
    """One source file: its top-level classes and functions, and the names of what it imports.

    `error` says why it cannot be parsed here; then names and lines are those of the text scan,
    and arguments, docstrings and bases are missing. `origin` is "generated", "vendored" or
    "minified" where nobody wrote it here.
    """

    file_path: str
    module_name: str
    classes: list[ClassInfo] = field(default_factory=list)
    functions: list[FunctionInfo] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    docstring: str | None = None
    test_coverage: str | None = None
    error: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """A file that depends on a changed one, `distance` imports away (1 is a direct importer).

    `uses` are names which the changed file defines and that stand in it, where that was asked.
    """

    path: str
    distance: int
    through: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BlindSpot:
    """Something static analysis cannot follow: a dynamic import, a data file, a subprocess."""

    path: str
    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What a change can break: dependents nearest first, the tests that reach it, and the rest.

    `risk` lies between 0 (nothing depends on it and tests cover it) and 1. `complete` is False
    when `blind_spots` could hide a dependent: then only the full suite is safe.
    """

    paths: tuple[str, ...]
    dependents: tuple[Dependent, ...] = ()
    tests: tuple[str, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    risk: float = 0.0
    complete: bool = True


@dataclass(frozen=True)
class ImportGraph:
    """Who imports whom: `edges` are (importer, imported), as places in `paths`."""

    paths: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class CodeSpan:
    """Lines of a file, from 1, that a task seems to concern: a function's, or some between.

    `score` is the chance that a change for the task touches them, `symbol` the function's name
    behind those of its classes, `code` what stands there.
    """

    start: int
    end: int
    symbol: str
    score: float
    reasons: tuple[str, ...]
    code: str


@dataclass(frozen=True, kw_only=True)
class RelevantFile:
    """A file that a task seems to concern, its score, and what spoke for it, strongest first."""

    path: str
    score: float
    reasons: tuple[str, ...] = ()
    spans: tuple[CodeSpan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SymbolUse:
    """One line that uses a function or class; `how` is "import", "name", "attribute", "string"
    or "unparsed". `certain` is False where only the name is the same: it may be another's."""

    path: str
    line: int
    how: str
    certain: bool


@dataclass(frozen=True, kw_only=True)
class SymbolUsers:
    """Who uses a symbol: `definitions` are "path:line"; `uses` are certain, `unknown` may be.

    `unread` are further files that hold the word and were too many to be read: those from which no
    import leads to a definition, and, of a name that thousands import, the farthest that do.
    `left_out` are the languages in which nobody looked for users.
    `more_uses` and `more_unknown` count what was left out of an answer that has a limit.
    """

    symbol: str
    definitions: tuple[str, ...] = ()
    uses: tuple[SymbolUse, ...] = ()
    unknown: tuple[SymbolUse, ...] = ()
    unread: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    more_uses: int = 0
    more_unknown: int = 0
