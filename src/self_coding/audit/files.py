"""The files of a change, decoded, and what each of them is to the tests.

Pure: contents come in as bytes by path. What counts as a test is read from the base's own pytest
settings where they are given, else from pytest's defaults.
"""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property

from self_coding.audit import syntax
from self_coding.languages import is_source, language_of

Contents = Mapping[str, bytes | None]

SETTING_FILES = language_of("a.py").test_settings
"""In the order in which pytest looks: the first that holds pytest settings is the only one."""

_DEFAULT_PATTERNS = {
    "python_files": ("test_*.py", "*_test.py"),
    "python_classes": ("Test",),
    "python_functions": ("test",),
}
_TEST_FOLDERS = frozenset({"test", "tests", "testing", "testsuite", "test_suite"})
_COMMANDS = re.compile(
    r"(?:.*/)?(?:(?:GNU)?makefile|[^/\n]*\.mk|justfile|taskfile\.ya?ml|dockerfile.*|jenkinsfile|"
    r"(?:noxfile|tasks|fabfile|dodo)\.py|(?:hatch|pixi)\.toml|earthfile|\.?appveyor\.yml|"
    r"\.(?:travis|gitlab-ci|cirrus|drone|woodpecker)\.ya?ml|azure-pipelines\.ya?ml|"
    r"bitbucket-pipelines\.yml|\.pre-commit-config\.yaml|"
    r"[\w.-]+\.(?:sh|bash|bat|cmd|ps1)|package\.json|\.envrc|\.env)"
    r"|\.(?:github|circleci|gitlab|buildkite|woodpecker|forgejo)/.*|scripts?/[\w.-]+|ci/.*|\.ci/.*",
    re.IGNORECASE,
)


_NO_CODE = re.compile(  # what no test can depend on: pictures, fonts, and files for git and editors
    r"(?i)\.(?:svg|png|jpe?g|gif|ico|webp|woff2?|ttf|pdf|mp[34])$|(?:^|/)(?:\.[\w-]+|license[\w.]*)$"
)


class Kind(StrEnum):
    """What a file is to the tests."""

    TEST = "test"  # a module that is collected
    SUPPORT = "support"  # code beside the tests: conftest, helpers
    DATA = "data"  # anything else beside the tests
    SOURCE = "source"  # other code
    COMMAND = "command"  # what runs the tests: CI, Makefile, tox, nox, scripts
    SETTING = "setting"  # where pytest, coverage and the project are configured
    PROSE = "prose"  # documentation
    OTHER = "other"


@dataclass(frozen=True)
class Settings:
    """What pytest reads: the file, and its settings as text by name."""

    path: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def words(self, name: str) -> tuple[str, ...]:
        """Return the words of a setting; none where it is not set."""
        return tuple(self.values.get(name, "").split())

    def lines(self, name: str) -> list[str]:
        """Return the lines of a setting; none where it is not set."""
        stripped = map(str.strip, self.values.get(name, "").splitlines())
        return [line for line in stripped if line]

    def is_on(self, *names: str) -> bool:
        """Return whether one of some switches is on."""
        return any(self.values.get(name, "").lower() in {"true", "1"} for name in names)

    def patterns(self, name: str) -> tuple[str, ...]:
        """Return what `python_files`, `python_classes` or `python_functions` collects."""
        return self.words(name) or _DEFAULT_PATTERNS[name]


@dataclass(frozen=True)
class File:
    """One changed path: its old and new text (None: not there; undecodable bytes are kept)."""

    path: str
    kind: Kind
    old: str | None
    new: str | None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_python(self) -> bool:
        """Whether it is Python source."""
        return self.path.endswith((".py", ".pyi"))

    @property
    def is_beside_tests(self) -> bool:
        """Whether it is Python that runs with the tests."""
        return self.is_python and self.kind in {Kind.TEST, Kind.SUPPORT}

    @property
    def tree(self) -> ast.Module:
        """Its new syntax tree; an empty one if it is gone, or not valid Python."""
        return (syntax.parse(self.new) if self.is_python else None) or ast.Module([], [])

    @property
    def old_tree(self) -> ast.Module:
        """Its old syntax tree; an empty one if it was not there, or not valid Python."""
        return (syntax.parse(self.old) if self.is_python else None) or ast.Module([], [])

    @cached_property
    def _old_nodes(self) -> dict[type[ast.AST], frozenset[str]]:
        return {}

    def had(self, node: ast.AST) -> bool:
        """Return whether the old module held the same node, wherever that was."""
        kind = type(node)
        if kind not in self._old_nodes:
            nodes = (old for old in syntax.nodes(self.old_tree) if type(old) is kind)
            self._old_nodes[kind] = frozenset(map(syntax.unannotated, nodes))
        return syntax.unannotated(node) in self._old_nodes[kind]

    @cached_property
    def added_lines(self) -> tuple[tuple[int, str], ...]:
        """The new lines (1-based) that the old text does not hold anywhere."""
        old = set((self.old or "").splitlines())
        lines = enumerate((self.new or "").splitlines(), 1)
        return tuple((number, line) for number, line in lines if line not in old)

    @property
    def removed_lines(self) -> tuple[str, ...]:
        """The old lines that the new text does not hold anywhere."""
        new = set((self.new or "").splitlines())
        return tuple(line for line in (self.old or "").splitlines() if line not in new)


