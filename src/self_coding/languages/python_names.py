"""Pure: where a Python file uses some words: as names, attributes, strings, or in imports.

It tells what the parser of the running interpreter would tell. Parsing is dear, so a line that
alone decides what a word is there is not parsed: what the lines say is sure or left open.
"""

from __future__ import annotations

import ast
import re
import string
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Set
from functools import lru_cache

from self_coding.languages import Occurrences, Statement, nfkc
from self_coding.languages.python_scan import NAME, QUOTED, without_strings
from self_coding.languages.python_syntax import REFUSALS

# Where a text may be cut: a statement at the margin, or an indented head or import.
_CUT = re.compile(
    r"\n(?:(?=[A-Za-z_@])(?!(?:el(?:se|if)|except|finally)\b)(@)?"
    r"|[ \t\f]++(?=[acdfi@])(?:def[ \t]|class[ \t]|async[ \t]+def[ \t]|from[ \t]|import[ \t]|(@)))"
)
_HEAD_LINES = 12  # looked at after a word for the end of the head it is in

# How the line of a word decides what it is. Every pattern is linear in the length of the line.
_LONG = ('"""', "'''")
_STRING = re.compile(r"""(?<![\w\\])[rRbBuU]{0,2}+(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')""")
_QUOTE = re.compile("[\"'#]")
_ASCII = string.ascii_letters + string.digits + "_."
_DOT = re.compile(r"\.\s*+(?:#[^\n]*+\n\s*+)*+\Z")  # the line above goes on with an attribute
_CLOSED = re.compile(r"\([^()\[\]{}]*+\)|\[[^()\[\]{}]*+\]|\{[^()\[\]{}]*+\}")
_CLOSING = re.compile(r"[)\]}]")
_OPENED = re.compile(r"[(\[{][^()\[\]{}]*+\Z")
_PARAMETERS = re.compile(r"(?:async[ \t]+)?def[ \t]+\w+[ \t]*\([^()\[\]{}]*+\Z")
_OPERATORS = frozenset("=<>+-/%|&^~@")  # not "*", which may be that of a parameter
_BEFORE_VALUES = frozenset(
    (
        *("return", "not", "in", "is", "and", "or", "if", "elif", "while", "for", "await"),
        *("yield", "raise", "assert", "del", "else", "except", "with"),
    )
)
_SOFT = frozenset(("match", "case", "type", "print", "exec"))
_IMPORT = re.compile(
    r"\n[ \t\f]*+(?:from[ \t]++([\w.]++)[ \t]++)?import[ \t]++(?:\(([\w\s,]++)\)|([\w.,* \t]++))"
    r"[ \t]*+(?:#[^\n]*+)?\n"
)
_LONGEST_LINE = 300  # characters before a word: each is looked at for every word behind it
_LOOK_BACK = 200  # characters before a line in which the one above it is sought
_LONGEST_LIST = 3_000  # characters of an import that is read without the parser
_LONGEST_BODY = 500  # lines of a function in which nothing of the class around it is sought
_NO_USE = ("", None)
_Use = tuple[str, object]  # a field of `Occurrences`, "" if the word is no use, and its entry
_STAR = re.compile(r"import[ \t]*+\*")


@lru_cache(maxsize=256)
def _pattern(word: str) -> re.Pattern[str]:
    # It begins with the word itself, which the engine searches for at the speed of C.
    each = re.escape(word)
    return re.compile(rf"{each}(?<!{NAME}{each})(?!{NAME})")


def find_names(text: str, words: frozenset[str]) -> Occurrences:
    """Return where a file uses some words, by the grammar of the running interpreter.

    Parsing whole files costs several times as much as all else that a question about a common
    word does. So what a line alone decides is not parsed, and of the rest only those parts in
    which one of the words occurs; if one of them is no statement by itself, all of the file is.
    """
    occurrences = Occurrences([], [], [], [], [])
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # A newline in front, so that every line begins with one and patterns need no second case.
    code = without_strings("\n" + text)[0]
    hits = _hits(text, code, words)
    numbers = [line for line, _, _ in hits]
    lines: list[str] = []
    starts = [1]
    if None in [use for _, _, use in hits]:
        lines, starts = text.split("\n"), _part_starts(code)
    starts.append(text.count("\n") + 2)
    is_refused = False
    with warnings.catch_warnings():  # about invalid escapes and the like
        warnings.simplefilter("ignore")
        done = 0
        while done < len(hits):
            part = bisect_right(starts, numbers[done])
            start, stop = starts[part - 1], starts[part]
            further = bisect_left(numbers, stop, done)
            uses = [use for _, _, use in hits[done:further] if use is not None]
            if len(uses) == further - done:
                for field, entry in uses:
                    if field:
                        getattr(occurrences, field).append(entry)
            elif tree := _parse_part(lines, start, numbers[further - 1], stop):
                shift = start - 1 - (lines[start - 1][:1] in (" ", "\t"))
                _collect(tree, shift, numbers[done:further], words, occurrences)
            # A cut can fall into brackets or a long string; then only all of the file parses.
            elif not is_refused and (tree := _parse(text)) is not None:
                occurrences = Occurrences([], [], [], [], [])
                _collect(tree, 0, numbers, words, occurrences)
                break
            else:
                # Nor does the whole: do not try again for each part that follows.
                is_refused = True
                occurrences.unparsed.extend((word, line) for line, word, _ in hits[done:further])
            done = further
    return occurrences


