"""What runs the tests: CI, Makefile, tox, nox, scripts; and the coverage and guard settings.

Pure, on text: these files have many languages, and what matters in them is a word on a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from self_coding.audit.files import File, Files, Kind, kind_of
from self_coding.audit.settings import (
    Settings,
    compare_settings,
    is_narrowing,
    options,
    read_ini,
    read_toml,
)
from self_coding.values.verdicts import Finding

_RUNNER = re.compile(
    r"\b(?:py\.?test|unittest|nosetests|tox|nox|trial|stestr|make\s+(?:test|check)|setup\.py\s+test|"
    r"hatch\s+(?:run\s+\S*test\S*|test)|coverage\s+run|uv\s+run\s+\S*test\S*|poetry\s+run\s+\S*test\S*)\b"
)
_PYTEST = re.compile(r"\b(?:py\.?test|coverage\s+run\s+-m\s+pytest)\b(?P<rest>[^;&|#\n]*)")
_MASKED = re.compile(
    r"\|\|\s*(?:true|:|exit\s+0|echo\b|/bin/true|cd\b)|;\s*(?:true|exit\s+0)\b|^\s*set\s+\+e\b|"
    r"\bexit\s+0\b|\bcontinue-on-error\s*:\s*true|\ballow_failure\s*:\s*true|--exit-zero\b|"
    r"\bignore_outcome\s*=\s*true|\bignore_errors\s*=\s*true|\bsuccess_codes\s*=|"
    r"^\s*if\s*:\s*(?:false|\$\{\{\s*false\s*\}\})|\|\s*(?:tee|cat|tail|head|grep)\b|2>&1\s*\|",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = (
    r"(?:PYTEST_ADDOPTS|PYTEST_PLUGINS|PYTEST_DISABLE_PLUGIN_AUTOLOAD|PYTHONOPTIMIZE|PYTHONSTARTUP|"
    r"PYTHONBREAKPOINT|PYTHONINSPECT)"
)
_VARIABLE = re.compile(rf"\b{_NAMES}\b")
_QUOTED = re.compile(rf"[\"']{_NAMES}[\"']|[\"'][^\"']*\b{_NAMES}=")
_OPTIMISED = re.compile(r"\bpython[\d.]*\s+(?:-[A-Za-z]+\s+)*-O")


def audit_commands(files: Files) -> Iterator[Finding]:
    """Every way in which the tests are run less, or their failure is not told."""
    if files.of(Kind.SETTING):
        yield from compare_settings(files.settings, files.new_settings)
    for file in files.changed:
        if file.kind in {Kind.PROSE, Kind.DATA}:
            continue
        yield from _variables(file)
        if file.kind is Kind.COMMAND or file.name == "tox.ini":
            yield from _masks(file)
        if file.kind is Kind.SETTING:
            yield from _coverage(file)
            yield from _plugins(file)
    yield from _removed(files)


def _variables(file: File) -> Iterator[Finding]:
    name = _QUOTED if file.is_python else _VARIABLE
    for number, line in file.added_lines:
        if line.lstrip().startswith("#") or re.search(r"delenv|\.pop\(|unset\b", line):
            continue
        optimised = _OPTIMISED.search(line) and _RUNNER.search(line) and _runs_less(file)
        if name.search(line) or (optimised and not file.is_python):
            message = f"sets what a test run obeys: `{line.strip()[:80]}`"
            yield Finding(rule="test-environment", path=file.path, line=number, message=message)


def _masks(file: File) -> Iterator[Finding]:
    recipe = file.name.lower() in {"makefile", "gnumakefile"} or file.name.endswith(".mk")
    less = _runs_less(file)
    for number, line in file.added_lines:
        if line.lstrip().startswith(("#", "//")):
            continue
        runs = bool(_RUNNER.search(line))
        ignored = (recipe and re.match(r"\t[@+]*-", line)) or (
            file.name == "tox.ini" and re.match(r"\s*(?:commands\s*=\s*)?-\s*\S", line)
        )
        block = re.search(
            r"(?i)continue-on-error|allow_failure|ignore_|success_codes|^\s*if\s*:", line
        )
        if (
            (runs and (ignored or _MASKED.search(line)))
            or (block and _MASKED.search(line))
            or (re.match(r"\s*(?:exit\s+0|set\s+\+e|\.IGNORE\b)", line) and _near(file, number))
        ):
            message = f"hides a failure: `{line.strip()[:80]}`"
            yield Finding(rule="exit-masked", path=file.path, line=number, message=message)
        if less:
            yield from _narrowed(file, number, line)


def _near(file: File, number: int) -> bool:
    """Whether the tests are run within a few lines."""
    lines = (file.new or "").splitlines()
    return any(_RUNNER.search(line) for line in lines[max(number - 5, 0) : number + 5])


def _runs_less(file: File) -> bool:
    """Whether a file that ran the whole suite does not any more."""
    was, now = (
        sum(not any(_restricts(line)) for _, line in _test_lines(text))
        for text in (file.old, file.new)
    )
    return now == 0 < was


def _restricts(line: str) -> Iterator[bool]:
    """For each option of a pytest command: whether it leaves tests out."""
    match = _PYTEST.search(line)
    for option in _words(match["rest"]) if match else ():
        yield (is_narrowing(option) and not _spares_tests(option)) or _names_tests(option)
    yield _OPTIMISED.search(line) is not None


def _words(rest: str) -> list[str]:
    return options(re.sub(r"[\"',\[\]]", " ", rest))


def _names_tests(option: str) -> bool:
    return re.search(r"test\w*\.py|::", option) is not None


def _narrowed(file: File, number: int, line: str) -> Iterator[Finding]:
    """Options of a pytest command that the old file's commands did not have."""
    match = _PYTEST.search(line)
    if not match:
        return
    known = set(re.split(r"[\s\"',\[\]]+", file.old or ""))
    for option in _words(match["rest"]):
        name = option.split(" ")[0]
        if is_narrowing(option) and not {name, name.split("=")[0]} & known:
            message = f"the test command gains {option!r}"
            yield Finding(rule="command-narrowed", path=file.path, line=number, message=message)
        elif _names_tests(option) and option not in known:
            message = f"the test command names only {option!r}"
            yield Finding(rule="command-narrowed", path=file.path, line=number, message=message)


