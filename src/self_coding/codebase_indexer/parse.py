"""Tier 2: what Python's own parser tells about a file: signatures, docstrings, and a verdict.

Pure: source in, values out. It follows the grammar of the running interpreter; a file that it
refuses stays in the index with what the text scan found.
"""

from __future__ import annotations

import ast
import symtable
import warnings

from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

_REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)
_NO_FILE = "<no file>\n"  # a name that no file has: the symbol table would quote its lines


def verdict(source: bytes) -> str | None:
    """Why the running interpreter cannot parse this, or None when it can.

    The symbol table is asked first, because the interpreter builds it without making Python
    objects of the tree; it refuses a little more than the grammar does. A refusal of the parser
    quotes the line; any other is asked of `ast` again, which has the last word.
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


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
    return str(error) or type(error).__name__


def parse(source: bytes, path: str, module: str) -> ModuleInfo | None:
    """One module as the founding API hands it out; None when it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            return ModuleInfo(
                file_path=path,
                module_name=module,
                classes=[_class(node) for node in tree.body if isinstance(node, ast.ClassDef)],
                functions=[_function(node) for node in tree.body if isinstance(node, _FUNCTIONS)],
                imports=_imports(tree, module, path),
                docstring=ast.get_docstring(tree),
            )
        except _REFUSALS:
            return None


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _class(node: ast.ClassDef) -> ClassInfo:
    return ClassInfo(
        name=node.name,
        methods=[
            _function(each, is_method=True) for each in node.body if isinstance(each, _FUNCTIONS)
        ],
        docstring=ast.get_docstring(node),
        line_number=node.lineno,
        bases=[ast.unparse(each) for each in node.bases],
    )


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False
) -> FunctionInfo:
    return FunctionInfo(
        name=node.name,
        args=_arguments(node.args),
        returns=ast.unparse(node.returns) if node.returns else None,
        docstring=ast.get_docstring(node),
        line_number=node.lineno,
        is_async=isinstance(node, ast.AsyncFunctionDef),
        is_method=is_method,
    )


def _arguments(arguments: ast.arguments) -> list[str]:
    """The parameters as source text, `*args` and `**kwargs` with their stars, no defaults."""
    found = [ast.unparse(each) for each in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        found.append("*" + ast.unparse(arguments.vararg))
    found += [ast.unparse(each) for each in arguments.kwonlyargs]
    if arguments.kwarg:
        found.append("**" + ast.unparse(arguments.kwarg))
    return found


def _imports(tree: ast.Module, module: str, path: str) -> list[str]:
    """The dotted names that a module imports, relative ones made absolute, in order."""
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(package, node.level, node.module or "")
            found += [f"{start}.{each.name}" if start else each.name for each in node.names]
    return list(dict.fromkeys(found))


def _absolute(package: str, level: int, module: str) -> str:
    if not level:
        return module
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (level - 1)]
    return ".".join([*kept, module] if module else kept)