def _hits(text: str, code: str, words: Iterable[str]) -> list[tuple[int, str, _Use | None]]:
    """Return line and text of each word and each import of all names; and what it is, if its line
    decides that."""
    normal = nfkc(text)  # of as many lines
    # A match statement binds names anywhere. A word in a long string is a use if it is all of it,
    # or if the string is formatted.
    by_line = normal == text and not ("match" in code and "case " in code)
    if by_line and any(text.count(word) > code.count(word) for word in words):
        around = [f"{prefix}{quotes}" for prefix in "fFrR" for quotes in _LONG]
        around += [f"{quotes}{word}{quotes}" for word in words for quotes in _LONG]
        by_line = not any(each in text for each in around)
    searched = code if by_line else "\n" + normal
    patterns = [_pattern(word) for word in words if word in searched]
    if "import" in searched and "*" in searched:
        patterns.append(_STAR)
    found = sorted((m.start(), m[0]) for each in patterns for m in each.finditer(searched))
    hits: list[tuple[int, str, _Use | None]] = []
    line = end = 0
    for at, word in found:
        line += searched.count("\n", end, at)
        end = at
        hits.append((line, word, _use(code, word, at, line) if by_line else None))
    if any(use and use[0][:1] == "?" for _, _, use in hits):
        _ask_brackets(code, hits)
    return hits


def _ask_brackets(code: str, hits: list[tuple[int, str, _Use | None]]) -> None:
    """Decide what the words are with which lines begin.

    Outside of brackets that is a statement, hence a value or a target; inside, a word before a
    "=" names an argument or a parameter.
    """
    bare = QUOTED.sub("", code)
    rows = bare.split("\n")
    is_sure = len(rows) == code.count("\n") + 1 and not _depth(bare)
    depth = above = 0
    for number, (line, word, use) in enumerate(hits):
        if use and use[0][:1] == "?":
            depth += _depth("".join(rows[above:line]))
            above = line
            decided = None
            if is_sure and not depth:
                decided = ("names", use[1])
            elif is_sure and use[0] == "?=":
                decided = _NO_USE
            hits[number] = line, word, decided


def _depth(text: str) -> int:
    """Return how many brackets a text opens and does not close."""
    return sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))


def _use(code: str, word: str, at: int, line: int) -> _Use | None:
    """Return what a word is where its line decides that, None where only the parser can tell.

    Args:
        code: a text without long strings, in which no match statement binds names.
        word: the word, or the head of an import of all names.
        at: its place.
        line: its number.
    """
    start = code.rfind("\n", 0, at) + 1
    if at - start > _LONGEST_LINE or code[start - 2 : start - 1] == "\\":
        return None
    before = code[start:at]
    if "'" in before or '"' in before:
        before = _STRING.sub("0", before)  # as good as any other value
    if quote := _QUOTE.search(before):
        is_comment = quote[0] == "#"
        return _NO_USE if is_comment else _in_string(code, word, at, line, before, quote)
    bare = before.strip(" \t\f")
    name = bare[len(bare.rstrip(_ASCII)) :]  # with dots
    after = code[at + len(word) : at + len(word) + 20].lstrip(" \t")
    use: _Use | None = None
    if word[:6] == "import" or "import" in bare or bare[:4] == "from":
        use = _import(code, start, at, line)
    elif len(name) == len(bare) and _DOT.search(code, max(0, start - _LOOK_BACK), start):
        pass  # the value of an attribute is on several lines
    elif bare[-1:] == ".":
        value = _value(before, bare, name)
        use = None if value is None else ("attributes", (value, word, line))
    elif word not in _SOFT and after[:1] not in ("'", '"'):
        if (is_name := _is_name(bare, name, after)) is not None:
            use = ("names", (word, line)) if is_name else _NO_USE
        elif not bare or bare[-1] == ",":  # maybe in the list of an import
            listed = code.rfind("import (", max(0, start - _LONGEST_LIST), start)
            use = _import(code, code.rfind("\n", 0, listed) + 1, at, line) if listed >= 0 else None
        if use is None and not bare:
            use = ("?" if after[:2] == "==" else f"?{after[:1]}", (word, line))
    return use


