"""The test settings of a repository, from whichever file pytest would read them, compared.

Pure. Every setting by which fewer tests run, or by which a failure counts less, is a finding;
additions that only say more (markers, reports, parallelism) are not.
"""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from self_coding.values.verdicts import Finding

SETTING_NAMES = frozenset(
    {
        *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml"),
        *("tox.ini", "setup.cfg", ".coveragerc"),
    }
)
SETTING_FILES = (
    *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml"),
    *("tox.ini", "setup.cfg"),
)
"""In the order in which pytest looks: the first that holds pytest settings is the only one."""

_DEFAULT_FILES = ("test_*.py", "*_test.py")
_USUAL_ROOTS = frozenset({"tests", "test", ".", "src"})

# options that take tests away, stop early, or change what a failure means
_NARROWING = re.compile(
    r"-k|-m|-x|-p|-c|-o|-k.+|-m.+|-p.+|-x.+|--(?:ignore|ignore-glob|deselect|exitfirst|maxfail|collect-only|co"
    r"|last-failed|lf|stepwise|sw|sw-skip|rootdir|confcutdir|noconftest|override-ini|assert|config-file"
    r"|continue-on-collection-errors|suppress-no-test-exit-code|suppress-tests-failed-exit-code"
    r"|disable-plugin-autoload|disable-warnings|no-header-exit|runxfail|reruns|force-flaky|max-runs"
    r"|snapshot-update|inline-snapshot|nf|keyword|collect-in-virtualenv)(?:=.*)?"
)
_HARMLESS = re.compile(
    r"-p ?(?:xdist|pytest_cov|randomly|no:randomly|no:cacheprovider|pytester|no:cov)"
)
_STRICT = re.compile(
    r"--strict(?:-markers|-config)?|--doctest-modules|--doctest-glob.*|--cov-fail-under.*|-W.*error.*"
)
_TAKES_VALUE = frozenset(
    {"-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--ignore", "--deselect", "--cov", "--maxfail"}
)
_BLANKET = frozenset({"ignore", "ignore::Warning", "default", "ignore::Exception"})


@dataclass(frozen=True)
class Settings:
    """What pytest reads: the file, and its settings as text by name."""

    path: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def testpaths(self) -> tuple[str, ...]:
        """Where tests are looked for; empty: everywhere."""
        return tuple(self.values.get("testpaths", "").split())

    @property
    def python_files(self) -> tuple[str, ...]:
        """Patterns of collected modules."""
        return tuple(self.values.get("python_files", "").split()) or _DEFAULT_FILES

    @property
    def python_classes(self) -> tuple[str, ...]:
        """Prefixes or patterns of collected classes."""
        return tuple(self.values.get("python_classes", "").split()) or ("Test",)

    @property
    def python_functions(self) -> tuple[str, ...]:
        """Prefixes or patterns of collected functions."""
        return tuple(self.values.get("python_functions", "").split()) or ("test",)

    @property
    def addopts(self) -> tuple[str, ...]:
        """The options added to every run, each with its value."""
        return tuple(options(self.values.get("addopts", "")))


def effective(files: Mapping[str, str | None]) -> Settings:
    """The settings that pytest would use, given the setting files of a tree."""
    for path in SETTING_FILES:
        text = files.get(path)
        if text is None:
            continue
        values = _pytest_values(path, text)
        if values is not None:
            return Settings(path, values)
    return Settings()


def options(text: str) -> list[str]:
    """A command line's options; one that takes a value carries it: `-k slow`."""
    try:
        words = shlex.split(text, comments=False)
    except ValueError:
        words = text.split()
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _TAKES_VALUE and not word.startswith("-"):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def is_narrowing(option: str) -> bool:
    """Whether an option of pytest takes tests away or changes what a failure means."""
    if _HARMLESS.fullmatch(option):
        return False
    return _NARROWING.fullmatch(option.split(" ", maxsplit=1)[0]) is not None


def compare_settings(old: Settings, new: Settings) -> Iterator[Finding]:
    """Every way in which `new` runs less, or forgives more, than `old`."""
    place = new.path or old.path
    yield from _compare_options(old, new, place)
    yield from _compare_collection(old, new, place)
    if old.values.get("xfail_strict", "").lower() in {"true", "1"} and (
        new.values.get("xfail_strict", "").lower() not in {"true", "1"}
    ):
        yield _finding("strictness-lowered", place, "xfail_strict is no longer on")
    before, after = (_lines(s.values.get("filterwarnings", "")) for s in (old, new))
    if "error" in before and "error" not in after:
        yield _finding("strictness-lowered", place, "warnings are no longer errors")
    for line in after:
        if line in _BLANKET and line not in before and "error" in before:
            yield _finding("strictness-lowered", place, f"filterwarnings: every warning: {line}")
    for name in ("usefixtures", "required_plugins", "pytest_plugins"):
        gained = set(_lines(new.values.get(name, ""))) - set(_lines(old.values.get(name, "")))
        if gained and name != "required_plugins":
            yield _finding("plugin-added", place, f"{name}: {', '.join(sorted(gained))}")


