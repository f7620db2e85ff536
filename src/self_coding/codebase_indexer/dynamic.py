"""Imports that no import statement shows: literal module names, and what cannot be followed.

Pure. `importlib.import_module("a.b")`, `__import__("a")`, `pytest_plugins = ["a.b"]` and
programs started with a module or script name are read as imports of scope "string". A dynamic
import with a computed name is a blind spot: it is listed, never guessed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_IMPORTERS = (
    "import_module",
    "__import__",
    "import_string",
    "importorskip",
    "run_module",
    "load_module",
)
_CALL = re.compile(rf"\b(?:{'|'.join(_IMPORTERS)})\s*\(\s*(?:[rRuU]?([\"'])([^\"'\n]*)\1)?")
_PLUGINS = re.compile(r"\bpytest_plugins\s*(?::[^=\n]+)?\+?=\s*([\[({][^\])}]*|[^\n]*)")
_LITERAL = re.compile(r"([\"'])([^\"'\n]+)\1")
_DOTTED = re.compile(r"\.*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_SCRIPT = re.compile(r"[\w./\\-]+\.py")
_CODE = re.compile(r"\b(?:import|from)[ ]+([A-Za-z_][\w.]*)")
_RUN = re.compile(
    r"\b(?:subprocess\s*\.\s*\w+|Popen|check_output|check_call|create_subprocess_\w+|run_path"
    r"|os\s*\.\s*(?:system|popen|spawn\w+|posix_spawnp?))\s*\("
)
_MODULE_OPTION = re.compile(r"[\"']-m[\"']\s*,\s*[\"']([\w.]+)[\"']")
_EXECUTED = re.compile(r"(?<![.\w])(exec|eval)\s*\(|\b(spec_from_file_location|exec_module)\s*\(")
_STARTERS = ("\tsubprocess\t", "\trunpy\t", "\tasyncio.subprocess\t")  # as they are packed
_SYSTEM = ("os.system", "os.popen", "os.spawn", "os.posix_spawn")
STARTS = "starts programs; what they import is not seen"
_FIXTURES = ("pytester", "testdir", "script_runner", "create_subprocess_")


class BlindLine(NamedTuple):
    """A line that static analysis cannot follow, and why."""

    line: int
    reason: str


def dynamic_imports(
    text: str, *, imports: str, calls: bool, tests: bool
) -> tuple[list[str], list[BlindLine]]:
    """The literal module names (and script paths) in `text`, and what is no literal.

    The other arguments tell what is worth looking for: the file's (packed) imports, whether the
    word "import" stands anywhere but in its import statements, and whether it defines tests.
    """
    found: list[str] = []
    blind: list[BlindLine] = []
    if calls and any(map(text.__contains__, _IMPORTERS)):  # a search in C, before the pattern
        _calls(text, found, blind)
    if "pytest_plugins" in text:
        for match in _PLUGINS.finditer(text):
            found += [literal[2] for literal in _LITERAL.finditer(match[1])]
    starts = any(map(imports.__contains__, _STARTERS))
    starts = starts or ("\tos\t" in imports and any(map(text.__contains__, _SYSTEM)))
    if starts or (tests and any(map(text.__contains__, _FIXTURES))):
        _programs(text, found, blind)
    if "exec(" in text or "eval(" in text or "\timportlib.util\t" in imports:
        for match in _EXECUTED.finditer(text):
            reason = f"{match[1] or match[2]}() runs code made at run time"
            blind.append(BlindLine(_line(text, match.start()), reason))
    return list(dict.fromkeys(found)), blind


def _calls(text: str, found: list[str], blind: list[BlindLine]) -> None:
    for match in _CALL.finditer(text):
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
        if before.startswith("#") or before.endswith("def"):
            continue
        name = match[2]
        if name is None:
            reason = "an import whose name is computed at run time"
            blind.append(BlindLine(_line(text, match.start()), reason))
        elif _DOTTED.fullmatch(name):
            found.append(name)


def _programs(text: str, found: list[str], blind: list[BlindLine]) -> None:
    """Every literal of a file that starts programs which may name a module or a script."""
    for match in _LITERAL.finditer(text):
        literal = match[2]
        if _SCRIPT.fullmatch(literal) or ("." in literal and _DOTTED.fullmatch(literal)):
            found.append(literal)
    found += [match[1] for match in _CODE.finditer(text)]
    found += [match[1] for match in _MODULE_OPTION.finditer(text)]
    started = _RUN.search(text)
    if started:
        line = _line(text, started.start())
        blind.append(BlindLine(line, STARTS))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