def _value(before: str, bare: str, name: str) -> str | None:
    """Return the dotted name in front of a dot, "" for another value, None if that is not sure."""
    around = bare[: -len(name)].rstrip()[-1:]
    value = name[:-1]
    if before[-1] != "." or around == "." or around >= "\x80":
        return None
    if value.replace(".", "_").isidentifier() and value[0] != "." and ".." not in value:
        return value
    # What is called or looked up has to begin on this line.
    while (inner := _CLOSED.sub("", bare)) != bare:
        bare = inner
    ends = around in (")", "]") and value[:1] in ("", ".")
    return "" if ends and bare[0].isalpha() and not _CLOSING.search(bare) else None


def _is_name(before: str, last: str, after: str) -> bool | None:
    """Return whether a word is an expression: the line before it, its last word, what follows."""
    end = before[-1:]
    follows = after[: 2 if after[:2] in ("==", ":=") else 1]
    if last in ("def", "class", "lambda"):
        return False if follows in ("(", "[", ":", ",", "=") else None
    if (
        end in _OPERATORS
        or last in _BEFORE_VALUES
        or (after[:1] in (".", "(", "[") and last != "type")
        or (end == ":" and (before[-2:-1].isalnum() or before[-2:-1] in (")", "]", "}", "_")))
    ):
        return True
    opened = _OPENED.search(before) if end in ("(", "[", "{", ",") else None
    if opened is None or "lambda" in before or follows in ("\n", "#", "\\", ""):
        return None
    is_parameter = _PARAMETERS.match(before) and follows in (",", ")", ":", "=")
    if is_parameter or (follows == "=" and opened[0][0] == "("):  # or the keyword of an argument
        return False
    return None if before.startswith(("def ", "async ", "class ", "type ")) else follows != "="


def _in_string(
    code: str, word: str, at: int, line: int, before: str, quote: re.Match[str]
) -> _Use | None:
    """Return the same for a word behind a quote."""
    before = before[: quote.start()]
    opened, closed = code.rfind(quote[0], 0, at), code.find(quote[0], at, at + _LONGEST_LINE)
    text = code[opened + 1 : closed]
    if closed < 0 or before[-1:].isalnum() or "\n" in text or "\\" in text:
        return None  # formatted, of bytes, or not closed
    if text != word:
        return _NO_USE
    # One with another string beside it is longer than the word.
    head = before.rstrip()[-1:]
    above = code[max(0, opened - _LOOK_BACK) : opened].rstrip().rpartition("\n")[2]
    if not head and "#" not in above:
        head = above[-1:]
    follows = code[closed + 1 : closed + 20].lstrip(" \t")[:1]
    is_alone = head in ("(", "[", "{", ",", ":", "=") and follows in (":", ",", ")", "]", "}")
    return ("strings", (word, line)) if is_alone else None


def _import(code: str, start: int, at: int, line: int) -> _Use | None:
    """Return the import statement that begins at the start of a line, if `at` is in it."""
    match = _IMPORT.match(code, start - 1, start + _LONGEST_LIST)
    if match is None or match.end() <= at or code[start - 2 : start - 1] == "\\":
        return None
    names = [part.split() for part in (match[2] or match[3]).split(",")]
    if any(len(each) > 1 and (len(each) != 3 or each[1] != "as") for each in names):
        return None
    bound = tuple((each[0], each[2] if len(each) == 3 else None) for each in names if each)
    return "imports", Statement(line - code.count("\n", start, at), match[1], bound)


def _part_starts(code: str) -> list[int]:
    """Return the lines at which a text may be cut; decorators stay with what they decorate."""
    starts = [1]
    line = end = 0
    is_decorated = False
    for cut in _CUT.finditer(code):
        line += code.count("\n", end, cut.end())
        end = cut.end()
        if not is_decorated:
            starts.append(line)
        is_decorated = bool(cut[1] or cut[2])
    return starts


