"""Pure: what Python's own parser tells of a file: signatures, docstrings, a verdict.

It follows the grammar of the running interpreter; a file that it refuses stays in the index with
what the text scan found.
"""

from __future__ import annotations

import ast
import symtable
import warnings
from collections.abc import Iterable

from self_coding.languages import Body
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)
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
        except REFUSALS as error:
            if isinstance(error, SyntaxError) and error.text is not None:
                return _reason(error)
            try:
                ast.parse(source)
            except REFUSALS as last:
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
                        end_line=node.end_lineno or 0,
                        bases=[ast.unparse(each) for each in node.bases],
                    )
                    for node in tree.body
                    if isinstance(node, ast.ClassDef)
                ],
                functions=_functions(tree.body, are_methods=False),
                imports=_imports(tree, package),
                docstring=ast.get_docstring(tree),
            )
        except REFUSALS:
            return None


def bodies(text: str) -> list[Body]:
    """Return the functions of a module and of its classes, decorators included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            waiting: list[tuple[ast.AST, str]] = [(ast.parse(text), "")]
        except REFUSALS:
            return []
    found = []
    while waiting:
        around, names = waiting.pop()
        for node in ast.iter_child_nodes(around):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                found.append(Body(start, node.end_lineno or start, names + node.name))
            elif isinstance(node, ast.ClassDef):
                waiting.append((node, f"{names}{node.name}."))
            elif not isinstance(node, ast.expr):  # a branch, a handler
                waiting.append((node, names))
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
    return str(error) or type(error).__name__


def _functions(body: Iterable[ast.stmt], *, are_methods: bool) -> list[FunctionInfo]:
    return [
        FunctionInfo(
            name=node.name,
            args=[ast.unparse(each) for each in (*node.args.posonlyargs, *node.args.args)]
            + [f"*{ast.unparse(each)}" for each in [node.args.vararg] if each]
            + [ast.unparse(each) for each in node.args.kwonlyargs]
            + [f"**{ast.unparse(each)}" for each in [node.args.kwarg] if each],
            returns=ast.unparse(node.returns) if node.returns else None,
            docstring=ast.get_docstring(node),
            line_number=node.lineno,
            end_line=node.end_lineno or 0,
            is_async=isinstance(node, ast.AsyncFunctionDef),
            is_method=are_methods,
        )
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


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
