"""Pure: Rust, as the other packages know it: a crate is a tree of modules below its root file."""

from __future__ import annotations

import re
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

_IMPORTS = """
(use_declaration argument: (_) @use)
(mod_item name: (_) @mod !body) @declared
(extern_crate_declaration name: (_) @crate)
"""
# Files that are named, also where a macro hides the attribute from the tree.
_NAMED = re.compile(
    r'(?:\binclude(?:_str|_bytes)?!\s*+[(\[{]|\bpath\s*+=)\s*+"([^"\n]{1,300}\.rs)"'
)
# All but names and the signs within paths, as a space.
_PLAIN = bytes(
    at if chr(at) in ":_$'" or chr(at).isalnum() or at > 127 else 32 for at in range(256)
)
_PATH = re.compile(r"(?<![\w:$'])(?:\$?crate|[a-z_]\w*+)(?:::[A-Za-z_]\w*+)++")
# Also where a macro hides it from the tree.
_MODULE = re.compile(r"mod(?<!\wmod)\s++([a-z_]\w*+)\s*+;")
_PLACE = re.compile(r"#\[\s*+path\b")
_TABLE = re.compile(
    r"(?m)^[ \t]*+\[++([^\]\n]*+)\]++[^\n]*+\n((?:(?![ \t]*+\[)[^\n]*+(?:\n|\Z))*+)"
)
_VALUE = re.compile(r'(?m)^[ \t]*([\w-]+)[ \t]*=[ \t]*"([^"\n]*)"')
_TESTING = re.compile(r"#\[\s*(?:cfg\(\s*(?:all\(\s*)?test\b|(?:\w+::)*(?:test|bench)\b)")
_STEMS = frozenset(("lib", "main", "mod"))


class Rust(TreeLanguage):
    """Rust, with cargo's folders for tests; those inside of modules are told by `#[cfg(test)]`."""

    name = "Rust"
    suffixes = (".rs",)
    grammars = {".rs": ("tree_sitter_rust", "language")}
    settings = frozenset(("Cargo.toml", "Cargo.lock", "nextest.toml", "rust-toolchain.toml"))
    quoted = (
        r'##*+"(?:[^"]|"(?!#))*+"#*+|"(?<=\br")[^"]*+"?|"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
        r"|'(?:[^'\\\n]|\\[^\n]{1,10}?)'"
    )
    inline_tests = qualified = True
    testing = _TESTING
    asked = (_IMPORTS,)
    depth = 1
    opening = re.compile(rb"\)[^\n;{}()]*+\{[ \t]*+\n|\n[ \t]*+\{\n")
    kept = tuple(
        b"use |fn |mod |struct |enum |impl |impl<|trait |union |macro_rules|type ".split(b"|")
    )
    nests = "".join(
        f"({kind}_item body: (_) @nest)" for kind in ("mod", "impl", "trait", "function")
    )
    query = """
    (struct_item name: (_) @name) @class
    (enum_item name: (_) @name) @class
    (union_item name: (_) @name) @class
    (trait_item name: (_) @name) @class
    (type_item name: (_) @name) @class
    (mod_item name: (_) @name body: (_)) @class
    (function_item name: (_) @name) @def
    (function_signature_item name: (_) @name) @def
    (macro_definition name: (_) @name) @def
    (impl_item type: [
      (type_identifier) @name (generic_type type: (_) @name)
      (scoped_type_identifier name: (_) @name)
    ]) @scope
    """

    def is_test(self, path: str) -> bool:
        around = f"/{path.rpartition('/')[0]}/"
        return "/tests/" in around or "/benches/" in around or self._is_named_so(path)

    def is_test_module(self, path: str) -> bool:
        return path.rpartition("/")[0].rpartition("/")[2] == "tests" or self._is_named_so(path)

    @staticmethod
    def _is_named_so(path: str) -> bool:
        name = path.rpartition("/")[2]
        return name in ("tests.rs", "test.rs") or name.endswith(("_test.rs", "_tests.rs"))

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        name = path.rpartition("/")[2].removesuffix(".rs")
        return f"{name}.rs", f"{name}_test.rs", f"test_{name}.rs", f"{name}_tests.rs"

    def stem(self, path: str) -> str:
        name = path.rpartition("/")[2].removesuffix(".rs")
        return "" if name in _STEMS else name

    def imports(self, tree: Tree, text: str) -> Imported:
        found = Imported([], [], [])
        for held in tree.find(_IMPORTS):
            for node in held.get("use", ()):
                for module, name, local in _leaves(re.sub(r"//[^\n]*|\s+", " ", text_of(node)), ""):
                    found.packed.append(pack_import(module, (name,) if name else ()))
                    statement = Statement(line_of(node), module, ((name, local),))
                    found.statements.append(statement)
            for node in held.get("mod", ()):
                item = held["declared"][0]
                above, is_elsewhere = item.prev_sibling, False
                while above is not None and above.type == "attribute_item":
                    is_elsewhere = is_elsewhere or bool(_PLACE.match(text_of(above)))
                    above = above.prev_sibling
                if is_elsewhere:
                    continue
                inside: list[str] = []
                around = item.parent
                while around is not None:  # the modules with a body around it
                    called = around.child_by_field_name("name")
                    if around.type == "mod_item" and called is not None:
                        inside.insert(0, text_of(called))
                    around = around.parent
                found.packed.append(pack_import("::".join(("self", *inside)), (text_of(node),)))
            for node in held.get("crate", ()):
                found.packed.append(pack_import(text_of(node), ()))
        places = _NAMED.findall(text) if '.rs"' in text else ()
        found.packed.extend(pack_import(place, (), kind="string") for place in places)
        bare = self.bare(text)
        told = {line.rpartition("\t")[2] for line in found.packed}
        hidden = {*_MODULE.findall(bare)} - told
        found.packed.extend(pack_import("self", (name,)) for name in sorted(hidden))
        # Words are told apart at the speed of C, and each is looked at once.
        words = {*bare.encode("utf-8", "replace").translate(_PLAIN).split()}
        paths = b"\n".join([each for each in words if b"::" in each]).decode()
        for path in sorted(set(_PATH.findall(paths))):
            module, _, name = path.removeprefix("$").rpartition("::")
            found.packed.append(pack_import(module, (name,)))
        return found

    def project(self, manifests: Mapping[str, str]) -> Project:
        return Project(roots=tuple(sorted(set(_crates(manifests)))))

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        return Crates(files, roots)


