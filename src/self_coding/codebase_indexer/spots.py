"""Where one file uses certain words: as a name, an attribute, a string, or in an import.

Pure. It reads only the lines on which a word stands, and tells what the parser would, as long as
these alone decide what the word is there; where they do not, it says so and never guesses. Then
`spots_tree` asks the parser, which costs as much as compiling.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache
from typing import NamedTuple

from self_coding.languages.python_scan import INLINE, QUOTED, REST, without_strings

_IMPORT = re.compile(rf"[ \t\f]*((?:from|import)\b{REST})")
_ANY_IMPORT = re.compile(rf"^{_IMPORT.pattern}", re.MULTILINE)
_STAR = re.compile(r"import[ \t]*\*")
_WORD_IMPORT = re.compile(r"\bimport\b")
_PARTS = re.compile(r"\s*(?:from\s*([.\s]*[\w.\s]*?)\s*\bimport\b|import\b)(.*)", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*")
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_PLAIN_QUOTE = re.compile(r"(?:^|\W)[rRuU]?\Z")
_STRING_PREFIX = re.compile(r"(?<!\w)[a-zA-Z]{0,2}\Z")
_LONG_FORMAT = tuple(  # each begins with the quotes, which are searched for at the speed of C
    re.compile(f"{quotes}(?:(?<=[fF]{quotes})|(?<=[fF][rR]{quotes}))") for quotes in ('"""', "'''")
)
_STRING_FOLLOWS = re.compile(r"""(?:\s|\\\n|#[^\n]*\n)*[a-zA-Z]{0,2}["']""")
_NESTED = re.compile(r"""["'{}\\]""")
_SOFT = frozenset(("match", "case", "type"))  # keywords only where a statement begins
_WRAPPED = re.compile(r"\([\w.\s()]*\Z")  # may be a plain name in parentheses
_ABOVE = 3000  # characters looked at for the beginning of an expression
_DEFINED = re.compile(r"\bdef[ \t]+\w+[ \t]*(?:\[[^\]]*\])?[ \t]*\Z")
_OWN_RULES = ("global ", "nonlocal ", "case ", "match ", "type ", "import ", "from ")


Bound = tuple[str | None, tuple[tuple[str, str | None], ...]]  # as in `Statement`


class Statement(NamedTuple):
    """One import statement: `module` is None for `import a, b`; names with what binds them."""

    line: int
    module: str | None
    names: tuple[tuple[str, str | None], ...]


class Spots(NamedTuple):
    """What a file does with the words: `names` are (word, line), `attributes` (dotted name of the
    value or "", word, line), `strings` the lines of strings that are one of the words.

    `imports` holds at least the statements that name one of the words or import all names;
    `names` is None where only the parser can tell.
    """

    imports: list[Statement]
    names: list[tuple[str, int]] | None
    attributes: list[tuple[str, str, int]]
    strings: list[tuple[str, int]]


class Unsure(Exception):  # noqa: N818 - no error: the parser is asked instead
    """The text alone does not tell."""


def by_text(text: str, words: Set[str]) -> Spots | None:
    """What the lines with the words say; None where they alone do not tell."""
    if not any(word in text for word in words) and not _STAR.search(text):
        return Spots([], [], [], [])
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return _Reader(text, words).spots()
    except Unsure:
        return None


def statements(text: str) -> list[Bound] | None:
    """What every import statement of a file binds; None where one may not begin its line."""
    code = _code(text)
    if INLINE.search(code):
        return None
    return [_read_statement(match[1]) for match in _ANY_IMPORT.finditer(code)]


@lru_cache(maxsize=64)
def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    """Each word whole; it begins with the word itself, which is searched for at the speed of C."""
    each = [rf"{re.escape(word)}(?<!\w{re.escape(word)})(?!\w)" for word in sorted(words)]
    return re.compile("|".join(each))


