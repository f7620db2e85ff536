"""Pure: what Python's own parser tells: signatures, docstrings, a verdict, where words are used.

It follows the grammar of the running interpreter; a file that it refuses stays in the index with
what the text scan found.
"""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Set
from functools import lru_cache

from self_coding.languages import Occurrences, Statement, nfkc
from self_coding.languages.python_scan import WORD, without_strings
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

# Where a text may be cut: a statement at the margin, or an indented head or import.
_CUT = re.compile(
    r"\n(?:(?=[A-Za-z_@])(?!(?:el(?:se|if)|except|finally)\b)(@)?"
    r"|[ \t\f]++(?=[acdfi@])(?:def[ \t]|class[ \t]|async[ \t]+def[ \t]|from[ \t]|import[ \t]|(@)))"
)
_HEAD_LINES = 12  # looked at after a word for the end of the head it is in
_STAR = r"import[ \t]*\*"
_REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)
_NO_FILE = "<no file>\n"  # not a file name: the symbol table would quote the lines of a file


def syntax_error(source: bytes) -> str | None:
    """Return why the running interpreter cannot parse this, None when it can.

    The symbol table is asked first, because the interpreter builds it without making Python
    objects of the tree; it refuses a little more than the grammar does. A refusal of the
    parser quotes the line; any other is asked of `ast` again, which has the last word.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            symtable.symtable(source, _NO_FILE, "exec")  # type: ignore[arg-type]
        except _REFUSALS as error:
            if isinstance(error, SyntaxError) and error.text is not None:
                return _reason(error)
            try:
                ast.parse(source)
            except _REFUSALS as last:
                return _reason(last)
    return None


def parse(source: bytes, path: str, module: str) -> ModuleInfo | None:
    """Return one module as the public API hands it out; None when it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
            return ModuleInfo(
                file_path=path,
                module_name=module,
                classes=[
                    ClassInfo(
                        name=node.name,
                        methods=_functions(node.body, are_methods=True),
                        docstring=ast.get_docstring(node),
                        line_number=node.lineno,
                        bases=[ast.unparse(each) for each in node.bases],
                    )
                    for node in tree.body
                    if isinstance(node, ast.ClassDef)
                ],
                functions=_functions(tree.body, are_methods=False),
                imports=_imports(tree, package),
                docstring=ast.get_docstring(tree),
            )
        except _REFUSALS:
            return None


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
    return str(error) or type(error).__name__


def _functions(body: Iterable[ast.stmt], *, are_methods: bool) -> list[FunctionInfo]:
    return [
        FunctionInfo(
            name=node.name,
            args=_arguments(node.args),
            returns=ast.unparse(node.returns) if node.returns else None,
            docstring=ast.get_docstring(node),
            line_number=node.lineno,
            is_async=isinstance(node, ast.AsyncFunctionDef),
            is_method=are_methods,
        )
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _arguments(arguments: ast.arguments) -> list[str]:
    """Return the parameters as source text, `*args` and `**kwargs` with stars, no defaults."""
    texts = [ast.unparse(each) for each in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        texts.append("*" + ast.unparse(arguments.vararg))
    texts += [ast.unparse(each) for each in arguments.kwonlyargs]
    if arguments.kwarg:
        texts.append("**" + ast.unparse(arguments.kwarg))
    return texts


def _imports(tree: ast.Module, package: str) -> list[str]:
    """Return the dotted names that a module imports, relative ones made absolute, in order."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package and node.level else []
            parts = above[: len(above) - (node.level - 1)] if node.level else []
            start = ".".join([*parts, node.module] if node.module else parts)
            names += [f"{start}.{each.name}" if start else each.name for each in node.names]
    return list(dict.fromkeys(names))


@lru_cache(maxsize=64)
def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    # Each begins with the word itself, which the engine searches for at the speed of C.
    each = [rf"{w}(?<![{WORD}]{w})(?![{WORD}])" for w in map(re.escape, sorted(words))]
    return re.compile("|".join([*each, _STAR]))


def find_names(text: str, words: frozenset[str]) -> Occurrences:
    """Return where a file uses some words, by the grammar of the running interpreter.

    Parsing whole files costs several times as much as all else that a question about a common
    word does. So only those parts are parsed in which one occurs; if one of them is no statement
    by itself, all of the file is.
    """
    occurrences = Occurrences([], [], [], [], [])
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    hits: list[tuple[int, str]] = []
    line, end = 1, 0
    normal = nfkc(text)  # of as many lines
    for match in _pattern(words).finditer(normal):
        line += normal.count("\n", end, match.start())
        end = match.start()
        hits.append((line, match[0]))
    if not hits:
        return occurrences
    lines = text.split("\n")
    starts = [*_part_starts(text), len(lines) + 1]
    numbers = [line for line, _ in hits]
    is_refused = False
    with warnings.catch_warnings():  # about invalid escapes and the like
        warnings.simplefilter("ignore")
        done = 0
        while done < len(hits):
            part = bisect_right(starts, numbers[done])
            start, stop = starts[part - 1], starts[part]
            further = bisect_left(numbers, stop, done)
            # Mostly the words are in a head, and its body need not be read: look for the colon.
            last = numbers[further - 1]
            for end in range(last, min(last + _HEAD_LINES, stop)):
                if lines[end - 1].endswith(":"):
                    tree = _parse_part("\n".join(lines[start - 1 : end]))
                    break
            else:
                tree = None
            if tree is None:
                tree = _parse_part("\n".join(lines[start - 1 : stop - 1]))
            if tree is not None:
                shift = start - 1 - (lines[start - 1][:1] in (" ", "\t"))
                _collect(tree, shift, numbers[done:further], words, occurrences)
            elif not is_refused and (tree := _parse(text)) is not None:
                occurrences = Occurrences([], [], [], [], [])
                _collect(tree, 0, numbers, words, occurrences)
                break
            else:
                is_refused = True
                occurrences.unparsed.extend((word, line) for line, word in hits[done:further])
            done = further
    return occurrences


def _part_starts(text: str) -> list[int]:
    """Return the lines at which a text may be cut; decorators stay with what they decorate."""
    code = without_strings("\n" + text)[0]
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


def _parse_part(part: str) -> ast.Module | None:
    """Parse a part of a file: in a block of its own if indented, with a body if it lacks one."""
    part = part.rstrip()
    if part.endswith(":"):
        last = part[part.rfind("\n") + 1 :]
        part += f"\n{last[: len(last) - len(last.lstrip())]} pass"
    return _parse(f"if 1:\n{part}" if part[:1] in (" ", "\t") else part)


def _parse(text: str) -> ast.Module | None:
    """Return the syntax tree, None if the running interpreter refuses the text."""
    try:
        return ast.parse(text)
    except _REFUSALS:
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
