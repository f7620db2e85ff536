"""Pure. What code defines, renames and takes back, and where a test is defined."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import cached_property

from self_coding.audit.files import Files, Kind
from self_coding.audit.syntax import (
    Function,
    assigned,
    bound,
    constants,
    imports,
    name_of,
    nodes,
    parse,
    strings,
    unparse,
)
from self_coding.audit.test_modules import Module

# members of a class by which pytest and unittest make, prepare, run and judge its tests
_SPECIAL = re.compile(
    r"(?i)__|set_?up|tear_?down|async(?:set|tear)|run$|debug$|fail|assert|_?pytest|do\w*cleanups|"
    r"addtypeequality|skiptest|subtest|longmessage|maxdiff|default_?test|parametri|params?$|id$"
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_SIMILAR = 0.75  # of the text of a definition: the same one under another name
_READ = 2000  # characters of it


class Withdrawn:
    """What the code of a change takes back, from the two texts of each of its files."""

    def __init__(self, files: Iterable[tuple[str, str | None, str | None]]) -> None:
        lost: dict[str, ast.AST] = {}
        fresh: dict[str, ast.AST] = {}
        self.resigned: set[str] = set()  # functions and classes with other parameters
        for path, old, new in files:
            before, after = defined(old), defined(new)
            module = path.removesuffix(".py").rpartition("/")[2]
            lost |= {module: ast.Pass()} if new is None else {}
            fresh |= {module: ast.Pass()} if old is None else {}
            lost |= {name: before[name] for name in before.keys() - after.keys()}
            fresh |= {name: after[name] for name in after.keys() - before.keys()}
            self.resigned |= {
                name for name in before.keys() & after.keys() if resigns(before[name], after[name])
            }
        self.lost = lost.keys()
        self.gone = lost.keys() - fresh.keys()  # what is in both has only moved within the code
        self.fresh = fresh.keys() - lost.keys()  # names that the code did not have
        # The new name of what was renamed is read as the old one.
        self.renamed = renaming({name: lost[name] for name in self.gone}, fresh)
        for name, old_name in self.renamed.items():
            if resigns(lost[old_name], fresh[name]):
                self.resigned |= {name, old_name}


def withdrawn_names(files: Files) -> frozenset[str]:
    """Return the names that the changed code no longer holds, in lower case; its prose tells none.

    What it only imported from the project, or reached through something else, may still be there.
    """
    own = {part.removesuffix(".py") for file in files.changed for part in file.path.split("/")}
    before: set[str] = set()
    after: set[str] = set()
    elsewhere: set[str] = set()
    defined: set[str] = set()
    for file in files.of(Kind.SOURCE):
        before |= set() if file.new is not None else {file.name}
        for tree, given in ((file.old_tree, before), (file.tree, after)):
            parameters = (f"{node.arg}=" for node in nodes(tree) if isinstance(node, ast.arg))
            given.update(_spoken(tree), parameters)
        found = imports(file.old_tree).items()
        elsewhere |= {name for name, full in found if full.split(".")[0] in {"", *own}}
        for node in nodes(file.old_tree):
            if isinstance(node, Function | ast.ClassDef):
                defined.add(node.name)
            if isinstance(node, ast.ClassDef | ast.Module):
                defined |= {name for part in node.body for name in map(name_of, assigned(part))}
            elif isinstance(node, ast.Attribute):
                (elsewhere if isinstance(node.ctx, ast.Load) else defined).add(node.attr)
    gone = (before - after) - (elsewhere - defined)
    return frozenset(name.lower() for name in gone if len(name) > 3 and name[:2] != "__")


def _spoken(tree: ast.Module) -> Iterator[str]:
    """Yield the names of some code, and its texts with their words, without its docstrings."""
    prose = {
        id(node.value)
        for node in nodes(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in nodes(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            yield from _WORD.findall(str(getattr(node, field, None) or ""))
        if id(node) not in prose:
            for text in strings([node]):
                yield text
                yield from _WORD.findall(text) if " " not in text else ()


class Place:
    """Where a test is defined: its module, and its class with those that it inherits."""

    def __init__(
        self, module: Module, function: Function, line: tuple[tuple[Module, ast.ClassDef], ...]
    ) -> None:
        self.module, self.function, self.line = module, function, line
        self.owner = line[0][1].name if line else ""

    @property
    def heads(self) -> Counter[str]:
        """The decorators and keywords of its classes, and the bases that are nobody's here."""
        known = {one.name for _, one in self.line}
        return Counter(
            unparse(node)
            for _, one in self.line
            for node in (*one.bases, *one.keywords, *one.decorator_list)
            if name_of(node) not in known
        )

    @cached_property
    def members(self) -> dict[str, list[tuple[Module, ast.AST]]]:
        """What its classes hold, by name, the nearest first; without tests."""
        found: dict[str, list[tuple[Module, ast.AST]]] = {}
        for module, one in self.line:
            for name, node in members(one):
                if not (isinstance(node, Function) and name.startswith("test")):
                    found.setdefault(name, []).append((module, node))
        return found

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """The literals that a class holds under a name that nothing else stores to."""
        stored = {
            node.attr
            for _, one in self.line
            for node in ast.walk(one)
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        }
        found: dict[str, ast.expr] = {}
        for _, one in reversed(self.line):
            found |= {f"self.{n}": v for n, v in constants(one.body).items() if n not in stored}
        return {n: v for n, v in found.items() if len(self.members.get(n[5:], ())) == 1}


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


