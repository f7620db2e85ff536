"""Texts on which a pattern does its worst, made from the pattern, and how long it takes there."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from types import FrameType, ModuleType

SIZE = 1_000_000
_METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "subn", "split")
_CHOICES = 3  # of the characters that a set of them has


class TooSlowError(Exception):
    """A pattern took longer than it may."""


def run_limited(script: str, *arguments: str, seconds: int) -> None:
    """Run a script of the tests by itself, stopped after so many seconds of CPU."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=Path(script).parent,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds)),
    )
    assert done.returncode == 0, f"stopped after: {done.stdout}{done.stderr}"


def patterns_of(package: str) -> Iterator[tuple[str, re.Pattern[str], set[str]]]:
    """Yield each pattern of a package or module: its name, itself, the methods called on it."""
    top = importlib.import_module(package)
    names = [package]
    if hasattr(top, "__path__"):
        names += [each.name for each in pkgutil.walk_packages(top.__path__, f"{package}.")]
    for name in names:
        yield from _of_module(importlib.import_module(name))


def _of_module(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str], set[str]]]:
    methods: dict[str, set[str]] = {}
    written: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        value, method = node.func.value, node.func.attr
        if not isinstance(value, ast.Name) or method not in _METHODS:
            continue
        if value.id != "re":
            methods.setdefault(value.id, set()).add(method)
        elif isinstance(node.args[0], ast.Constant):
            written.setdefault(node.args[0].value, set()).add(method)
        elif isinstance(node.args[0], ast.Name) and hasattr(module, node.args[0].id):
            text = getattr(module, node.args[0].id)
            written.setdefault(text, set()).add(method) if isinstance(text, str) else None
    for name, value in vars(module).items():
        if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
            # One that is handed on, or imported, is taken for one that is searched for.
            yield f"{module.__name__}.{name}", value, methods.get(name) or {"search"}
    for text, called in written.items():
        if isinstance(text, str):
            yield f"{module.__name__}: {text}", re.compile(text), called


def worst_cases(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield texts that make a pattern try again: each repeat filled, and its end cut off."""
    tree = _parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    seen: set[tuple[str, str]] = set()
    for choice in range(_CHOICES):
        whole = _sample(tree, choice)
        for before, body in [("", whole), ("", whole[:-1]), *_repeats(tree, "", choice)]:
            for beginning, repeated in ((before, body), ("", before + body), ("", body)):
                if repeated and (beginning, repeated) not in seen:
                    seen.add((beginning, repeated))
                    yield _filled(beginning, repeated)


def _filled(beginning: str, repeated: str) -> str:
    return beginning + repeated * ((SIZE - len(beginning)) // len(repeated) + 1)


def _repeats(tree: Iterable, before: str, choice: int) -> Iterator[tuple[str, str]]:
    """Yield what comes before each repeat that may be long, and what it repeats."""
    for op, value in tree:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _, most, body = value
            if most == sre.MAXREPEAT or most > 20:
                for other in range(_CHOICES):
                    yield before, _sample(body, choice + other)
            yield from _repeats(body, before, choice)
        elif op is sre.SUBPATTERN:
            yield from _repeats(value[3], before, choice)
        elif op is sre.ATOMIC_GROUP:
            yield from _repeats(value, before, choice)
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _repeats(value[1], before, choice)
        elif op is sre.BRANCH:
            for branch in value[1]:
                yield from _repeats(branch, before, choice)
        before += _sample([(op, value)], choice)


def _sample(tree: Iterable, choice: int) -> str:
    """Return a short text that a pattern matches, or nearly."""
    text = ""
    for op, value in tree:
        if op is sre.LITERAL:
            text += chr(value)
        elif op is sre.NOT_LITERAL:
            text += next(c for c in "a .\n" if ord(c) != value)
        elif op is sre.ANY:
            text += "a. "[choice % 3]
        elif op is sre.IN:
            text += _one_of(value, choice)
        elif op is sre.BRANCH:
            text += _sample(value[1][choice % len(value[1])], choice)
        elif op is sre.SUBPATTERN:
            text += _sample(value[3], choice)
        elif op is sre.ATOMIC_GROUP:
            text += _sample(value, choice)
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            text += _sample(value[2], choice) * (value[0] or (choice % 2 and 1))
        elif op is sre.AT and value is sre.AT_BEGINNING_LINE:
            text += "\n"
    return text


def _one_of(parts: list, choice: int) -> str:
    """Return one character that a set has."""
    tests = "a 0\n_A-./\t\"'(=:#x\r,[]{}<>@|\\1"

    def has(character: str) -> bool:
        code = ord(character)
        for op, value in parts:
            if op is sre.LITERAL and code == value:
                return True
            if op is sre.RANGE and value[0] <= code <= value[1]:
                return True
            if op is sre.CATEGORY and _in_category(value, character):
                return True
        return False

    negated = parts[0][0] is sre.NEGATE
    candidates = [c for c in tests if has(c) != negated]
    if candidates:
        return candidates[choice % len(candidates)]
    for op, value in parts:
        if op is sre.LITERAL:
            return chr(value)
        if op is sre.RANGE:
            return chr(value[0])
    return "\u2014"


def _in_category(category: object, character: str) -> bool:
    name = str(category).removeprefix("CATEGORY_").replace("UNI_", "")
    shape = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.removeprefix("NOT_")]
    return bool(re.match(shape, character)) != name.startswith("NOT_")


def seconds_per_text(
    pattern: re.Pattern[str], text: str, methods: Iterable[str], limit: float
) -> float:
    """Return how long the worst of some methods takes; `inf` where it is stopped at the limit."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    searched = {"match", "fullmatch"}.isdisjoint(methods) or not {"match", "fullmatch"}.issuperset(
        methods
    )
    signal.signal(signal.SIGVTALRM, stop)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        for method in {"match", "fullmatch"}.intersection(methods):
            getattr(pattern, method)(text)
        if searched:
            for _ in pattern.finditer(text):
                pass
    except TooSlowError:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
