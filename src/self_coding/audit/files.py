"""The files of a change, decoded, and what each of them is to the tests.

Pure: contents come in as bytes by path. What counts as a test is read from the base's own pytest
settings where they are given, else from pytest's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property

from self_coding.audit.settings import SETTING_FILES, SETTING_NAMES, Settings, effective

Contents = Mapping[str, bytes | None]


class Kind(StrEnum):
    """What a file is to the tests."""

    TEST = "test"  # a Python module that is collected
    SUPPORT = "support"  # Python beside the tests: conftest, helpers
    DATA = "data"  # anything else beside the tests
    SOURCE = "source"  # other Python
    COMMAND = "command"  # what runs the tests: CI, Makefile, tox, nox, scripts
    SETTING = "setting"  # where pytest, coverage and the project are configured
    PROSE = "prose"  # documentation
    OTHER = "other"


_TEST_FOLDERS = frozenset({"test", "tests", "testing", "testsuite", "test_suite"})
_COMMANDS = re.compile(
    r"(?:.*/)?(?:(?:GNU)?makefile|.*\.mk|justfile|taskfile\.ya?ml|noxfile\.py|dockerfile.*|"
    r"jenkinsfile|\.travis\.yml|appveyor\.yml|\.appveyor\.yml|azure-pipelines\.ya?ml|"
    r"bitbucket-pipelines\.yml|\.gitlab-ci\.yml|\.cirrus\.yml|\.pre-commit-config\.yaml|"
    r"[\w.-]+\.(?:sh|bash|bat|cmd|ps1)|package\.json|\.envrc|\.env)"
    r"|\.(?:github|circleci|gitlab|buildkite|woodpecker|forgejo)/.*|scripts?/[\w.-]+|ci/.*|\.ci/.*",
    re.IGNORECASE,
)
_PROSE = (".md", ".rst", ".txt", ".adoc")


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

    @cached_property
    def added_lines(self) -> tuple[tuple[int, str], ...]:
        """The new lines (1-based) that the old text does not hold anywhere."""
        return _only_in(self.new, self.old)

    @cached_property
    def removed_lines(self) -> tuple[tuple[int, str], ...]:
        """The old lines (1-based) that the new text does not hold anywhere."""
        return _only_in(self.old, self.new)


@dataclass(frozen=True)
class Files:
    """Every changed file, and the pytest settings before and after the change."""

    changed: tuple[File, ...]
    settings: Settings
    new_settings: Settings

    def of(self, *kinds: Kind) -> tuple[File, ...]:
        """The changed files of these kinds."""
        return tuple(file for file in self.changed if file.kind in kinds)

    @property
    def touches_source(self) -> bool:
        """Whether code outside the tests changes in more than its layout and comments."""
        return any(
            file.kind is Kind.OTHER
            or (file.kind is Kind.SOURCE and _code(file.old) != _code(file.new))
            for file in self.changed
        )


def read_files(paths: Iterable[str], before: Contents, after: Contents) -> Files:
    """The changed `paths` with what they were and are.

    `before` and `after` may hold further paths (settings of pytest that did not change); one
    that only `before` holds is unchanged.
    """
    changed = tuple(dict.fromkeys(paths))
    context = {p: before.get(p) for p in (*SETTING_FILES, *changed) if p in before}
    later = {**context, **{p: after[p] for p in (*SETTING_FILES, *changed) if p in after}}
    settings = effective({path: decode(body) for path, body in context.items()})
    new_settings = effective({path: decode(body) for path, body in later.items()})
    return Files(
        changed=tuple(
            File(path, kind_of(path, settings), decode(before.get(path)), decode(after.get(path)))
            for path in changed
        ),
        settings=settings,
        new_settings=new_settings,
    )


def decode(body: bytes | None) -> str | None:
    """Text of a file; bytes that are not UTF-8 survive as surrogates."""
    return None if body is None else body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def kind_of(path: str, settings: Settings) -> Kind:  # noqa: PLR0911 - a list of kinds
    """What the file at `path` is to the tests."""
    *folders, name = path.split("/")
    beside = not _TEST_FOLDERS.isdisjoint(folder.lower() for folder in folders)
    if name.endswith(".py") and is_collected(path, settings):
        return Kind.TEST
    if name in {"conftest.py", "tests.py", "test.py"} or (beside and name.endswith(".py")):
        return Kind.SUPPORT
    if name in SETTING_NAMES:
        return Kind.SETTING
    if _COMMANDS.fullmatch(path):
        return Kind.COMMAND
    if beside:
        return Kind.DATA
    if name.endswith((".py", ".pyi")):
        return Kind.SOURCE
    return Kind.PROSE if name.endswith(_PROSE) or folders[:1] == ["docs"] else Kind.OTHER


def is_collected(path: str, settings: Settings) -> bool:
    """Whether pytest with these settings would collect the module at `path`."""
    name = path.rpartition("/")[2]
    if not any(fnmatchcase(name, pattern) for pattern in settings.python_files):
        return False
    roots = [root.strip("./") for root in settings.testpaths]
    return not roots or any(
        not root or path == root or path.startswith(root + "/") or fnmatchcase(path, root + "/*")
        for root in roots
    )


def _only_in(text: str | None, other: str | None) -> tuple[tuple[int, str], ...]:
    known = set((other or "").splitlines())
    lines = enumerate((text or "").splitlines(), 1)
    return tuple((number, line) for number, line in lines if line not in known)


def _code(text: str | None) -> str:
    """Source without comments, blank lines and indentation: enough to see a real change."""
    lines = (line.split(" #")[0].strip() for line in (text or "").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))
