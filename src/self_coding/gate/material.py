"""Pure. What of a tree judges, and what is judged: the line between the tests and the code.

Judging material are test modules, what stands beside them (fixtures, helpers, data, golden files),
what the test runner reads, and what the test command goes through. Everything else is code under
test, among it the manifests that code cannot be built without. A file that is both is divided.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from self_coding.audit.definitions import docstrings
from self_coding.audit.files import Kind, Settings, kind_of
from self_coding.audit.syntax import parse
from self_coding.languages import is_source, is_test, language_of
from self_coding.text import matches

_RUNNERS = re.compile(  # files that a runner reads without being told so
    r"(?:.*/)?(?:(?:GNU)?makefile|[^/]*\.mk|justfile|\.justfile|taskfile\.ya?ml|noxfile\.py|tox\.ini|"
    r"package\.json|jest\.config\.\w+|vitest\.config\.\w+|karma\.conf\.\w+|\.mocharc\.\w+|"
    r"phpunit\.xml(?:\.dist)?|\.rspec|\.npmrc|\.yarnrc(?:\.yml)?|\.pnpmfile\.cjs|bunfig\.toml|"
    r"\.cargo/config(?:\.toml)?|\.config/nextest\.toml|go\.work|\.mvn/.*|gradle\.properties|"
    r"junit-platform\.properties|META-INF/services/org\.junit.*)",
    re.IGNORECASE,
)
# tables of a manifest by which tests are found and run
_TOML_TABLES = re.compile(
    r"(?:tool\.(?:pytest|coverage|tox|hatch\.envs|nox|poe|pdm\.scripts|taskipy|pixi\.tasks|nose2)|pytest)"
    r"(?:\.|$)"
)
_INI_SECTIONS = re.compile(
    r"(?:tool:)?pytest|coverage:.*|tox(?:[:_].*)?|testenv.*|nosetests|nose2.*"
)
_MANIFESTS = ("pyproject.toml", "setup.cfg")
_HEADER = re.compile(r"(?m)^[ \t]*+\[++([^\]\n]++)\]++[ \t]*+(?:[#;].*)?$")


@dataclass(frozen=True)
class Material:
    """What judges in one repository.

    `settings` are pytest's at the base, which say what it collects; `globs` further paths that
    judge, or with `!` do not; `collected` the ids of tests of either side, whose files judge;
    `through` what the command goes through.
    """

    settings: Settings = field(default_factory=Settings)
    command: str = ""
    globs: tuple[str, ...] = ()
    collected: Collection[str] = ()
    through: Collection[str] = ()

    def judges(self, path: str) -> bool:
        """Return whether the file at `path` judges as a whole."""
        for glob in reversed(self.globs):
            if matches(path, (glob.removeprefix("!"),)):
                return not glob.startswith("!")
        kind = kind_of(path, self.settings)
        if kind in {Kind.TEST, Kind.SUPPORT, Kind.DATA} or path in self._test_files:
            return True
        if kind is Kind.SETTING or _RUNNERS.fullmatch(path):
            return path.rpartition("/")[2] not in _MANIFESTS
        return path in self.through or path in _words(self.command)

    @property
    def _test_files(self) -> frozenset[str]:
        """The files with a test in them; a source whose docstrings are tests is still code."""
        files = set()
        for node in self.collected:
            path, _, name = node.partition("::")
            stem = path.rpartition("/")[2].partition(".")[0]
            if is_source(path) and language_of(path).inline_tests:
                continue  # tests beside the code that they test: it is divided
            if not path.endswith(".py") or not (name == stem or "." in name.split("[", 1)[0]):
                files.add(path)
        return frozenset(files)


def goes_through(
    command: str, paths: Collection[str], text: Callable[[str], str | None]
) -> frozenset[str]:
    """Return the files at the top that a script of the command names, and that no test does."""
    found, pending = set[str](), [word for word in _words(command) if word in paths]
    while pending:
        path = pending.pop()
        found.add(path)
        words = set(re.findall(r"[\w-]+", text(path) or ""))
        pending += [one for word in words for one in (f"{word}.py",) if one in {*paths} - found]
    tests = "".join(text(path) or "" for path in paths if found and is_test(path))
    return frozenset(one for one in found if one.partition(".")[0] not in tests)


def _words(command: str) -> set[str]:
    return {word.removeprefix("./") for word in command.split()}


def is_divided(path: str) -> bool:
    """Return whether a file may hold both what judges and what is judged."""
    is_mixed = is_source(path) and language_of(path).inline_tests
    return is_mixed or path.endswith(".py") or path.rpartition("/")[2] in _MANIFESTS


def divide(path: str, base: str | None, candidate: str | None) -> str | None:
    """Return the candidate's file with what judges as the base has it: a manifest's settings of the
    tests, a module's doctests. A manifest that cannot be divided is the base's as a whole."""
    if is_source(path) and language_of(path).inline_tests:
        language = language_of(path)
        return None if candidate is None else language.with_tests(candidate, base or "")
    if path.endswith(".py"):
        return candidate if base is None or candidate is None else _with_doctests(base, candidate)
    if candidate is None or base == candidate:
        return base
    read, is_ours = (_toml, _TOML_TABLES) if path.endswith(".toml") else (_ini, _INI_SECTIONS)
    before, after = read(base or ""), read(candidate)
    if before is None or after is None:
        return base
    if _parts(before, is_ours, keep=True) == _parts(after, is_ours, keep=True):
        return candidate
    ours = [text for name, text in _sections(base or "") if is_ours.match(name)]
    rest = [text for name, text in _sections(candidate) if not is_ours.match(name)]
    divided = "\n".join(text.rstrip("\n") + "\n" for text in (*rest, *ours))
    wanted = _parts(after, is_ours, keep=False) | _parts(before, is_ours, keep=True)
    return divided if read(divided) is not None and read(divided) == wanted else base


def _with_doctests(base: str, candidate: str) -> str:
    """Return a module with the doctests that another has in the docstrings of the same name."""
    if ">>>" not in base:
        return candidate
    before, after = docstrings(base), docstrings(candidate)
    lines = candidate.splitlines(keepends=True)
    for name, new in sorted(after.items(), key=lambda item: -item[1].lineno):
        old = before.get(name)
        if old is not None and ">>>" in str(old.value) and old.value != new.value:
            indent = " " * new.col_offset
            lines[new.lineno - 1 : new.end_lineno] = [f"{indent}{old.value!r}\n"]
    made = "".join(lines)
    return made if parse(made) else candidate  # a docstring shared its lines with code


def _sections(text: str) -> list[tuple[str, str]]:
    """Return the text of each section with its name; what comes before the first has none."""
    heads = [*_HEADER.finditer(text)]
    starts = [0, *(head.start() for head in heads), len(text)]
    names = ["", *(re.sub(r"[\"'\s]", "", head[1]) for head in heads)]
    parts = zip(names, (text[a:b] for a, b in pairwise(starts)), strict=True)
    return [(name, part) for name, part in parts if part]


def _parts(
    document: Mapping[str, object], is_ours: re.Pattern[str], *, keep: bool
) -> dict[str, object]:
    """Return the values by their full names: the tests' settings, or all others."""
    return {name: value for name, value in document.items() if bool(is_ours.match(name)) is keep}


def _toml(text: str) -> dict[str, object] | None:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    flat: dict[str, object] = {}
    pending: list[tuple[str, object]] = [("", document)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict) and value:
            pending += [(f"{name}.{key}" if name else key, part) for key, part in value.items()]
        elif value != {}:
            flat[name] = value
    return flat


def _ini(text: str) -> dict[str, object] | None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return {name: dict(parser.items(name)) for name in parser.sections()}
