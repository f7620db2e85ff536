"""Tier 1: what one pass over a file's text tells, whatever grammar version it is written in.

Pure: bytes in, a `Scan` out. It finds class and def heads, import statements with their scope
and docstrings, by regular expressions at the speed of C. It never builds a syntax tree and
never fails: where text alone cannot tell, it errs towards one import too many, never one too
few; `parse` (tier 2) knows exactly.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from self_coding.codebase_indexer.dynamic import BlindLine, dynamic_imports

TOP, CONDITIONAL, FUNCTION, TYPING = "top", "conditional", "function", "typing"
_DEFINITIONS = frozenset(("class", "def", "async def"))

REST = r"[^\n(\\#;]*(?:\([^)#]*(?:#[^\n]*[^)#]*)*\)|\\\n[^\n(\\#;]*)*"  # of a logical line
_HEAD = re.compile(
    r"(\n[ \t\f]*+(?:(?:class|def|async[ \t]+def)[ \t]+\w+"
    rf"|(?:from|import)\b{REST}))"
)
INLINE = re.compile(rf"[:;][ \t]*((?:from[ \t]+[.\w]+[ \t]+)?import\b{REST})")
QUOTED = re.compile(
    r"#[^\n]*"
    r'|"""(?:[^\\"]|\\.|"(?!""))*(?:"""|\Z)'
    r"|'''(?:[^\\']|\\.|'(?!''))*(?:'''|\Z)"
    r'|"(?:[^"\\\n]|\\.)*"?'
    r"|'(?:[^'\\\n]|\\.)*'?",
    re.DOTALL,
)
_STATEMENT = re.compile(r"\s*(?:from\s*([.\s]*[\w.\s]*?)\s*\bimport\b|import\b)(.*)", re.DOTALL)
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_COMMENT = re.compile(r"#[^\n]*")
_EITHER = re.compile(r"\b(?:not|or)\b")
_LINE = re.compile(r"([ \t\f]*)(\w+)([^\n]*)")


class Symbol(NamedTuple):
    """A class or function head: `kind` is "class", "def" or "async def"; `parent` the dotted
    names of the heads around it, empty at the top level."""

    line: int
    kind: str
    name: str
    parent: str


class Import(NamedTuple):
    """One imported module: `module` keeps its leading dots, `names` is empty for `import a.b`.

    `scope` is "top", "conditional", "function", "typing" or "string" (a literal argument).
    """

    scope: str
    module: str
    names: tuple[str, ...]


class Scan(NamedTuple):
    """What the text of one file tells; `text` is what the full text is made of."""

    lines: int
    symbols: list[Symbol]
    imports: list[Import]
    docstrings: str
    blind: list[BlindLine]
    text: str


def decode(source: bytes) -> str:
    """The text of a Python file by its BOM or declared encoding; undecodable bytes replaced."""
    if source.startswith(codecs.BOM_UTF8):
        return source[3:].decode("utf-8", "replace")
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError:
        text = source.decode(_declared(source), "replace")
    return text.encode("utf-8", "replace").decode("utf-8")  # some encodings make half characters


def _declared(source: bytes) -> str:
    for line in source.split(b"\n", 2)[:2]:
        found = _COOKIE.match(line)
        if found:
            name = found[1].decode("ascii", "replace")
            try:
                b" ".decode(name)
            except (LookupError, ValueError):
                break
            return name
    return "utf-8"


def scan(source: bytes) -> Scan:
    """Read one file's bytes; any bytes will do."""
    text = decode(source)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.count("\n") + (not text.endswith("\n")) if text else 0
    code, docstrings = without_strings("\n" + text)
    symbols, imports = _heads(code)
    more = code.count("import") > len(imports)
    if more:
        imports += _inline_imports(code)
    named, blind = dynamic_imports(
        text,
        imported={each.module for each in imports},
        calls=more,
        tests=any(each.name.startswith("test") for each in symbols),
    )
    imports += [Import("string", name, ()) for name in named]
    return Scan(lines, symbols, imports, docstrings, blind, text)


def _heads(code: str) -> tuple[list[Symbol], list[Import]]:
    """Every head of a text without its triple-quoted strings, in order."""
    symbols: list[Symbol] = []
    imports: list[Import] = []
    stack: list[tuple[int, str]] = []
    parts = _HEAD.split(code)
    line = 0
    for number in range(1, len(parts), 2):
        head = parts[number]
        line += parts[number - 1].count("\n") + 1
        if head[1] in "fi":
            found, more = _statement(head)
            imports += found
            line += more
            continue
        start, name = _last_word(head)
        depth, kind = _opening(start)
        if kind not in _DEFINITIONS:
            found, more = _statement(head)
            scope = _scope(parts, number, depth)
            imports += [Import(scope, module, names) for _, module, names in found]
            line += more
            continue
        if depth:
            while stack and stack[-1][0] >= depth:
                stack.pop()
            parent = stack[-1][1] if stack else ""
            stack.append((depth, f"{parent}.{name}" if parent else name))
        else:
            parent = ""
            stack = [(0, name)]
        symbols.append(Symbol(line, kind, name, parent))
    return symbols, imports


def _last_word(head: str) -> tuple[str, str]:
    start, space, name = head.rpartition(" ")
    if "\t" in name or not space:
        start, _, name = head.rpartition("\t")
    return start, name


@lru_cache(maxsize=1_000)
def _opening(start: str) -> tuple[int, str]:
    """Indentation and first words of a head without its name: few kinds exist."""
    words = start.split()
    depth = len(start[1 : start.index(words[0])].expandtabs()) if words else 0
    return depth, " ".join(words)


@lru_cache(maxsize=20_000)
def _statement(text: str) -> tuple[tuple[Import, ...], int]:
    """The imports of one statement and its line breaks; most statements stand in many files."""
    more = text.count("\n") - 1
    found = _STATEMENT.match(text.replace("\\\n", " ") if "\\" in text else text)
    if not found:
        return (), more
    names = _names(found[2])
    if found[1] is None:
        return tuple([Import(TOP, name, ()) for name in names]), more
    return ((Import(TOP, "".join(found[1].split()), names),) if names else ()), more


def _names(text: str) -> tuple[str, ...]:
    """The imported names of a list such as `(a as b, c,  # why`."""
    if "#" in text:
        text = _COMMENT.sub("", text)
    text = text.replace("\\\n", " ").replace("(", " ").replace(")", " ")
    parts = (part.split() for part in text.split(","))
    return tuple([part[0] for part in parts if part])


def _scope(parts: list[str], number: int, depth: int) -> str:
    """What encloses an indented head: the lines above it with less indentation tell."""
    scope = CONDITIONAL
    for line in _lines_above(parts, number):
        found = _LINE.match(line)
        if not found:
            continue
        indent = len(found[1].expandtabs())
        if indent >= depth:
            continue
        word, rest = found[2], found[3]
        if word in ("def", "async"):
            return FUNCTION
        if word in ("if", "elif") and "TYPE_CHECKING" in rest and not _EITHER.search(rest):
            scope = TYPING
        depth = indent
        if not depth:
            break
    return scope


def _lines_above(parts: list[str], number: int) -> Iterator[str]:
    for part in reversed(parts[:number]):
        yield from reversed(part.split("\n"))


def _inline_imports(code: str) -> list[Import]:
    """Imports after a colon or a semicolon."""
    found: list[Import] = []
    for match in INLINE.finditer(code):
        start = code.rfind("\n", 0, match.start())
        before = code[start + 1 : match.start()]
        if "#" in before:
            continue
        top = match[0][0] == ";" and not before[:1].isspace()
        scope = TOP if top else FUNCTION if before.lstrip().startswith("def ") else CONDITIONAL
        imports, _ = _statement(match[1])
        found += [Import(scope, each.module, each.names) for each in imports]
    return found


def without_strings(text: str) -> tuple[str, str]:
    """The text with every triple-quoted string reduced to its newlines, and the docstrings.

    Splitting at the quotes is right for almost every file; where a comment or another string
    may hold such quotes, the whole text is read token by token.
    """
    if "'''" in text:
        return _slowly(text) if '"""' in text else _split(text, "'''")
    return _split(text, '"""')


def _split(text: str, quotes: str) -> tuple[str, str]:
    parts = text.split(quotes)
    if len(parts) == 1:
        return text, ""
    if not len(parts) & 1:
        return _slowly(text)
    docstrings: list[str] = []
    for number in range(1, len(parts), 2):
        code, string = parts[number - 1], parts[number]
        before = code[code.rfind("\n") + 1 :]
        if string[-1:] == "\\":
            return _slowly(text)
        if before.isspace() or not before:
            docstrings.append(string)
        elif "#" in before or "'" in before or '"' in before:
            return _slowly(text)
        elif not before.strip(" \trRuU"):
            docstrings.append(string)
        parts[number] = '""' + "\n" * string.count("\n")
    return "".join(parts), "\n".join(docstrings)


def _slowly(text: str) -> tuple[str, str]:
    kept: list[str] = []
    docstrings: list[str] = []
    end = 0
    for found in QUOTED.finditer(text):
        quoted = found[0]
        if quoted.startswith(('"""', "'''")):
            before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
            if not before.strip(" \trRuU"):
                docstrings.append(quoted[3:-3])
            kept += (text[end : found.start()], '""', "\n" * quoted.count("\n"))
            end = found.end()
    kept.append(text[end:])
    return "".join(kept), "\n".join(docstrings)


def pack_imports(imports: list[Import]) -> str:
    """Imports as one text, a line each, for storing."""
    return "\n".join([f"{scope}\t{module}\t{','.join(names)}" for scope, module, names in imports])


def unpack_imports(text: str) -> list[Import]:
    """The imports that `pack_imports` wrote."""
    found = []
    for packed in text.split("\n") if text else ():
        scope, module, names = packed.split("\t")
        found.append(Import(scope, module, tuple(names.split(",")) if names else ()))
    return found