@dataclass(frozen=True)
class Files:
    """Every changed file, and the pytest settings before and after the change."""

    changed: tuple[File, ...]
    settings: Settings
    new_settings: Settings
    go_mod: str = ""

    def of(self, *kinds: Kind) -> tuple[File, ...]:
        """Return the changed files of these kinds."""
        return tuple(file for file in self.changed if file.kind in kinds)

    @property
    def touches_source(self) -> bool:
        """Whether code outside the tests changes in more than its layout and comments."""
        return any(
            (file.kind is Kind.OTHER and _NO_CODE.search(file.path) is None)
            or (file.kind is Kind.SOURCE and _code(file.old) != _code(file.new))
            for file in self.changed
        )


def _code(text: str | None) -> str:
    """Return source without comments, blank lines and indentation: enough to see a change."""
    lines = (syntax.uncommented(line).strip() for line in (text or "").splitlines())
    return "\n".join(line for line in lines if line)


def read_files(paths: Iterable[str], before: Contents, after: Contents) -> Files:
    """Return the changed `paths` with what they were and are.

    `before` and `after` may hold further paths (settings of pytest that did not change); one
    that only `before` holds is unchanged.
    """
    changed = tuple(dict.fromkeys(paths))
    old = {p: _decode(before[p]) for p in (*SETTING_FILES, *changed) if p in before}
    new = {p: _decode(after[p]) for p in (*SETTING_FILES, *changed) if p in after}
    settings = effective(old)
    return Files(
        changed=tuple(
            File(path, kind_of(path, settings), old.get(path), new.get(path)) for path in changed
        ),
        settings=settings,
        new_settings=effective({**old, **new}),
        go_mod=_decode(before.get("go.mod")) or "",
    )


def _decode(body: bytes | None) -> str | None:
    """Return the text of a file; bytes that are not UTF-8 survive as surrogates."""
    return None if body is None else body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def kind_of(path: str, settings: Settings) -> Kind:  # noqa: PLR0911 - one return per kind
    """Return what the file at `path` is to the tests."""
    *folders, name = path.split("/")
    beside = not _TEST_FOLDERS.isdisjoint(folder.lower() for folder in folders)
    # the order matters: a noxfile and a test under scripts/ are Python, too
    source = is_source(path)
    if source and not path.endswith(".py"):
        language = language_of(path)
        if language.is_test_module(path):
            return Kind.TEST
        if beside or language.is_test(path):
            return Kind.SUPPORT
        return Kind.COMMAND if _COMMANDS.fullmatch(path) else Kind.SOURCE
    if source and is_collected(path, settings):
        return Kind.TEST
    if name in {"conftest.py", "tests.py", "test.py"} or (beside and source):
        return Kind.SUPPORT
    if name in SETTING_FILES or name == ".coveragerc":
        return Kind.SETTING
    prose = name.endswith((".md", ".rst", ".txt", ".adoc"))
    if _COMMANDS.fullmatch(path) and not prose:
        return Kind.COMMAND
    if beside:
        return Kind.DATA
    if name.endswith((".py", ".pyi")):
        return Kind.SOURCE
    return Kind.PROSE if prose or folders[:1] == ["docs"] else Kind.OTHER


def is_collected(path: str, settings: Settings) -> bool:
    """Return whether pytest with these settings would collect the module at `path`."""
    name = path.rpartition("/")[2]
    if not any(fnmatchcase(name, pattern) for pattern in settings.patterns("python_files")):
        return False
    roots = [root.strip("./") for root in settings.words("testpaths")]
    return not roots or any(
        not root or path == root or path.startswith(root + "/") or fnmatchcase(path, root + "/*")
        for root in roots
    )


def effective(files: Mapping[str, str | None]) -> Settings:
    """Return the settings that pytest would use, given the setting files of a tree."""
    for path in SETTING_FILES:
        text = files.get(path)
        values = _pytest_values(path, text) if text is not None else None
        if values is not None:
            return Settings(path, values)
    return Settings()


def _pytest_values(path: str, text: str) -> dict[str, str] | None:
    """Return the pytest settings of one file as text; None if it holds none."""
    if not path.endswith(".toml"):
        section = "tool:pytest" if path == "setup.cfg" else "pytest"
        return read_ini(text).get(section, {} if path.endswith("pytest.ini") else None)
    document = read_toml(text)
    table = document.get("pytest") if path != "pyproject.toml" else None
    tool = document.get("tool")
    if table is None and isinstance(tool, dict) and isinstance(tool.get("pytest"), dict):
        table = tool["pytest"].get("ini_options", tool["pytest"])
    if not isinstance(table, dict):
        return {} if path != "pyproject.toml" else None
    values = {}
    for name, value in table.items():
        words = [str(v) for v in value] if isinstance(value, list) else None
        values[name] = (
            str(value)
            if words is None
            else "\n".join(shlex.quote(word) if " " in word else word for word in words)
        )
    return values


def read_toml(text: str) -> dict[str, object]:
    """Return the document; an empty one if it is not valid TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Return sections and their values; none of an unreadable file."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}
