"""Pure: Go, as the other packages know it: packages are folders, `go.mod` names the top one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from self_coding.languages import NoImports, Project, Resolver, Statement, pack_import
from self_coding.languages.syntax_tree import (
    Imported,
    Tree,
    TreeLanguage,
    joined,
    line_of,
    text_of,
)

_MODULE = re.compile(r"(?m)^[ \t]*module[ \t]+\"?([^\s\"]+)")
_REPLACE = re.compile(
    r"(?m)^[ \t]*(?:replace[ \t]+)?(\S+)(?:[ \t]+v\S+)?[ \t]*=>[ \t]*(\.{1,2}/\S*)"
)
_IMPORTS = "(import_spec) @import"
_NAME = re.compile(r"(?:^|/)(?:go-)?([A-Za-z_]\w*)(?:-go|\.go)?(?:/v\d+|\.v\d+)?$")


class Go(TreeLanguage):
    """Go with modules, with `go test`'s names for tests."""

    name = "Go"
    suffixes = (".go",)
    grammars = {".go": ("tree_sitter_go", "language")}
    settings = frozenset(("go.mod", "go.work", "go.sum"))
    quoted = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|`[^`]*+`?|\'(?:[^\'\\\n]|\\.)++\''
    asked = (_IMPORTS,)
    depth = 6
    opening = re.compile(rb"(?m)^func [^\n]*\{\n")
    kept = (b"\ttype ",)
    query = """
    (type_spec name: (_) @name) @class
    (type_alias name: (_) @name) @class
    (function_declaration name: (_) @name) @def
    (method_elem name: (_) @name) @def
    (method_declaration receiver: (parameter_list (parameter_declaration type: [
      (type_identifier) @in (pointer_type (type_identifier) @in)
      (generic_type type: (_) @in) (pointer_type (generic_type type: (_) @in))
    ])) name: (_) @name) @def
    """

    def is_test(self, path: str) -> bool:
        return path.endswith("_test.go") or "/testdata/" in f"/{path}"

    def is_test_module(self, path: str) -> bool:
        return path.endswith("_test.go")

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        return (path.rpartition("/")[2].removesuffix(".go") + "_test.go",)

    def stem(self, path: str) -> str:
        return ""  # an import names the folder, the top one by the module's name alone

    def scope(self, path: str) -> str:
        # A test sees what its package defines, which never sees the tests.
        return path.rpartition("/")[0] or "."

    def sees(self, path: str, other: str) -> bool:
        return self.is_test_module(path) or not self.is_test_module(other)

    def imports(self, tree: Tree, text: str) -> Imported:
        found = Imported([], [], [])
        for held in tree.find(_IMPORTS):
            [spec] = held["import"]
            named, path = spec.child_by_field_name("name"), spec.child_by_field_name("path")
            if path is None:
                continue
            module = text_of(path)[1:-1]
            found.packed.append(pack_import(module, ()))
            local = text_of(named) if named is not None else ""
            if local == ".":
                found.statements.append(Statement(line_of(spec), module, (("*", None),)))
                continue
            last = _NAME.search(module)
            local = local or (last[1] if last else module.rpartition("/")[2])
            found.statements.append(Statement(line_of(spec), None, ((module, local),)))
        return found

    def project(self, manifests: Mapping[str, str]) -> Project:
        return Project(roots=tuple(sorted(set(_roots(manifests)))))

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        return Packages(files, roots)


LANGUAGE = Go()


def _roots(manifests: Mapping[str, str]) -> Iterator[str]:
    """Yield `import path=folder` of each module, and of each that stands for another."""
    for path, text in manifests.items():
        folder = path.rpartition("/")[0]
        plain = re.sub(r"//[^\n]*", "", text)
        if module := _MODULE.search(plain):
            yield f"{module[1]}={folder}"
        for name, place in _REPLACE.findall(plain):
            if target := joined(folder, place):
                yield f"{name}={target}"


class Packages(NoImports):
    """The packages of a repository by import path: the files of each, tests left out."""

    def __init__(self, files: Mapping[str, int], roots: Iterable[str]) -> None:
        self._modules = sorted((each.rpartition("=")[::2] for each in roots), reverse=True)
        self._declared = frozenset(roots)
        self._folders: dict[str, list[int]] = defaultdict(list)
        for path, file in files.items():
            if not path.endswith("_test.go"):
                self._folders[path.rpartition("/")[0]].append(file)
        tops = {f"/{each}/".partition("/vendor/") for each in self._folders}
        self._vendors = sorted({f"{top}/vendor".strip("/") for top, found, _ in tops if found})

    def roots(self) -> frozenset[str]:
        return self._declared

    def module(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        for name, top in sorted(self._modules, key=lambda each: -len(each[1])):
            if not top or folder == top or folder.startswith(f"{top}/"):
                return f"{name}/{folder.removeprefix(top).lstrip('/')}".rstrip("/")
        return folder

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        return self.anywhere(module, names)

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        for name, top in self._modules:  # the longest names first
            if module == name or module.startswith(f"{name}/"):
                folder = f"{top}/{module[len(name) + 1 :]}".strip("/")
                if folder in self._folders:
                    return tuple(self._folders[folder])
        for vendor in self._vendors:
            folder = f"{vendor}/{module}"
            if folder in self._folders:
                return tuple(self._folders[folder])
        return ()
