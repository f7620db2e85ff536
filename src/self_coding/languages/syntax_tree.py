"""Pure: what languages that are read over a syntax tree have in common.

Such a language is a table (suffixes, grammars, a query) and a resolver; heads, spans and uses of
words are read here. The parsers are the `[languages]` extra. Without it, or where a file is too
large, too deep or minified, its text alone is indexed, and a blind spot says why.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from self_coding.languages import BlindLine, Body, Language, Occurrences, Scan, Statement, nfkc
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node, Parser, Query

UNREAD = "is not read without its parser: install self-coding[languages]"
_MOST = 1 << 20  # bytes of a file that is parsed
_KEPT = 1 << 18  # bytes of text kept of one that is not
_LINE = 500  # bytes: a file whose lines are longer on average is minified
_START = 1 << 16  # bytes in which that is seen
_DEEP = 500  # brackets inside each other: the work on errors grows with the square of them
_SIGNS = 999  # of one kind in a row
_ANGLES = 50  # generic types inside each other
_ROWS = 10_000  # children of a node in error, for the same reason
_DEPTH = 60  # levels of the tree in which definitions are looked for
_BODY = 1 << 15  # bytes in which a function's end is looked for
_WORK = 8  # times a file's length that its bodies may be read: of nested ones each is
_INDENT = re.compile(rb"[ \t]*+")
_TYPES = re.compile(rb"\b(?:class|interface|enum|record|namespace|use|mod|impl|trait)\b")
_OTHER = bytes(each for each in range(256) if each not in b"()[]{}")
_PAIRS = (b"()", b"[]", b"{}")
_HARD = re.compile(rb"([^\s\w])\1{15}(?:\s*+\1)*+|\b(?:\w++<\s*+){9,}+")  # takes all memory
_PLAIN = bytes(at for at in range(128) if chr(at).isspace() or chr(at).isalnum() or chr(at) == "_")
_STEP = 50
_RUN = re.compile(rb"(?s)(.)\1{%d}" % (_SIGNS // _STEP - 2))
_GENERATED = re.compile(rb"(?i)code generated [^\n]{0,200}do not edit|@generated\b|auto-?generated")
_VENDORED = re.compile(r"(?:^|/)(?:vendor|node_modules|third_party|bower_components|\.yarn)/")
_MADE = re.compile(r"\.(?:pb|gen|g|generated)\.\w+$|_generated\.\w+$|(?:^|/)zz_generated")
_VALUE = re.compile(r"([A-Za-z_$][\w$]*(?:(?:\.|::)[A-Za-z_$][\w$]*)*)(?:\.|::|\?\.|->)\Z")
_IMPORTING = re.compile(r"\b(?:import|export|require(?:_relative)?|use)\b")
_LONGEST_LIST = 2_000  # characters of a statement before a name that it imports
_LOOK_BACK = 120  # characters before a word that its value is looked for in
_HEADS = frozenset(
    (
        *("class", "interface", "enum", "function", "func", "fn", "def", "module"),
        *("struct", "trait", "type", "record"),
    )
)


class Head(NamedTuple):
    """A definition: its first and last line, and the node; `kind` is "class", "def" or "scope"."""

    line: int
    end: int
    kind: str
    name: str
    parent: str
    node: Node


class Imported(NamedTuple):
    """What a file imports: packed lines for the index, and statements for the uses of a name."""

    packed: list[str]
    statements: list[Statement]
    blind: list[BlindLine]


Captures = dict[str, list["Node"]]


class Tree(NamedTuple):
    """The root of a file's tree, its source, and the module and function of its grammar.

    What is asked of every file, `usual`, is looked for in one walk down to `depth`: a walk costs
    a third of the parse, however many patterns there are. With `nests`, the patterns of what may
    hold definitions (`@nest`), nothing else is gone into, which costs a quarter of that.
    """

    root: Node
    source: bytes
    grammar: tuple[str, str]
    usual: tuple[str, ...]
    depth: int
    nests: str
    found: dict[str, list[Captures]]

    def find(self, query: str) -> list[Captures]:
        """Return what a query finds: for each match the nodes by the names of its captures."""
        from tree_sitter import QueryCursor

        if query not in self.found:
            together = self.usual if query in self.usual else (query,)
            nests = self.nests if query in self.usual else ""
            cursor = QueryCursor(_query(*self.grammar, "\n".join((*together, nests))))
            cursor.set_max_start_depth(self.depth if query in self.usual else _DEPTH)
            lists: list[list[Captures]] = []  # for each pattern that of its query
            for each in together:
                lists += [self.found.setdefault(each, [])] * _patterns(*self.grammar, each)
            waiting = [self.root]
            while waiting:
                for pattern, held in cursor.matches(waiting.pop()):
                    if pattern < len(lists):
                        lists[pattern].append(held)
                    else:
                        waiting += held["nest"]
        return self.found[query]


def origin(path: str, source: bytes) -> str:
    """Return who made a file that nobody wrote here: "generated", "vendored", "minified"."""
    if _is_minified(source):
        return "minified"
    if _VENDORED.search(path):
        return "vendored"
    return "generated" if _MADE.search(path) or _GENERATED.search(source[:2048]) else ""


def _is_minified(source: bytes) -> bool:
    return min(len(source), _START) > _LINE * (source.count(b"\n", 0, _START) + 2)


class TreeLanguage(Language):
    """A language that is read over its syntax tree.

    In `query`, each `@class`, `@def` and `@scope` (what is around methods and defines nothing)
    goes with one `@name`; `@in` is the owner of a method that is written outside of it.
    """

    name = ""
    grammars: Mapping[str, tuple[str, str]] = {}  # suffix -> module of the parser, its function
    query = ""
    asked: tuple[str, ...] = ()  # the queries of `imports`
    depth = _DEPTH  # levels in which all these are looked for: a function's inside costs most
    nests = ""  # what each level of a walk is taken from, where it is not the whole tree
    opening = re.compile(rb"(?!)")  # what functions begin with, up to the end of the line
    kept: tuple[bytes, ...] = ()  # words that tell that inside of one there is more to know
    result = ("return_type", "result", "type")  # fields that hold what a function returns
    bases: tuple[str, ...] = ()  # fields and types of children that hold what a class extends
    testing: re.Pattern[str] | None = None  # what tests beside the code have above them
    comments = r"//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)"
    quoted = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|\'(?:[^\'\\\n]|\\.)*+\'?'  # strings

    @property
    def missing(self) -> str:
        packages = {"tree_sitter", *(module for module, _ in self.grammars.values())}
        return "" if all(map(_is_there, packages)) else f"{self.name} {UNREAD}"

    def imports(self, tree: Tree, text: str) -> Imported:
        """Return what a file imports."""
        raise NotImplementedError

    def tree(self, source: bytes, path: str = "", *, is_hollow: bool = False) -> Tree | str:
        """Return the tree of a file, or why it has none; a hollow one has no functions' insides."""
        if why := self.missing or _unfit(source):
            return why
        first = next(iter(self.grammars.values()))
        grammar = self.grammars.get("." + path.rpartition(".")[2], first)
        parser = _parser(*grammar)
        if is_hollow:
            hollow = _hollow(source, self.opening, self.kept)
            root = parser.parse(hollow).root_node
            if not root.has_error:
                usual = (self.query, *self.asked)
                return Tree(root, hollow, grammar, usual, self.depth, self.nests, {})
        root = parser.parse(source).root_node
        if root.has_error and root.child_count > _ROWS:
            return "it cannot be parsed"
        return Tree(root, source, grammar, (self.query, *self.asked), self.depth, self.nests, {})

    def scan(self, source: bytes, path: str = "") -> Scan:
        text = self.decode(source)
        lines = text.count("\n") + 1
        tree = self.tree(source, path, is_hollow=True)
        if isinstance(tree, str):
            kept = text if UNREAD in tree else self.decode(source[:_KEPT])
            return Scan(lines, "", [], "", "", [BlindLine(1, tree)], kept)
        heads = [each for each in self.heads(tree) if each.kind != "scope"]
        names = [each.name for each in heads]
        found = self.imports(tree, text)
        symbols = "\n".join([f"{h.line}\t{h.kind}\t{h.name}\t{h.parent}" for h in heads])
        packed = "\n".join(dict.fromkeys(found.packed))
        return Scan(lines, symbols, names, packed, "", found.blind, text)

    def heads(self, tree: Tree) -> Iterator[Head]:
        """Yield the definitions of a tree, in order."""
        found: dict[tuple[int, int], tuple[str, Node, Node, list[Node] | None]] = {}
        for held in tree.find(self.query):
            for kind in ("class", "def", "scope"):
                for node in held.get(kind, ()):
                    key = node.start_byte, -node.end_byte
                    found.setdefault(key, (kind, node, held["name"][0], held.get("in")))
        around: list[tuple[int, str]] = []  # ends of the definitions around, their dotted names
        for (start, end), (kind, node, name, owner) in sorted(found.items(), key=lambda i: i[0]):
            while around and around[-1][0] <= start:
                around.pop()
            word, parent = text_of(name), around[-1][1] if around else ""
            if owner:
                parent = text_of(owner[0])
            around.append((-end, f"{parent}.{word}" if parent and kind != "scope" else word))
            line, last = node.start_point[0] + 1, node.end_point[0] + 1
            yield Head(line, last, kind, word, parent, node)

    def bodies(self, text: str, path: str) -> list[Body]:
        tree = self.tree(text.encode("utf-8", "replace"), path)
        found: list[Body] = []
        for head in () if isinstance(tree, str) else self.heads(tree):
            if head.kind == "def" and not (found and head.end <= found[-1].end):
                found.append(Body(head.line, head.end, f"{head.parent}.{head.name}".lstrip(".")))
        return found

    def with_tests(self, text: str, other: str) -> str:
        """Return a file with the test modules, and the tests beside them, of another one."""
        sides = [list(self._tests_of(each)) for each in (text, other)]
        source = text.encode("utf-8", "surrogateescape")
        for start, end, _ in sorted(sides[0], reverse=True):
            source = source[:start] + source[end:]
        parts = [source.rstrip(), *(part for _, _, part in sides[1])]
        return b"\n\n".join(parts).decode("utf-8", "surrogateescape") + "\n"

    def _tests_of(self, text: str) -> Iterator[tuple[int, int, bytes]]:
        """Yield start, end and source of what a file has for its tests alone, at its margin."""
        source = text.encode("utf-8", "surrogateescape")
        tree = self.tree(source)
        start = None
        for node in () if isinstance(tree, str) or not self.testing else tree.root.children:
            if node.type == "attribute_item":
                start = node if start is None else start
                continue
            if "comment" not in node.type and start is not None:
                head = source[start.start_byte : node.start_byte].decode("utf-8", "replace")
                if self.testing and self.testing.search(head):
                    yield start.start_byte, node.end_byte, source[start.start_byte : node.end_byte]
                start = None

    def syntax_error(self, source: bytes, path: str = "") -> str | None:
        tree = self.tree(source, path)
        if isinstance(tree, str):
            return tree
        node = tree.root
        if not node.has_error:
            return None
        while not node.is_error and (inner := [each for each in node.children if each.has_error]):
            node = inner[0]
        return f"line {node.start_point[0] + 1}: invalid syntax"

    def parse(self, source: bytes, path: str, module: str) -> ModuleInfo | None:
        tree = self.tree(source, path)
        if isinstance(tree, str):
            return None
        info = ModuleInfo(file_path=path, module_name=module, origin=origin(path, source))
        classes: dict[str, ClassInfo] = {}
        for head in self.heads(tree):
            if head.kind == "def" and (not head.parent or head.parent in classes):
                around = classes[head.parent].methods if head.parent else info.functions
                around.append(self._function(head))
            elif head.kind == "class" and not head.parent:
                info.classes.append(
                    ClassInfo(
                        name=head.name,
                        docstring=_comment_above(head.node),
                        line_number=head.line,
                        end_line=head.end,
                        bases=[
                            text_of(each).removeprefix("extends ")
                            for kind in self.bases
                            for each in head.node.children
                            if each.type == kind
                        ],
                    )
                )
                classes[head.name] = info.classes[-1]
        packed = [each.split("\t") for each in self.imports(tree, self.decode(source)).packed]
        named = (module for kind, module, _ in packed if kind == "import" and module)
        info.imports = list(dict.fromkeys(named))
        return info

    def _function(self, head: Head) -> FunctionInfo:
        node = head.node.child_by_field_name("value") or head.node  # of a name given to one
        arguments = node.child_by_field_name("parameters")
        results = [node.child_by_field_name(each) for each in self.result]
        told = next((text_of(each).lstrip(": ") for each in results if each is not None), None)
        return FunctionInfo(
            name=head.name,
            args=[text_of(each) for each in arguments.named_children] if arguments else [],
            returns=told,
            docstring=_comment_above(head.node),
            line_number=head.line,
            end_line=head.end,
            is_async="async" in text_of(node)[:40].partition("(")[0].split(),
            is_method=bool(head.parent),
        )

    def find_names(self, text: str, words: frozenset[str]) -> Occurrences:
        """Return where a file uses words: names by its lines alone, imports over its tree."""
        found = Occurrences([], [], [], [], [])
        bare = nfkc(self._without_quoted(text, words, found.strings))
        spelled = "|".join(map(re.escape, sorted(words)))
        if "import" in words or _may_import(bare, spelled):
            head = self.importing(text)
            tree = self.tree(head.encode("utf-8", "replace"))
            statements = [] if isinstance(tree, str) else self.imports(tree, head).statements
            for each in statements:
                names = {name for pair in each.names for name in pair}
                if "import" in words or not words.isdisjoint(names) or "*" in names:
                    found.imports.append(each)
        taken = {each.line for each in found.imports}
        line, end = 1, 0
        for match in re.finditer(rf"(?<![\w$])(?:{spelled})(?![\w$])", bare):
            line += bare.count("\n", end, match.start())
            end = match.start()
            before = bare[max(0, end - _LOOK_BACK) : end].rstrip()
            if line in taken or before.rpartition("\n")[2].split(" ")[-1] in _HEADS:
                continue
            if before.endswith((".", "::", "->")):
                value = _VALUE.search(before)
                owner = value[1].replace("::", ".") if value else ""
                found.attributes.append((owner, match[0], line))
            else:
                found.names.append((match[0], line))
        return found

    def importing(self, text: str) -> str:
        """Return the part of a text that may hold import statements."""
        return text

    def bare(self, text: str) -> str:
        """Return a text with a space for each comment and string."""
        return _quoting(self.comments, self.quoted).sub(" ", text)

    def _without_quoted(
        self, text: str, words: Iterable[str], strings: list[tuple[str, int]]
    ) -> str:
        """Return a text with these blank, line for line; list strings that are one of the words."""
        wanted = {f"{quote}{word}{quote}": word for word in words for quote in "\"'`"}

        def blank(match: re.Match[str]) -> str:
            if match[0] in wanted:
                strings.append((wanted[match[0]], text.count("\n", 0, match.start()) + 1))
            return " " + "\n" * match[0].count("\n")

        return _quoting(self.comments, self.quoted).sub(blank, text)


