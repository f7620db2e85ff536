"""A file's symbols and imports as one text each, a line an entry: how they are stored.

Pure. A text of lines is quicker to make, to store and to read than a row for every name, and
most questions want all of a file's, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_JOINT = "\u00aa"  # stands for "_" in a whole name: a letter, and in no identifier (NFKC: "a")


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


def unpack_symbols(text: str) -> list[Symbol]:
    """The symbols of a packed text, in order of their lines."""
    found = []
    for packed in text.split("\n") if text else ():
        line, kind, name, parent = packed.split("\t")
        found.append(Symbol(int(line), kind, name, parent))
    return found


def is_method(symbols: str, of: Symbol) -> bool:
    """Whether a symbol of a packed text stands right in a class."""
    outer, _, name = of.parent.rpartition(".")
    return bool(name) and f"\tclass\t{name}\t{outer}\n" in f"{symbols}\n"


def pack_import(scope: str, module: str, names: Iterable[str]) -> str:
    """One import as a line."""
    return f"{scope}\t{module}\t{','.join(names)}"


def unpack_imports(text: str) -> list[Import]:
    """The imports of a packed text."""
    return [Import(*unpack_import(line)) for line in text.split("\n")] if text else []


def unpack_import(line: str) -> tuple[str, str, tuple[str, ...]]:
    """One import of a packed text: its scope, module and names."""
    scope, module, names = line.split("\t")
    return scope, module, tuple(names.split(",")) if names else ()


def whole(names: str) -> str:
    """The words by which the full text knows exactly these names (but for capitals): one for
    each, where there are spaces between them."""
    return _JOINT + names.replace("_", _JOINT).replace(" ", f" {_JOINT}")