class _Reader:
    """Reads one file's text once, from one spot to the next."""

    def __init__(self, text: str, words: Set[str]) -> None:
        self._pattern = _pattern(frozenset(words))
        self._names: list[tuple[str, int]] | None = []
        self._code = _code(text)
        self._check_strings(text, words)
        self._found = Spots([], None, [], [])
        self._line, self._seen = 1, 0

    def _check_strings(self, text: str, words: Set[str]) -> None:
        """Refuse long strings that may hold a use: their contents are not in the code."""
        code = self._code
        if all(text.count(word) == code.count(word) for word in words):
            return
        if any(each.search(text) for each in _LONG_FORMAT) or any(
            quotes + word + quotes in text for word in words for quotes in ('"""', "'''")
        ):
            raise Unsure

    def spots(self) -> Spots:
        """Everything the words are in this file."""
        code = self._code
        done = 0
        for match in _STAR.finditer(code) if "import" in code else ():
            self._import(match.start())
        for match in self._pattern.finditer(code):
            at = match.start()
            if at < done:
                continue
            end = self._import(at)
            if end is None:
                self._spot(match[0], at)
            else:
                done = end
        return self._found._replace(names=self._names)

    def _number(self, at: int) -> int:
        """The number of the line at an offset."""
        if at < self._seen:
            return self._code.count("\n", 0, at) + 1
        self._line += self._code.count("\n", self._seen, at)
        self._seen = at
        return self._line

    def _import(self, at: int) -> int | None:
        """Take the import statement around an offset, and where it ends; None when none is."""
        code = self._code
        start = code.rfind("\n", 0, at) + 1
        line = code[start:at].lstrip()
        if not line.startswith(("from ", "import ", "from\t", "import\t", "from.")):
            if "import" in line and _WORD_IMPORT.search(line):
                raise Unsure
            start = code.rfind("import", 0, start)
            opened = code.find("(", start, at)
            if start < 0 or opened < 0 or code[start + 6 : opened].strip():
                return None
            inside = _COMMENT.sub("", code[opened:at])
            if ")" in inside:
                return None
            start = code.rfind("\n", 0, start) + 1
        match = _IMPORT.match(code, start)
        if match is None:
            raise Unsure
        if match.end() <= at:
            if "import" in code[match.end() : at]:
                raise Unsure
            return None
        statement = _statement(self._number(match.start(1)), match[1])
        if statement not in self._found.imports[-3:]:
            self._found.imports.append(statement)
        return match.end()

    def _spot(self, word: str, at: int) -> None:
        code = self._code
        start = code.rfind("\n", 0, at) + 1
        while code[start - 2 : start - 1] == "\\":
            start = code.rfind("\n", 0, start - 1) + 1
        before = code[start:at]
        if '"' in before or "'" in before or "#" in before:
            told = self._quoted(word, start, at)
            if told is None:
                return
            before = told
        bare = before.rstrip(" \t\f\\\n")
        broken = "\n" in before[len(bare) :]
        if broken or (not bare and code[max(0, start - 200) : start].rstrip()[-1:] == "."):
            raise Unsure
        if bare.endswith("."):
            self._attribute(word, bare[:-1], at)
        elif self._names is not None:
            odd = "\n" in before or (not bare and word in _SOFT)
            is_name = None if odd else _is_name(bare, code[at + len(word) : at + len(word) + 80])
            if is_name is None:
                self._names = None
            elif is_name:
                self._names.append((word, self._number(at)))

    def _quoted(self, word: str, start: int, at: int) -> str | None:
        """The code before the word, its strings emptied; None when it is no code itself."""
        kept: list[str] = []
        done = start
        for match in QUOTED.finditer(self._code, start):
            if match.start() > at:
                break
            kept.append(self._code[done : match.start()])
            if match.end() > at:
                if match[0][0] == "#":
                    return None
                return self._in_string(word, kept, match, at)
            if match[0][0] != "#" and self._is_open(match):
                raise Unsure
            kept.append('""' if match[0][0] != "#" else "")
            done = match.end()
        kept.append(self._code[done:at])
        return "".join(kept)

    def _in_string(self, word: str, kept: list[str], match: re.Match[str], at: int) -> str | None:
        before = "".join(kept)
        prefix = _STRING_PREFIX.search(before)
        inside = match[0][1 : at - match.start()]
        if prefix is not None and "f" in prefix[0].lower():
            return self._in_format(word, inside, self._code[at + len(word) : match.end()])
        if inside or match[0][1:-1] != word:
            return None
        if not _PLAIN_QUOTE.search(before):
            return None  # bytes
        if self._joined(match):
            raise Unsure
        self._found.strings.append((word, self._number(at)))
        return None

    def _is_open(self, match: re.Match[str]) -> bool:
        """Whether a format string seems to end inside of a value, which may quote as it does."""
        prefix = _STRING_PREFIX.search(self._code, max(0, match.start() - 2), match.start())
        if prefix is None or "f" not in prefix[0].lower():
            return False
        inside = match[0][1:-1].replace("{{", "").replace("}}", "")
        return inside.count("{") != inside.count("}")

    def _joined(self, match: re.Match[str]) -> bool:
        """Whether a string may be one with another before or after it."""
        if _STRING_FOLLOWS.match(self._code, match.end()):
            return True
        earlier = self._code[max(0, match.start() - 300) : match.start()].rstrip("rRuU")
        line = earlier.rstrip().rpartition("\n")[2]
        begins = not earlier.rpartition("\n")[2].strip()
        return earlier.rstrip()[-1:] in ("'", '"') or (begins and "#" in line)

    def _in_format(self, word: str, inside: str, after: str) -> str | None:
        """The same for a word inside of an f-string: code stands between single braces."""
        if "{{" in inside or "}}" in inside:
            inside = inside.replace("{{", "").replace("}}", "")
        text, brace, code = inside.rpartition("{")
        if not brace or "}" in code:
            if (not inside or inside[-1] == "}") and after[:1] in ("{", '"', "'"):
                raise Unsure
            return None
        if text.count("{") != text.count("}") or _NESTED.search(code) or ":" in code or "!" in code:
            raise Unsure
        value = code.rstrip(" .")
        if code.rstrip()[-1:] == "." and not _DOTTED.match(value[_chain(value, len(value)) :]):
            raise Unsure
        return f"({code}" if code.rstrip()[-1:] not in ("", ",", "*") else "0 + "

    def _attribute(self, word: str, value: str, at: int) -> None:
        dotted = value[_chain(value, len(value)) :]
        line = self._number(at)
        if not _DOTTED.match(dotted):
            value = self._above(at)
            value = value[_start(value) :]
            if _WRAPPED.match(value):
                raise Unsure
            line -= value.count("\n")
            dotted = "".join(value.split())
            dotted = dotted if _DOTTED.match(dotted) else ""
        self._found.attributes.append((dotted, word, line))

    def _above(self, at: int) -> str:
        """The code before an attribute's dot, over several lines, strings and comments emptied."""
        code = self._code
        start = code.rfind("\n", 0, max(0, at - _ABOVE)) + 1
        while code[start - 2 : start - 1] == "\\":
            start = code.rfind("\n", 0, start - 1) + 1
        lines = QUOTED.sub(_emptied, code[start : code.rindex(".", start, at)])
        return lines.replace("\\\n", "\n")