def resigns(before: ast.AST, after: ast.AST) -> bool:
    """Return whether calls must change: a further optional parameter asks for nothing."""
    (needed, free), (needed_now, free_now) = _parameters(before), _parameters(after)
    return needed != needed_now or not free <= free_now


def _parameters(node: ast.AST) -> tuple[list[str], set[str]]:
    """Return what every call of a function or class hands over, and what it may."""
    members = node.body if isinstance(node, ast.ClassDef) else [node]
    made = [m for m in members if isinstance(m, Function)]
    args = [m.args for m in made if m is node or m.name in {"__init__", "__new__"}]
    if not args:
        fields = [m for m in members if isinstance(m, ast.AnnAssign)] if members != [node] else []
        needed = [unparse(m.target) for m in fields if m.value is None]
        return needed, {unparse(m.target) for m in fields} - {*needed}
    plain = [one.arg for one in (*args[0].posonlyargs, *args[0].args)]
    keywords = zip(args[0].kwonlyargs, args[0].kw_defaults, strict=True)
    needed = plain[: len(plain) - len(args[0].defaults)]
    needed += [one.arg for one, default in keywords if default is None]
    return needed, {*plain, *(one.arg for one in args[0].kwonlyargs)} - {*needed}


def renaming(lost: Mapping[str, ast.AST], fresh: Mapping[str, ast.AST]) -> dict[str, str]:
    """Return which new definitions are lost ones under another name: new name, old name."""
    found: dict[str, str] = {}
    for name, node in lost.items():
        others = {n: other for n, other in fresh.items() if type(other) is type(node)}
        if isinstance(node, Function | ast.ClassDef):
            matcher = SequenceMatcher(None, "", _body(node), autojunk=False)
            ratios = dict.fromkeys(others, 0.0)
            for new, other in others.items():
                matcher.set_seq1(_body(other))
                ratios[new] = matcher.ratio() if matcher.quick_ratio() > _SIMILAR else 0.0
            alike = [n for n in others if ratios[n] == max(ratios.values()) > _SIMILAR]
        else:  # an assignment has its value, an import its origin
            value = unparse(getattr(node, "value", None) or ast.Pass())
            alike = [
                n for n, o in others.items() if unparse(getattr(o, "value", None) or o) == value
            ]
        alike = alike or [n for n in others if n.strip("_") == name.strip("_")]
        if len(alike) == 1:
            found[alike[0]] = name
    return found


def _body(node: ast.AST) -> str:
    return unparse(node).partition("\n")[2][:_READ]


def names_in(node: ast.AST, *, attributes: bool = False) -> set[str]:
    """Return the names that code reads; with `attributes` the last parts of dotted ones, too."""
    kinds = (ast.Name, ast.Attribute) if attributes else (ast.Name,)
    return {
        name_of(n) for n in ast.walk(node) if isinstance(n, kinds) and isinstance(n.ctx, ast.Load)
    }


def is_special(name: str, found: Iterable[tuple[object, ast.AST]]) -> bool:
    """Return whether a member of a class reaches its tests without being named by them."""
    return _SPECIAL.match(name) is not None or any(
        "fixture" in unparse(decorator)
        for _, node in found
        if isinstance(node, Function)
        for decorator in node.decorator_list
        if "autouse" in unparse(decorator)
    )


def members(node: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a class holds, by name."""
    for member in node.body:
        if isinstance(member, Function | ast.ClassDef):
            yield member.name, member
        elif not (isinstance(member, ast.Expr) and isinstance(member.value, ast.Constant)):
            yield next(bound(member), unparse(member)), member


def definitions(text: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a source defines, as `Class::name`; the module itself first, without a name."""
    tree = parse(text)
    pending: list[tuple[str, ast.AST]] = [("", tree)] if tree else []
    while pending:
        scope, node = pending.pop()
        own = isinstance(node, ast.Module | ast.ClassDef | Function)
        if own:
            yield scope, node
        for child in ast.iter_child_nodes(node) if not isinstance(node, Function) else ():
            named = isinstance(child, ast.ClassDef | Function)
            inner = "::".join(filter(None, (scope, getattr(child, "name", "") if named else "")))
            pending.append((inner, child))


def docstrings(text: str) -> dict[str, ast.Constant]:
    """Return the docstrings of a module and of what it defines, by dotted name."""
    found: dict[str, ast.Constant] = {}
    for scope, node in definitions(text):
        match getattr(node, "body", [])[:1]:
            case [ast.Expr(value=ast.Constant(value=str()) as docstring)]:
                found[scope.replace("::", ".")] = docstring
    return found
