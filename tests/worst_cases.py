"""Texts on which a pattern does its worst, made from the pattern, and how long it takes there."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
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
from typing import Any

SIZE = 1_000_000
_METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "subn", "split")
_AT_START = frozenset({"match", "fullmatch"})
_CHOICES = 3  # of the characters that a set of them has
_FORMS = 9  # of a pattern that is put together
_DEEP = 3  # how far into tables and records of a module patterns are looked for


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


def patterns_of(package: str) -> Iterator[tuple[str, re.Pattern[Any], set[str]]]:
    """Yield each pattern of a package or module once: where it is, itself, the methods called."""
    top = importlib.import_module(package)
    names = [package]
    if hasattr(top, "__path__"):
        names += [each.name for each in pkgutil.walk_packages(top.__path__, f"{package}.")]
    found: dict[re.Pattern[Any], tuple[str, set[str]]] = {}
    for name in names:
        for where, pattern, methods in _Reader(importlib.import_module(name)).patterns():
            found.setdefault(pattern, (where, set()))[1].update(methods)
    for pattern, (where, methods) in found.items():
        yield where, pattern, methods


class _Reader:
    """Finds what a module compiles: by the calls in its text, and in what it holds once imported.

    A part of a pattern that is known at run time only, such as a name that is looked for, is
    taken for a word.
    """

    def __init__(self, module: ModuleType) -> None:
        self._name = module.__name__
        self._globals = vars(module)
        self._tree = ast.parse(inspect.getsource(module))
        self._held = [*_held(self._globals)]

    def patterns(self) -> Iterator[tuple[str, re.Pattern[Any], set[str]]]:
        """Yield the patterns; one that is handed on is taken for one that is searched for."""
        called: dict[str, set[str]] = {}
        given: dict[int, str] = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute) and node.attr in _METHODS:
                called.setdefault(ast.unparse(node.value), set()).add(node.attr)
            elif isinstance(node, ast.Assign):
                given[id(node.value)] = ast.unparse(node.targets[0])
        names = {id(value): name for name, value in self._globals.items()}
        for value in self._held:
            if isinstance(value, re.Pattern):
                name = names.get(id(value), "")
                yield f"{self._name}.{name}", value, called.get(name) or {"search"}
        for node in ast.walk(self._tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            method = node.func.attr
            if ast.unparse(node.func.value) == "re" and method in ("compile", *_METHODS):
                methods = {method}
                if method == "compile":
                    methods = called.get(given.get(id(node), "")) or {"search"}
                for pattern in self._compiled(node, method):
                    if method != "compile" or pattern not in self._held:
                        yield f"{self._name}:{node.lineno}", pattern, methods

    def _compiled(self, call: ast.Call, method: str) -> Iterator[re.Pattern[Any]]:
        at = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(method, 2)
        flags = next((one.value for one in call.keywords if one.arg == "flags"), None)
        flags = call.args[at] if flags is None and len(call.args) > at else flags
        for value in self._values(call.args[0]):
            if isinstance(value, str | bytes):
                yield re.compile(value, self._values(flags)[0] if flags else 0)
            elif isinstance(value, re.Pattern):
                yield value

    def _values(self, node: ast.AST) -> list[Any]:
        """Return what an expression may be."""
        if isinstance(node, ast.FormattedValue):
            return self._values(node.value)
        try:
            return [eval(ast.unparse(node), dict(self._globals))]
        except (NameError, AttributeError, TypeError, KeyError):
            pass
        if isinstance(node, ast.JoinedStr):
            parts = itertools.product(*map(self._values, node.values))
            return ["".join(map(str, one)) for one in itertools.islice(parts, _FORMS)]
        if isinstance(node, ast.BinOp):
            sides = itertools.product(self._values(node.left), self._values(node.right))
            return [left + right for left, right in itertools.islice(sides, _FORMS)]
        if isinstance(node, ast.IfExp):
            return [*self._values(node.body), *self._values(node.orelse)]
        found: list[Any] = []
        if isinstance(node, ast.Attribute):
            found = [getattr(one, node.attr, None) for one in self._held]
        elif isinstance(node, ast.Name):
            found = [*self._bound(node.id)]
        return [one for one in found if isinstance(one, str | bytes | re.Pattern)] or ["word"]

    def _bound(self, name: str) -> Iterator[Any]:
        """Yield what a local name is given: by an assignment, a loop or a comprehension."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                if all(getattr(one, "id", "") != name for one in ast.walk(node.value)):
                    yield from self._values(node.value)
            elif isinstance(node, ast.For | ast.comprehension):
                is_many = isinstance(node.target, ast.Tuple)
                targets = node.target.elts if is_many else [node.target]  # type: ignore[attr-defined]
                places = [at for at, one in enumerate(targets) if ast.unparse(one) == name]
                rows = self._values(node.iter) if places else []
                for row in rows[0] if rows and isinstance(rows[0], list | tuple | dict) else ():
                    yield row[places[0]] if is_many else row


def _held(value: object, deep: int = 0) -> Iterator[Any]:
    """Yield what tables, sequences and records hold, all the way down."""
    yield value
    if deep > _DEEP:
        return
    below: Iterable[object] = ()
    if isinstance(value, dict):
        below = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        below = value
    elif hasattr(type(value), "__dataclass_fields__"):
        below = [getattr(value, name, None) for name in type(value).__dataclass_fields__]
    for one in below:
        if not isinstance(one, type | ModuleType):
            yield from _held(one, deep + 1)


def worst_cases(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str]]:
    """Yield texts that make a pattern try again, as a beginning and what comes again and again.

    Each repeat of the pattern is filled, and its end is cut off.
    """
    source = (
        pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    )
    tree = _parser.parse(source, pattern.flags & (re.I | re.M | re.S | re.X))
    seen: set[tuple[str, str]] = set()
    for choice in range(_CHOICES):
        whole = _sample(tree, choice)
        for before, body in [("", whole), ("", whole[:-1]), *_repeats(tree, "", choice)]:
            for beginning, repeated in ((before, body), ("", before + body), ("", body)):
                if repeated and (beginning, repeated) not in seen:
                    seen.add((beginning, repeated))
                    yield beginning, repeated


def filled(beginning: str, repeated: str, size: int) -> str:
    """Return a text of a size: the beginning, then what is repeated."""
    return beginning + repeated * ((size - len(beginning)) // len(repeated) + 1)


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
    pattern: re.Pattern[Any], text: str, methods: Iterable[str], limit: float
) -> float:
    """Return how long the worst of some methods takes; `inf` where it is stopped at the limit."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    given = text if isinstance(pattern.pattern, str) else text.encode("utf-8", "surrogateescape")
    signal.signal(signal.SIGVTALRM, stop)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        for method in _AT_START.intersection(methods):
            getattr(pattern, method)(given)
        if set(methods) - _AT_START:
            for _ in pattern.finditer(given):
                pass
    except TooSlowError:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