def _chain(text: str, end: int) -> int:
    """Where the names and dots begin that end at an offset."""
    while end and (text[end - 1].isalnum() or text[end - 1] in "_."):
        end -= 1
    return end


def _emptied(quoted: re.Match[str]) -> str:
    return "" if quoted[0][0] == "#" else '""' + "\n" * quoted[0].count("\n")


def _start(value: str) -> int:
    """Where the expression begins that ends with these lines."""
    end = len(value.rstrip())
    while end:
        if value[end - 1] in ")]}":
            end = _opened(value, end - 1)
            if not end or not (value[end - 1].isalnum() or value[end - 1] in '_)]}"'):
                return end
            continue
        if value[end - 1] == '"':
            end = len(value[: value.rindex('"', 0, end - 1)].rstrip("rRbBuUfF"))
            if value[:end].rstrip()[-1:] != '"':
                return end
        else:
            start = _chain(value, end)
            if start == end:
                raise Unsure
            if value[start] != ".":
                return start
            end = start
        end = len(value[:end].rstrip())
    raise Unsure


def _opened(value: str, at: int) -> int:
    """Where the bracket is opened that closes at an offset of lines without strings."""
    depth = 0
    for place in range(at, -1, -1):
        if value[place] in ")]}":
            depth += 1
        elif value[place] in "([{":
            depth -= 1
            if not depth:
                return place
    raise Unsure


def _is_name(before: str, after: str) -> bool | None:
    """Whether a word is an expression where it stands, by its line; None where that cannot tell."""
    line = before.lstrip()
    word = before[_chain(before, len(before)) :]
    if word in ("def", "class", "lambda"):
        return False
    if word == "as":
        return None if not line.startswith(("with ", "async with ", "except")) else line[0] != "e"
    if line.startswith(_OWN_RULES):
        return None
    if line and before[-1] not in "(,*":
        return True
    follows = after.lstrip(" \t\f")[:2]
    if follows in (":=", "==") or (follows and follows[0] not in ",):=\n#\\"):
        return True
    return None if "lambda" in before else _in_brackets(before, follows[:1])


def _in_brackets(before: str, follows: str) -> bool | None:
    """Whether a word of a list is an element: no parameter, and no argument's keyword."""
    depth = 0
    for place in range(len(before) - 1, -1, -1):
        if before[place] in ")]}":
            depth += 1
        elif before[place] in "([{":
            depth -= 1
            if depth < 0:
                if before[place] != "(":
                    return True
                return not _DEFINED.search(before, 0, place) and follows != "="
    return None


def _code(text: str) -> str:
    return without_strings(text)[0]


def _statement(line: int, text: str) -> Statement:
    module, names = _read_statement(text)
    return Statement(line, module, names)


@lru_cache(maxsize=20_000)
def _read_statement(text: str) -> Bound:
    found = _PARTS.match(text.replace("\\\n", " "))
    if not found:
        raise Unsure
    listed = _COMMENT.sub("", found[2]).replace("(", " ").replace(")", " ")
    names: list[tuple[str, str | None]] = []
    for part in listed.split(","):
        words = part.split()
        if words:
            names.append((words[0], words[2] if len(words) == 3 else None))
    module = None if found[1] is None else "".join(found[1].split())
    return module, tuple(names)
