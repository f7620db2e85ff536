"""Pure: what one pass over the text of a Python file tells, in any version of the grammar.

It finds class and def heads, import statements and docstrings, by regular expressions at the
speed of C. It never builds a syntax tree and never fails: where text alone
cannot tell, it errs towards one import too many, never one too few.

Files are hostile until proven otherwise, so every pattern is linear in the length of its text:
loops are possessive (`*+`) or begin with a character that what is before them excludes, and no
search from one start runs over the next one. `tests/unit/languages` has the worst cases.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from self_coding.languages import BlindLine, Scan, nfkc, pack_import

# What may be in a name: `\w` lacks the combining marks, and beyond ASCII nothing but a part of a
# name can follow one. Spelled by what is not, as a class of nearly all characters takes 10 ms.
_ELSE = r":-@\[-^`{-\x7f"
NAME = rf"[^\x00-/{_ELSE}]"
_DOTTED_NAME = rf"[^\x00-\-/{_ELSE}]"
_SPACED_NAME = rf"[^\x00-\x08\x0e-\x1b!-\-/{_ELSE}]"  # with dots and space

# The rest of a logical line. The list in parentheses ends at another "(", which no import has:
# else each of a thousand unclosed ones would be followed to the end of the file.
REST = r"[^\n(\\#;]*+(?:\((?:[^()#]++|#[^\n]*+)*+\)|\\\n[^\n(\\#;]*+)*+"
_HEAD = re.compile(  # indentation, then kind and name of a definition, or an import statement
    r"\n( *+[ \t\f]*+)(?=[acdfi])"  # most lines end here: spaces alone are quicker than a set
    r"(?:(class|def|async[ \t]+def)[ \t]+"
    rf"({NAME}+)|((?:from|import)\b{REST}))"
)
_DEEPEST = 100  # levels of indentation that Python's own parser accepts
INLINE = re.compile(  # for text without comments
    rf"[:;][ \t]*+((?:from[ \t]++{_DOTTED_NAME}++[ \t]++)?import\b"
    r"[^\n(\\#;]*+(?:\([^()#]*+\)|\\\n[^\n(\\#;]*+)*+)"
)
QUOTED = re.compile(
    r"#[^\n]*+"
    r'|"""(?:[^\\"]++|\\.|"(?!""))*+(?:"""|\Z)'
    r"|'''(?:[^\\']++|\\.|'(?!''))*+(?:'''|\Z)"
    r'|"(?:[^"\\\n]++|\\.)*+"?'
    r"|'(?:[^'\\\n]++|\\.)*+'?",
    re.DOTALL,
)
_STATEMENT = re.compile(rf"(?:from\b({_SPACED_NAME}*?)\bimport\b|import\b)(.*)", re.DOTALL)
_COOKIE = re.compile(rb"^[ \t\f]*+#.*?coding[:=][ \t]*+([-\w.]+)")
_COMMENT = re.compile(r"#[^\n]*+")
_IMPORTERS = (
    "import_module",
    "__import__",
    "import_string",
    "importorskip",
    "run_module",
    "load_module",
)
_CALL = re.compile(rf"\b(?:{'|'.join(_IMPORTERS)})\s*+\(\s*+(?:[rRuU]?([\"'])([^\"'\n]*+)\1)?")
_PLUGINS = re.compile(r"\bpytest_plugins\s*+(?::[^=\n]{1,200})?\+?=\s*+([\[({][^\])}]*+|[^\n]*+)")
_LITERAL = re.compile(r"([\"'])([^\"'\n]++)\1")
_DOTTED = re.compile(r"\A\.*+[A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+)*+")
_SCRIPT = re.compile(r"\A[\w./\\-]+\.py")
_CODE = re.compile(r"\b(?:import|from)[ ]++([A-Za-z_][\w.]*+)")
_RUN = re.compile(
    r"\b(?:subprocess\s*+\.\s*+\w++|Popen|check_output|check_call|create_subprocess_\w++|run_path"
    r"|os\s*+\.\s*+(?:system|popen|spawn\w++|posix_spawnp?+))\s*+\("
)
_MODULE_OPTION = re.compile(r"[\"']-m[\"']\s*+,\s*+[\"']([\w.]++)[\"']")
_EXECUTED = re.compile(r"(?<![.\w])(exec|eval)\s*+\(|\b(spec_from_file_location|exec_module)\s*+\(")
_STARTERS = ("\tsubprocess\t", "\trunpy\t", "\tasyncio.subprocess\t")  # as they are packed
_SYSTEM = ("os.system", "os.popen", "os.spawn", "os.posix_spawn")
_FIXTURES = ("pytester", "testdir", "script_runner", "create_subprocess_")
_LOOK_BACK = 500  # characters of a line before a call that can tell a comment or a definition
_STATEMENTS: dict[str, str] = {}  # as they are packed: most are in many files
_MOST_STATEMENTS = 20_000
_LONG_STATEMENT = 2_000


def decode(source: bytes) -> str:
    """Return the text of a file by its BOM or declared encoding; undecodable bytes replaced."""
    if source.startswith(codecs.BOM_UTF8):
        return source[3:].decode("utf-8", "replace")
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError:
        cookies = [cookie for line in source.split(b"\n", 2)[:2] if (cookie := _COOKIE.match(line))]
        name = cookies[0][1].decode("ascii", "replace") if cookies else "utf-8"
    try:
        text = source.decode(name, "replace")
    except (LookupError, ValueError):  # no such encoding, or one of something else than text
        text = source.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode("utf-8")  # some encodings make half characters


def scan(source: bytes) -> Scan:
    """Read the bytes of one file, whatever they are."""
    text = decode(source)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    code, docstrings = without_strings("\n" + text)
    code = nfkc(code)  # as the interpreter compares names
    names, symbols, imports, breaks = _heads(code)
    lines = breaks - text.endswith("\n") if text else 0
    # Counting is quick and says enough: only where the word occurs more often than statements begin
    # with it is a second search due.
    has_more = code.count("import") > imports.count("\n") + bool(imports)
    if has_more:
        inline = INLINE.finditer(_COMMENT.sub("", code))  # behind a colon or a semicolon
        imports = _joined(imports, [_pack_statement(match[1]) for match in inline])
    literals, blind = _dynamic_imports(
        text, imports=imports, calls=has_more, tests="\ttest" in symbols
    )
    imports = _joined(imports, [pack_import(name, (), kind="string") for name in literals])
    return Scan(lines, symbols, names, imports, docstrings, blind, text)


def _joined(packed: str, further: list[str]) -> str:
    return "\n".join(filter(None, [packed, *further]))


def _heads(code: str) -> tuple[list[str], str, str, int]:
    """Return the names that a text without triple-quoted strings defines, its symbols and its
    imports, packed, and its line breaks."""
    names: list[str] = []
    symbols: list[str] = []
    imports: list[str] = []
    stack: list[tuple[int, str]] = []  # indentation and dotted name of the heads around
    # Looked up once: this is the loop over every statement of every file.
    packed_already = _STATEMENTS.get
    # `split`, not `finditer`: it makes strings of what is between as well, from which the lines are
    # counted, in one pass in C.
    parts = _HEAD.split(code)
    each = iter(parts)
    line = 0
    for before, indent, kind, name, statement in zip(each, each, each, each, each, strict=False):
        line += before.count("\n") + 1
        if statement:
            line += statement.count("\n")
            packed = packed_already(statement)
            if packed is None:
                packed = _pack_statement(statement)
            if packed:
                imports.append(packed)
            continue
        parent = ""
        if indent:
            # As Python reads indentation: a tab goes on to the next multiple of eight.
            depth = len(indent.expandtabs()) if "\t" in indent else len(indent)
            while stack and stack[-1][0] >= depth:
                stack.pop()
            parent = stack[-1][1] if stack else ""
            if len(stack) < _DEEPEST:  # names of names of names would grow with the square
                stack.append((depth, f"{parent}.{name}" if parent else name))
        else:
            stack = [(0, name)]
        names.append(name)
        spelled = "async def" if kind[0] == "a" else kind  # whatever is between the two
        symbols.append(f"{line}\t{spelled}\t{name}\t{parent}")
    breaks = line + parts[-1].count("\n")
    return names, "\n".join(symbols), "\n".join(imports), breaks


def _pack_statement(statement: str) -> str:
    """Return the imports of one statement, packed, and keep them for the next file."""
    module, plain, rest = statement.partition(" import ")
    packed = None
    if plain and module[5:].replace(".", "_").isidentifier():  # `from a.b import ...`
        names = rest.replace("(", " ").replace(")", " ").replace(",", " ").split()
        if names and not ("as" in names or "#" in rest or "\\" in rest):
            packed = pack_import(module[5:], names)
    if packed is None:
        packed = _pack_unusual(statement)
    if len(statement) < _LONG_STATEMENT:
        # A server may look at many repositories: the memory of one must not stay for ever.
        if len(_STATEMENTS) >= _MOST_STATEMENTS:
            _STATEMENTS.clear()
        _STATEMENTS[statement] = packed
    return packed


def _pack_unusual(text: str) -> str:
    """Return the imports of a statement that is spelled in whatever way, packed."""
    match = _STATEMENT.match(text.replace("\\\n", " ") if "\\" in text else text)
    if not match:
        return ""
    listed = match[2]
    if "(" in listed or "\\" in listed:
        listed = _COMMENT.sub("", listed) if "#" in listed else listed
        listed = listed.replace("\\\n", " ").replace("(", " ").replace(")", " ")
    words = [part.split(None, 1) for part in listed.split(",")]  # `a as b`
    names = [part[0] for part in words if part]
    if match[1] is None:
        return "\n".join([pack_import(name, ()) for name in names])
    return pack_import("".join(match[1].split()), names) if names else ""


def without_strings(text: str) -> tuple[str, str]:
    """Return the text with every triple-quoted string reduced to its newlines, and the docstrings.

    Splitting at the quotes is right for almost every file; where a comment or another string
    may hold such quotes, the whole text is read token by token.
    """
    if "'" in text and "'''" in text:  # many files have no such quote: that is seen quicker
        return _slowly(text) if '"""' in text else _split(text, "'''")
    return _split(text, '"""')


def _split(text: str, quotes: str) -> tuple[str, str]:
    parts = text.split(quotes)
    if len(parts) == 1:
        return text, ""
    # An odd number of quotes: one of them is in a comment or in another string.
    if not len(parts) & 1:
        return _slowly(text)
    docstrings: list[str] = []
    for number in range(1, len(parts), 2):
        code, string = parts[number - 1], parts[number]
        before = code[code.rfind("\n") + 1 :]
        # Its last quote was escaped: the string goes on.
        if string[-1:] == "\\":
            return _slowly(text)
        if before.isspace() or not before:
            docstrings.append(string)
        elif "#" in before or "'" in before or '"' in before:
            return _slowly(text)
        elif not before.strip(" \trRuU"):
            docstrings.append(string)
        # As many lines as before, so that numbers need no second table; quotes, so that it is still
        # a value.
        parts[number] = '""' + "\n" * string.count("\n")
    return "".join(parts), "\n".join(docstrings)


def _slowly(text: str) -> tuple[str, str]:
    kept: list[str] = []
    docstrings: list[str] = []
    end = last = 0  # of the last string that was cut out, and of the last token
    for token in QUOTED.finditer(text):
        quoted = token[0]
        if quoted.startswith(('"""', "'''")):
            start = token.start()
            line = text.rfind("\n", last, start)  # nothing but a prefix since the last token
            if (line >= 0 or not last) and not text[line + 1 : start].strip(" \trRuU"):
                docstrings.append(quoted[3:-3])
            kept += (text[end:start], '""', "\n" * quoted.count("\n"))
            end = token.end()
        last = token.end()
    kept.append(text[end:])
    return "".join(kept), "\n".join(docstrings)


def _dynamic_imports(
    text: str, *, imports: str, calls: bool, tests: bool
) -> tuple[list[str], list[BlindLine]]:
    """Return the module names and script paths that are literals, and what cannot be followed.

    `importlib.import_module("a.b")`, `__import__("a")`, `pytest_plugins = ["a.b"]` and programs
    started with a module or script name are imports of kind "string". A dynamic import with a
    computed name is a blind spot: it is listed, never guessed. The other arguments tell what is
    worth looking for: the (packed) imports, whether "import" is anywhere but in its import
    statements, and whether the file defines tests.
    """
    literals: list[str] = []
    blind: list[BlindLine] = []
    if calls and any(map(text.__contains__, _IMPORTERS)):  # a search in C, before the pattern
        for line, match in _numbered(text, _CALL.finditer(text)):
            at = match.start()
            # A bound for generated files, whose one line would be searched from its start for each
            # call.
            near = text[max(0, at - _LOOK_BACK) : at]
            before = near.rpartition("\n")[2].strip()
            if before.startswith("#") or before.endswith("def"):
                continue
            if match[2] is None:
                blind.append(BlindLine(line, "an import whose name is computed at run time"))
            elif _DOTTED.fullmatch(match[2]):
                literals.append(match[2])
    if "pytest_plugins" in text:
        for match in _PLUGINS.finditer(text):
            literals += [literal[2] for literal in _LITERAL.finditer(match[1])]
    starts = any(map(imports.__contains__, _STARTERS))
    starts = starts or ("\tos\t" in imports and any(map(text.__contains__, _SYSTEM)))
    if starts or (tests and any(map(text.__contains__, _FIXTURES))):
        _started_programs(text, literals, blind)
    if "exec(" in text or "eval(" in text or "\timportlib.util\t" in imports:
        for line, match in _numbered(text, _EXECUTED.finditer(text)):
            blind.append(BlindLine(line, f"{match[1] or match[2]}() runs code made at run time"))
    return list(dict.fromkeys(literals)), blind


def _started_programs(text: str, literals: list[str], blind: list[BlindLine]) -> None:
    """Add every literal of a file that starts programs which may name a module or a script."""
    for match in _LITERAL.finditer(text):
        literal = match[2]
        if _SCRIPT.fullmatch(literal) or ("." in literal and _DOTTED.fullmatch(literal)):
            literals.append(literal)
    # Code that is handed to a child as text: `python -c "import a"`.
    literals += [match[1] for match in _CODE.finditer(text)]
    literals += [match[1] for match in _MODULE_OPTION.finditer(text)]
    started = _RUN.search(text)
    if started:
        line = text.count("\n", 0, started.start()) + 1
        blind.append(BlindLine(line, "starts programs; what they import is not seen"))


def _numbered(text: str, matches: Iterable[re.Match[str]]) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield matches with the numbers of their lines."""
    line, seen = 1, 0
    for match in matches:
        line += text.count("\n", seen, match.start())
        seen = match.start()
        yield line, match