def _may_import(text: str, spelled: str) -> bool:
    """Return whether a statement of a text may import one of some words; each part is read once."""
    places = [match.start() for match in re.finditer(rf"\b(?:{spelled})\b", text)]
    for match in _IMPORTING.finditer(text):
        near = bisect_left(places, match.end())
        between = text[match.end() : places[near]] if near < len(places) else ";"
        if len(between) <= _LONGEST_LIST and ";" not in between:
            return True
    for part in re.split(r"[;\n]", text):
        if "port" in part or "require" in part:  # of most lines no more is asked
            called = {match[0] for match in _IMPORTING.finditer(part)} - {"use"}
            if called & {"import", "export"} and "*" in part:
                return True
            if called & {"import", "require"} and re.search(rf"\b(?:{spelled})\b", part):
                return True
    return False


def text_of(node: Node) -> str:
    """Return the source of a node."""
    return (node.text or b"").decode("utf-8", "replace")


def line_of(node: Node) -> int:
    """Return the line on which a node begins, from 1."""
    return node.start_point[0] + 1


def joined(folder: str, place: str) -> str | None:
    """Return a path from a folder on, without its dots; None where it leaves the repository."""
    parts = folder.split("/") if folder else []
    for part in place.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


@cache
def _quoting(comments: str, quoted: str) -> re.Pattern[str]:
    return re.compile(f"{comments}|{quoted}", re.DOTALL)