def _compare_options(old: Settings, new: Settings, place: str) -> Iterator[Finding]:
    for option in new.addopts:
        if option in old.addopts:
            continue
        if is_narrowing(option):
            yield _finding("addopts-narrowed", place, f"addopts gains {option!r}")
        elif not option.startswith("-") and option not in {"tests", "test", "tests/", "src"}:
            yield _finding("addopts-narrowed", place, f"addopts names the path {option!r}")
    for option in old.addopts:
        if _STRICT.fullmatch(option) and not _kept(option, new):
            yield _finding("strictness-lowered", place, f"addopts loses {option!r}")


def _kept(option: str, new: Settings) -> bool:
    if option.startswith("--strict"):
        if option == "--strict-config":
            return any(o in {option, "--strict"} for o in new.addopts) or _is_on(
                new, "strict_config"
            )
        return any(o.startswith("--strict") for o in new.addopts) or _is_on(new, "strict_markers")
    return option in new.addopts or (
        option.startswith("-W") and "error" in new.values.get("filterwarnings", "")
    )


def _is_on(settings: Settings, name: str) -> bool:
    values = settings.values
    return any(values.get(n, "").lower() in {"true", "1"} for n in (name, "strict"))


def _compare_collection(old: Settings, new: Settings, place: str) -> Iterator[Finding]:
    roots = {root.strip("./") or "." for root in new.testpaths}
    lost = {root.strip("./") or "." for root in old.testpaths} - roots
    if roots and any(not _covered(root, roots) for root in lost):
        gone = ", ".join(sorted(lost))
        yield _finding("collection-narrowed", place, f"testpaths no longer holds {gone}")
    if roots and not old.testpaths and not any(_last(root) in _USUAL_ROOTS for root in roots):
        yield _finding("collection-narrowed", place, f"testpaths set to {' '.join(sorted(roots))}")
    for name in ("python_files", "python_classes", "python_functions"):
        before, after = set(getattr(old, name)), set(getattr(new, name))
        if before - after and not any(p in {"*", "*.py"} for p in after):
            gone = ", ".join(sorted(before - after))
            yield _finding("collection-narrowed", place, f"{name} no longer holds {gone}")
    gained = set(new.values.get("norecursedirs", "").split()) - set(
        old.values.get("norecursedirs", "").split()
    )
    if any("test" in folder.lower() or folder in {"*", "unit", "src"} for folder in gained):
        yield _finding("collection-narrowed", place, f"norecursedirs gains {sorted(gained)}")


def _last(root: str) -> str:
    return root.rpartition("/")[2] or root


def _covered(root: str, roots: set[str]) -> bool:
    return any(r in (".", root) or root.startswith(r + "/") for r in roots)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _finding(rule: str, path: str, message: str) -> Finding:
    return Finding(rule=rule, path=path, message=message)


def _pytest_values(path: str, text: str) -> dict[str, str] | None:
    """The pytest settings of one file as text; None where it holds none."""
    if path.endswith(".toml"):
        tool = read_toml(text).get("tool", {})
        table = read_toml(text).get("pytest") if path != "pyproject.toml" else None
        if table is None and isinstance(tool, dict) and isinstance(tool.get("pytest"), dict):
            table = tool["pytest"].get("ini_options", tool["pytest"])
        return (
            _texts(table) if isinstance(table, dict) else ({} if path != "pyproject.toml" else None)
        )
    sections = read_ini(text)
    section = "tool:pytest" if path == "setup.cfg" else "pytest"
    return sections.get(section, {} if path.endswith("pytest.ini") else None)


def _texts(table: Mapping[str, object]) -> dict[str, str]:
    def text(value: object) -> str:
        if isinstance(value, list):
            return "\n".join(shlex.quote(str(v)) if " " in str(v) else str(v) for v in value)
        return str(value)

    return {name: text(value) for name, value in table.items()}


def read_toml(text: str) -> dict[str, object]:
    """The document, or an empty one where it is no TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Sections and their values; an unreadable file has none."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}
