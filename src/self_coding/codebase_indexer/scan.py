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
from typing import NamedTuple

from self_coding.codebase_indexer.dynamic import BlindLine, dynamic_imports
from self_coding.codebase_indexer.packed import pack_import

TOP, CONDITIONAL, FUNCTION, TYPING = "top", "conditional", "function", "typing"

REST = r"[^\n(\\#;]*(?:\([^)#]*(?:#[^\n]*[^)#]*)*\)|\\\n[^\n(\\#;]*)*"  # of a logical line
_HEAD = re.compile(  # indentation, then kind and name of a definition, or an import statement
    r"\n( *+[ \t\f]*+)(?=[acdfi])"  # most lines end here: spaces alone are quicker than a set
    r"(?:(class|def|async[ \t]+def)[ \t]+(\w+)"
    rf"|((?:from|import)\b{REST}))"
)
_GROUPS = 5  # parts a head: the text before it and the four groups
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
_KNOWN: dict[str, str] = {}  # statements as `_statement` reads them: most stand in many files
_MOST_KNOWN = 20_000


class Scan(NamedTuple):
    """What the text of one file tells.

    `symbols` and `imports` are packed, as they are stored; `names` are those of the
    symbols; `text` is what the full text is made of.
    """

    lines: int
    symbols: str
    names: list[str]
    imports: str
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
    code, docstrings = without_strings("\n" + text)
    names, symbols, imports, breaks = _heads(code)
    lines = breaks - text.endswith("\n") if text else 0
    more = code.count("import") > imports.count("\n") + bool(imports)
    if more:
        imports = _joined(imports, _inline_imports(code))
    named, blind = dynamic_imports(text, imports=imports, calls=more, tests="\ttest" in symbols)
    imports = _joined(imports, [pack_import("string", name, ()) for name in named])
    return Scan(lines, symbols, names, imports, docstrings, blind, text)


def _joined(packed: str, further: list[str]) -> str:
    return "\n".join([packed, *further] if packed else further)


def _heads(code: str) -> tuple[list[str], str, str, int]:
    """The names that a text without its triple-quoted strings defines; its symbols and imports,
    packed; its line breaks."""
    names: list[str] = []
    symbols: list[str] = []
    imports: list[str] = []
    stack: list[tuple[int, str]] = []
    known = _KNOWN.get
    parts = _HEAD.split(code)
    each = iter(parts)
    line, number = 0, -_GROUPS
    for before, indent, kind, name, statement in zip(each, each, each, each, each, strict=False):
        number += _GROUPS
        line += before.count("\n") + 1
        if statement:
            line += statement.count("\n")
            packed = known(statement)
            if packed is None:
                packed = _learned(statement)
            if indent and packed:
                packed = _rescoped(packed, _scope(parts, number, _depth(indent)))
            if packed:
                imports.append(packed)
            continue
        parent = ""
        if indent:
            depth = _depth(indent)
            while stack and stack[-1][0] >= depth:
                stack.pop()
            parent = stack[-1][1] if stack else ""
            stack.append((depth, f"{parent}.{name}" if parent else name))
        else:
            stack = [(0, name)]
        names.append(name)
        spelled = "async def" if kind[0] == "a" else kind  # whatever stands between the two
        symbols.append(f"{line}\t{spelled}\t{name}\t{parent}")
    breaks = line + parts[-1].count("\n")
    return names, "\n".join(symbols), "\n".join(imports), breaks


def _depth(indent: str) -> int:
    return len(indent.expandtabs()) if "\t" in indent else len(indent)


def _learned(statement: str) -> str:
    """The imports of a statement that was not seen before; it is kept for the next file."""
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    packed = _KNOWN[statement] = _statement(statement)
    return packed


def _statement(text: str) -> str:
    """The imports of one statement, packed as at the top level."""
    module, plain, rest = text.partition(" import ")
    if plain and module[5:].replace(".", "_").isidentifier():
        names = rest.replace("(", " ").replace(")", " ").replace(",", " ").split()
        if names and not ("as" in names or "#" in rest or "\\" in rest):
            return pack_import(TOP, module[5:], names)
    return _any_statement(text)


def _any_statement(text: str) -> str:
    """The imports of a statement that is spelled in whatever way, packed."""
    found = _STATEMENT.match(text.replace("\\\n", " ") if "\\" in text else text)
    if not found:
        return ""
    names = _names(found[2])
    if found[1] is None:
        return "\n".join([pack_import(TOP, name, ()) for name in names])
    return pack_import(TOP, "".join(found[1].split()), names) if names else ""


def _rescoped(packed: str, scope: str) -> str:
    """Imports packed as of the top level, in another scope."""
    return "\n".join([scope + each[len(TOP) :] for each in packed.split("\n")])


def _names(text: str) -> tuple[str, ...]:
    """The imported names of a list such as `(a as b, c,  # why`."""
    if "(" in text or "\\" in text:
        text = _COMMENT.sub("", text) if "#" in text else text
        text = text.replace("\\\n", " ").replace("(", " ").replace(")", " ")
    parts = [part.split(None, 1) for part in text.split(",")]
    return tuple([part[0] for part in parts if part])


def _scope(parts: list[str], number: int, depth: int) -> str:
    """What encloses an indented import: the lines above it with less indentation tell."""
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
    """The lines above a head, nearest first: the text before it, the head before that, and on."""
    yield from reversed(parts[number].split("\n"))
    for start in range(number - _GROUPS, -1, -_GROUPS):
        before, indent, kind, name, statement = parts[start : start + _GROUPS]
        yield from reversed((indent + (statement or f"{kind} {name}")).split("\n"))
        yield from reversed(before.split("\n"))


def _inline_imports(code: str) -> list[str]:
    """Imports after a colon or a semicolon, packed."""
    found: list[str] = []
    for match in INLINE.finditer(code):
        start = code.rfind("\n", 0, match.start())
        before = code[start + 1 : match.start()]
        if "#" in before:
            continue
        top = match[0][0] == ";" and not before[:1].isspace()
        scope = TOP if top else FUNCTION if before.lstrip().startswith("def ") else CONDITIONAL
        packed = _statement(match[1])
        if packed:
            found.append(_rescoped(packed, scope))
    return found


def without_strings(text: str) -> tuple[str, str]:
    """The text with every triple-quoted string reduced to its newlines, and the docstrings.

    Splitting at the quotes is right for almost every file; where a comment or another string
    may hold such quotes, the whole text is read token by token.
    """
    if "'" in text and "'''" in text:  # many a file holds no such quote: that is seen quicker
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