def _unfit(source: bytes) -> str:
    """Return why a file should not be parsed: what takes minutes, or all memory, says nothing."""
    if len(source) > _MOST:
        return f"a file of {len(source)} bytes is too large to be read"
    if _is_minified(source):
        return "a minified file is not read"
    # What has no run among its signs alone has none in the text, and that is quick to see.
    signs = source.translate(None, _PLAIN)
    may_be_hard = b"<" * _ANGLES in signs or _RUN.search(signs[::_STEP])
    for match in _HARD.finditer(source) if may_be_hard else ():
        sign, most = (match[1], _SIGNS) if match[1] else (b"<", _ANGLES)
        if match[0].count(sign) > most:
            return "it is not read: no parser can"
    # Innermost pairs are taken out at the speed of C until none is left, or too many are around.
    brackets = signs.translate(None, _OTHER)
    for _ in range(_DEEP):
        length = len(brackets)
        for pair in _PAIRS:
            brackets = brackets.replace(pair, b"")
        if len(brackets) == length:
            break
    opened = sum(brackets.count(each) for each in b"([{")
    return "it is not read: too deep" if opened > _DEEP else ""


def _hollow(source: bytes, opening: re.Pattern[bytes], kept: tuple[bytes, ...]) -> bytes:
    """Return a source without the insides of its functions, line for line: a parse of the rest
    costs half.

    A function is taken to end with the first brace as deep as the line it begins on. Where that is
    not so, its braces do not balance; where strings hide it, what is left is no syntax.
    """
    parts: list[bytes] = []
    at, work = 0, _WORK * len(source)
    for match in opening.finditer(source):
        start = match.end()
        if start <= at:  # in one that is gone
            continue
        line = source.rfind(b"\n", 0, start - 1) + 1
        indent = _INDENT.match(source, line)
        assert indent is not None
        end = source.find(b"\n%b}" % indent[0], start - 1, start + _BODY)
        work -= (end if end > 0 else start + _BODY) - start
        if work < 0:
            break
        head = source[indent.end() : start]
        if end < start or head[0] in b"*/()}" or _TYPES.search(head):
            continue
        body = source[start:end]
        if body.count(b"{") == body.count(b"}") and not any(word in body for word in kept):
            parts += source[at:start], b"\n" * body.count(b"\n")
            at = end
    return b"".join((*parts, source[at:]))


