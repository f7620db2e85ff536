"""Pure. One Python file of the tests: what it binds, its tests, and what reaches any test."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Protocol

from self_coding.audit.syntax import Function, assigned, bound, imports, name_of, parse, unparse

_SWITCHES = frozenset({"pytest_plugins", "pytestmark", "collect_ignore", "collect_ignore_glob"})
_SET_UPS = frozenset(
    {
        *("setup_module", "setupmodule", "teardown_module", "teardownmodule", "load_tests"),
        *("setup_function", "teardown_function"),
    }
)
_SIMILAR = 0.75  # of the text of a definition: the same one under another name
_READ = 2000  # characters of it

LITERAL = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.operator),
    *(ast.unaryop, ast.expr_context, ast.JoinedStr, ast.FormattedValue),
)
"""What an expression of nothing but literals is made of."""


class Module:
    """One Python file that judges: what it binds, its tests, and what reaches any test."""

    def __init__(self, path: str, tree: ast.Module, paths: frozenset[str]) -> None:
        self.path, self.tree, self.paths = path, tree, paths

    @cached_property
    def bindings(self) -> dict[str, list[ast.AST]]:
        """The statements that bind each name, at the top or within a statement there."""
        found: dict[str, list[ast.AST]] = {}
        for node in _statements(self.tree.body):
            names = [node.name] if isinstance(node, Function | ast.ClassDef) else [*bound(node)]
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def full(self) -> dict[str, str]:
        """What imported names stand for."""
        return imports(self.tree)

    @cached_property
    def tests(self) -> dict[str, tuple[ast.AST, ...]]:
        """Each test with the classes around it, outermost first."""
        found: dict[str, tuple[ast.AST, ...]] = {}
        pending: list[tuple[str, tuple[ast.AST, ...], ast.AST]] = [("", (), self.tree)]
        while pending:
            scope, around, parent = pending.pop()
            for node in _statements(getattr(parent, "body", [])):
                if isinstance(node, Function) and node.name.startswith("test"):
                    found[scope + node.name] = (*around, node)
                elif isinstance(node, ast.ClassDef):
                    pending.append((f"{scope}{node.name}::", (*around, node), node))
        return found

    @cached_property
    def reach(self) -> frozenset[str]:
        """What of it reaches tests that do not name it: hooks, automatic fixtures, effects."""
        found = set()
        for node in _statements(self.tree.body):
            if isinstance(node, Function):
                automatic = any("autouse" in unparse(one) for one in node.decorator_list)
                named = node.name.startswith("pytest_") or node.name.lower() in _SET_UPS
                if named or automatic:
                    found.add(unparse(node))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                if any(a.name == "*" or a.name.startswith("pytest_") for a in node.names):
                    found.add(unparse(node))
            elif not isinstance(node, ast.ClassDef | ast.Pass):
                simple = isinstance(node, ast.Assign | ast.AnnAssign)
                names = {*bound(node)}
                stored = [t for t in assigned(node) if not isinstance(t, ast.Name | ast.Tuple)]
                text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                special = names & _SWITCHES or any(n.startswith("pytest_") for n in names)
                if not text and (not simple or stored or special):
                    found.add(unparse(node))
        return frozenset(found)

    def find(self, full: str) -> tuple[str, str]:
        """Return the file that a full name is in, by where imports may start; and what of it."""
        folder = self.path.rpartition("/")[0]
        dots = len(full) - len(full.lstrip("."))
        parts = full.lstrip(".").split(".")
        above = [folder]
        while above[-1]:
            above.append(above[-1].rpartition("/")[0])
        roots = [above[min(dots - 1, len(above) - 1)]] if dots else [*above, "tests", "test", "src"]
        for end in range(len(parts), 0, -1):
            for root in roots:
                place = "/".join([*([root] if root else []), *parts[:end]])
                for path in (f"{place}/__init__.py", f"{place}.py"):  # as Python looks
                    if path in self.paths:
                        return path, ".".join(parts[end:])
        return "", full


class Change(Protocol):
    """What is known of a change: what its code withdraws, and the modules of both sides."""

    gone: set[str]
    new: set[str]
    resigned: set[str]

    def base_modules(self, path: str) -> Module | None:
        """Return a module of the base."""

    def candidate_modules(self, path: str) -> Module | None:
        """Return a module of the candidate."""

    def judges(self, path: str) -> bool:
        """Return whether a path changes and judges."""


def defined(text: str | None) -> dict[str, ast.AST]:
    """Return what a source defines by name: functions, classes, attributes, what it imports."""
    tree = parse(text)
    found: dict[str, ast.AST] = {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, Function | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.alias):
            found[node.asname or node.name.split(".")[0]] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= {name: node for t in assigned(node) if (name := name_of(t))}
    return found


def arguments_of(node: ast.AST) -> str:
    """Return the parameters of a function, or of the making of a class, as text."""
    if isinstance(node, Function):
        return unparse(node.args)
    if not isinstance(node, ast.ClassDef):
        return ""
    for member in node.body:
        if isinstance(member, Function) and member.name in {"__init__", "__new__"}:
            return unparse(member.args)
    return "; ".join(unparse(m) for m in node.body if isinstance(m, ast.AnnAssign))


def similar(lost: ast.AST | None, fresh: Iterable[ast.AST]) -> bool:
    """Return whether a definition that is gone is among the new ones under another name."""
    if not isinstance(lost, Function | ast.ClassDef):
        return False
    text, others = (
        [unparse(node).partition("\n")[2][:_READ] for node in nodes if isinstance(node, type(lost))]
        for nodes in ([lost], fresh)
    )
    matcher = SequenceMatcher(None, "", text[0], autojunk=False)
    for other in others:
        matcher.set_seq1(other)
        if matcher.quick_ratio() > _SIMILAR and matcher.ratio() > _SIMILAR:
            return True
    return False


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements, and in the place of one that only chooses, those that it chooses from."""
    for node in body:
        inner = [*getattr(node, "body", []), *getattr(node, "orelse", [])]
        if isinstance(node, ast.If):
            yield from _statements(inner)
        elif isinstance(node, ast.Try):
            handlers = [s for handler in node.handlers for s in handler.body]
            yield from _statements([*inner, *handlers, *node.finalbody])
        else:
            yield node


def members(node: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a class holds, by name."""
    for member in node.body:
        if isinstance(member, Function | ast.ClassDef):
            yield member.name, member
        elif not (isinstance(member, ast.Expr) and isinstance(member.value, ast.Constant)):
            yield next(bound(member), unparse(member)), member


def constants(body: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """Return the names that are bound once, to literals."""
    count: dict[str, int] = {}
    found: dict[str, ast.expr] = {}
    for statement in body:
        names = [statement.name] if isinstance(statement, Function | ast.ClassDef) else []
        for name in (*names, *bound(statement)):
            count[name] = count.get(name, 0) + 1
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            literal = all(isinstance(part, LITERAL) for part in ast.walk(statement.value))
            for target in assigned(statement) if literal else ():
                if isinstance(target, ast.Name):
                    found[target.id] = statement.value
    return {name: value for name, value in found.items() if count[name] == 1}


def without_docstring(body: Sequence[ast.stmt]) -> Sequence[ast.stmt]:
    """Return the statements of a body that do something."""
    first = body[0] if body else None
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if text else body