def _spares_tests(option: str) -> bool:
    """Whether an option leaves out one file that is no test."""
    name, _, path = option.replace(" ", "=").partition("=")
    return (
        name in {"--ignore", "--ignore-glob"}
        and path.endswith(".py")
        and kind_of(path, Settings()) is Kind.SOURCE
    )


def _removed(files: Files) -> Iterator[Finding]:
    """A file that ran the tests, and no changed file runs them any more."""
    places = [f for f in files.changed if f.kind is Kind.COMMAND or f.kind is Kind.SETTING]
    lost = [(file, lines[0]) for file in places if (lines := _test_lines(file.old))]
    if lost and not any(_test_lines(file.new) for file in places):
        for file, (number, line) in lost:
            message = f"no test command is left of `{line.strip()[:80]}`"
            yield Finding(rule="test-command-removed", path=file.path, line=number, message=message)


def _test_lines(text: str | None) -> list[tuple[int, str]]:
    lines = enumerate((text or "").splitlines(), 1)
    return [
        (number, line)
        for number, line in lines
        if _RUNNER.search(line)
        and not re.match(
            r"\s*(?:#|//|\[|name:|-?\s*name:|.*\b(?:pip|uv|apt|poetry)\s+(?:install|add|sync)\b)",
            line,
        )
        and not re.search(r"[=<>~]=\s*\d|::\s*$", line)
        and (line.startswith("\t") or re.search(r"\s", line.strip().lstrip("-")))
    ]


def _coverage(file: File) -> Iterator[Finding]:
    before, after = _fail_under(file.old, file.name), _fail_under(file.new, file.name)
    if before is not None and file.new is not None and (after is None or after < before):
        falls_to = "nothing" if after is None else f"{after:g}"
        message = f"coverage fail_under falls from {before:g} to {falls_to}"
        yield Finding(rule="coverage-lowered", path=file.path, message=message)


def _fail_under(text: str | None, name: str) -> float | None:
    found = re.search(r"(?m)^\s*fail_under\s*=\s*[\"']?([\d.]+)", text or "")
    return float(found[1]) if found else None


def _plugins(file: File) -> Iterator[Finding]:
    """A plugin of pytest that the project gives itself (entry point `pytest11`)."""
    was, now = (_pytest11(text, file.name) for text in (file.old, file.new))
    for name in sorted(now - was):
        yield Finding(rule="plugin-added", path=file.path, message=f"entry point pytest11: {name}")


def _pytest11(text: str | None, name: str) -> set[str]:
    if name.endswith(".toml"):
        node: object = read_toml(text or "")
        for key in ("project", "entry-points", "pytest11"):
            node = node.get(key, {}) if isinstance(node, dict) else {}
        return set(map(str, node)) if isinstance(node, dict) else set()
    return set(read_ini(text or "").get("options.entry_points", {}).get("pytest11", "").split())