def _comment_above(node: Node) -> str | None:
    """Return the comment that ends on the line above a definition, without its marks."""
    while node.parent is not None and node.parent.type in ("export_statement", "type_declaration"):
        node = node.parent
    lines: list[str] = []
    row, above = node.start_point[0], node.prev_sibling
    while above is not None and "comment" in above.type and above.end_point[0] in (row, row - 1):
        lines.insert(0, text_of(above))
        row, above = above.start_point[0], above.prev_sibling
    marks = r"(?m)^[ \t]*+(?:///?!?|/\*\*?|\*/?)[ \t]?|\*/[ \t]*$"
    plain = re.sub(marks, "", "\n".join(lines)).split("\n")
    return "\n".join(line.rstrip(" \t") for line in plain).strip() or None


@cache
def _is_there(package: str) -> bool:
    return find_spec(package) is not None


@cache
def _grammar(module: str, function: str) -> Grammar:
    from tree_sitter import Language as Made

    return Made(getattr(import_module(module), function)())


@cache
def _parser(module: str, function: str) -> Parser:
    from tree_sitter import Parser as Made

    return Made(_grammar(module, function))


@cache
def _query(module: str, function: str, query: str) -> Query:
    from tree_sitter import Query as Made

    return Made(_grammar(module, function), query)


@cache
def _patterns(module: str, function: str, query: str) -> int:
    return _query(module, function, query).pattern_count