LANGUAGE = Rust()


def _leaves(text: str, before: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield module, name and local name of each leaf of a `use` tree."""
    text = text.strip().removeprefix("::")
    head, brace, rest = text.partition("{")
    if not brace:
        path, _, local = text.partition(" as ")
        full = f"{before}::{path.strip()}" if before else path.strip()
        module, _, name = full.replace(" ", "").removesuffix("::self").rpartition("::")
        yield (module, name, local.strip() or None) if module else (name, "", local.strip() or None)
        return
    prefix = "::".join(each for each in (before, head.strip().rstrip(":").strip()) if each)
    depth, start, inner = 0, 0, rest.rpartition("}")[0]
    for at, sign in enumerate(f"{inner},"):
        depth += (sign == "{") - (sign == "}")
        if sign == "," and not depth:
            if inner[start:at].strip():
                yield from _leaves(inner[start:at], prefix)
            start = at + 1


def _crates(manifests: Mapping[str, str]) -> Iterator[str]:
    """Yield `name=root file` of each crate; targets named by cargo's own rules have no name."""
    for path, text in manifests.items():
        folder = path.rpartition("Cargo.toml")[0]
        tables = [(name.strip(), dict(_VALUE.findall(body))) for name, body in _TABLE.findall(text)]
        package = next((values for name, values in tables if name == "package"), {})
        library = next((values for name, values in tables if name == "lib"), {})
        if package:
            name = library.get("name") or package.get("name", "")
            yield f"{name.replace('-', '_')}={folder}{library.get('path', 'src/lib.rs')}"
        for name, values in tables:
            if name in ("bin", "test", "bench", "example") and "path" in values:
                yield f"={folder}{values['path']}"
            elif (
                name.startswith(("dependencies.", "workspace.dependencies."))
                and "package" in values
            ):
                yield f"{name.rpartition('.')[2].replace('-', '_')}~{values['package']}"


class Crates(NoImports):
    """The modules of a repository: where each file's children are, and which crate it is in."""

    def __init__(self, files: Mapping[str, int], roots: Iterable[str]) -> None:
        self._declared = frozenset(roots)
        self._files = files
        pairs = [each.split("=", 1) for each in self._declared if "=" in each]
        self._named = {name: root for name, root in pairs if name and root in files}
        for each in self._declared:
            local, alias, name = each.partition("~")
            if alias and (root := self._named.get(name.replace("-", "_"))):
                self._named.setdefault(local, root)
        self._tops = {root for _, root in pairs}
        for path in files:
            folder, _, name = path.rpartition("/")
            kind = folder.rpartition("/")[2]
            if name in ("lib.rs", "main.rs", "build.rs") or kind in _TARGETS:
                self._tops.add(path)
        self._crate: dict[str, str] = {}

    def roots(self) -> frozenset[str]:
        return self._declared

    def module(self, path: str) -> str:
        root = self._root(path)
        name = next((name for name, top in self._named.items() if top == root), "crate")
        inside = _children(path, is_top=path in self._tops)
        below = inside.removeprefix(root.rpartition("/")[0]).strip("/")
        return "::".join([name, *below.split("/")]) if below else name

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        parts = module.replace(".", "::").split("::")
        found: dict[int, None] = {}
        for name in names or ("",):
            place = self._find(path, [*parts, name] if name and name != "*" else parts)
            if place is not None and place != path:
                found[self._files[place]] = None
        return tuple(found)

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        first = module.replace(".", "::").partition("::")[0]
        return () if first in ("std", "core", "alloc") else None

    def literal(self, path: str, text: str) -> tuple[int, ...]:
        place = joined(path.rpartition("/")[0], text)
        return (self._files[place],) if place and place in self._files else ()

    def _find(self, path: str, parts: list[str]) -> str | None:
        """Return the file of the longest beginning of a path that is a module."""
        first, *rest = parts
        if first == "crate":
            return self._walk(self._root(path), rest)
        if first in ("self", "super"):
            place: str | None = path
            for part in [first, *rest]:
                if part == "super" and place is not None:
                    place = self._parent(place)
                elif part != "self":
                    break
            rest = [part for part in rest if part not in ("super", "self")]
            return place if place is None else self._walk(place, rest)
        inside = self._walk(path, parts)  # a child of this module, else a crate
        if inside not in (None, path):
            return inside
        return self._walk(self._named[first], rest) if first in self._named else None

    def _walk(self, place: str, parts: list[str]) -> str | None:
        for part in parts:
            below = _children(place, is_top=place in self._tops)
            stem = f"{below}/{part}" if below else part
            inner = next(
                (one for one in (f"{stem}.rs", f"{stem}/mod.rs") if one in self._files), ""
            )
            if not inner:
                break
            place = inner
        return place if place in self._files else None

    def _parent(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        if name == "mod.rs":
            folder = folder.rpartition("/")[0]
        ends = ("/mod.rs", ".rs", "/lib.rs", "/main.rs")
        places = (f"{folder}{end}".lstrip("/") for end in ends)
        above = next((each for each in places if each in self._files and each != path), None)
        return above or (path if path in self._tops else None)

    def _root(self, path: str) -> str:
        """Return the root file of the crate that a file is in."""
        if path in self._tops or path in self._crate:
            return self._crate.get(path, path)
        folder = path.rpartition("/")[0]
        while True:
            for name in ("lib.rs", "main.rs"):
                top = f"{folder}/{name}".lstrip("/")
                if top in self._tops and top in self._files:
                    self._crate[path] = top
                    return top
            if not folder:
                return path
            folder = folder.rpartition("/")[0]


_TARGETS = frozenset(("tests", "benches", "examples", "bin"))


def _children(path: str, *, is_top: bool) -> str:
    """Return the folder in which the modules below a file are."""
    folder, _, name = path.rpartition("/")
    if is_top or name == "mod.rs":
        return folder
    stem = name.removesuffix(".rs")
    return f"{folder}/{stem}" if folder else stem