def _parse_part(lines: list[str], start: int, last: int, stop: int) -> ast.Module | None:
    """Parse the lines from `start` before `stop`, or no more than the head that `last` is in.

    An indented part gets a block of its own, one that ends in a head a body.
    """
    # Mostly the words are in a head, and its body need not be read: look for the colon.
    heads = [at for at in range(last, min(last + _HEAD_LINES, stop)) if lines[at - 1][-1:] == ":"]
    for end in (*heads[:1], stop - 1):
        part = "\n".join(lines[start - 1 : end]).rstrip()
        if part.endswith(":"):
            head = part[part.rfind("\n") + 1 :]
            part += f"\n{head[: len(head) - len(head.lstrip())]} pass"
        if tree := _parse(f"if 1:\n{part}" if part[:1] in (" ", "\t") else part):
            return tree
    return None


def _parse(text: str) -> ast.Module | None:
    """Return the syntax tree, None if the running interpreter refuses the text."""
    try:
        return ast.parse(text)
    except REFUSALS:
        return None


def _collect(
    tree: ast.AST, shift: int, lines: list[int], words: Set[str], into: Occurrences
) -> None:
    """Collect what a tree says of the words; only statements on some lines are looked at."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            if node.id in words:
                into.names.append((node.id, node.lineno + shift))
        elif isinstance(node, ast.Attribute):
            if node.attr in words:
                parts: list[str] = []
                value = node.value
                while isinstance(value, ast.Attribute):
                    parts.append(value.attr)
                    value = value.value
                dotted = isinstance(value, ast.Name) and ".".join([value.id, *reversed(parts)])
                into.attributes.append((dotted or "", node.attr, node.lineno + shift))
            todo.append(node.value)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and node.value in words:
                into.strings.append((node.value, node.lineno + shift))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = None
            if isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
            names = tuple([(each.name, each.asname) for each in node.names])
            into.imports.append(Statement(node.lineno + shift, module, names))
        else:
            todo += _children(node, shift, lines)


def _children(node: ast.AST, shift: int, lines: list[int]) -> list[ast.AST]:
    """Return the nodes right below one, of statements those on some lines."""
    children: list[ast.AST] = []
    for value in node.__dict__.values():
        if isinstance(value, ast.AST):
            children.append(value)
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, ast.stmt):
                    decorators = getattr(each, "decorator_list", ())
                    first = min([each.lineno, *[one.lineno for one in decorators]]) + shift
                    at = bisect_left(lines, first)
                    if at == len(lines) or lines[at] > (each.end_lineno or first) + shift:
                        continue
                if isinstance(each, ast.AST):
                    children.append(each)
    return children


def class_body_uses(text: str, name: str, heads: Iterable[int], lines: list[int]) -> list[int]:
    """Return the lines (`@name.setter`) below methods that use their bare name in their class.

    Args:
        text: the file.
        name: the methods' name.
        heads: the lines of their heads.
        lines: those on which the bare name occurs, in order.
    """
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    margins = {_margin(rows[head - 1]) for head in heads if head <= len(rows)}

    def is_apart(line: int, margin: int) -> bool:
        """Whether a line is below a function whose head has this margin, or binds the name."""
        own = rows[line - 1].strip()
        if own.count(name) == 1 and own.startswith((f"{name}: ", f"{name} = ")):
            return True
        for row in reversed(rows[max(0, line - _LONGEST_BODY) : line]):
            if row and _margin(row) <= margin and (text := row.lstrip()) and text[0] not in ")]}#":
                return _margin(row) == margin and text.startswith(("def ", "async def "))
        return False

    if all(is_apart(line, margin) for line in lines for margin in margins):
        return []  # parsing the file would find nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = _parse(text)
    todo: list[ast.AST] = [tree] if tree else []
    uses: set[int] = set()
    while todo:
        node = todo.pop()
        todo += [each for each in _children(node, 0, lines) if not isinstance(each, ast.expr)]
        is_defined = False
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            for part in getattr(statement, "decorator_list", [statement]) if is_defined else ():
                uses.update(
                    each.lineno
                    for each in ast.walk(part)
                    if isinstance(each, ast.Name)
                    and each.id == name
                    and isinstance(each.ctx, ast.Load)
                )
            is_defined = is_defined or statement.lineno in heads
    return sorted(uses)


def _margin(row: str) -> int:
    return len(row) - len(row.lstrip(" \t\f"))
