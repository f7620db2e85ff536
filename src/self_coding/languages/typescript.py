"""Pure: TypeScript and JavaScript (ESM, CommonJS, JSX), as the other packages know them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from self_coding.languages import BlindLine, NoImports, Project, Resolver, Statement, pack_import
from self_coding.languages.syntax_tree import Imported, Tree, TreeLanguage, joined, line_of, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_IMPORTS = """
(import_statement source: (string (string_fragment) @from)) @statement
(export_statement source: (string (string_fragment) @from)) @statement
(import_require_clause source: (string (string_fragment) @from)) @statement
(ambient_declaration (module name: (string (string_fragment) @from))) @declared
"""
# Calls are everywhere: the few that import are found in the text, and looked at in the tree.
_CALL = re.compile(
    rb"[ijrv](?<![\w$.].)(?:(?:(?<=i)mport|(?<=r)equire|(?<=r)esolve)\s*+\(|(?:(?<=j)est|(?<=v)i)"
    rb"\s*+\.\s*+(?:mock|doMock|unmock|requireActual|importActual|requireMock)\s*+(?:<[^()\n]*+>)?+\()"
)
_CALLED = (b"require", b"import(", b"import (", b"jest", b"vi.")  # quicker to look for
_BOUND = re.compile(r"(?<![\w$])([\w$]++)(?:\s*+:\s*+([\w$]++))?\s*+(?=[,}=])")
_REFERENCE = re.compile(r"(?m)^///[ \t]*<reference[ \t]+path[ \t]*=[ \t]*[\"']([^\"'\n]+)")
_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*+"|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)')
_ENDS = (".ts", ".tsx", ".d.ts", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
_BUILT = {".js": (".ts", ".tsx", ".d.ts"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
_CONDITIONS = ("source", "types", "import", "module", "browser", "node", "require", "default")
_OUT = re.compile(r"^(?:dist|lib|build|out|es|esm|cjs)/(?:(?:esm|cjs|src|types)/)?")
_FUNCTION = "[(arrow_function) (function_expression) (generator_function)]"


class TypeScript(TreeLanguage):
    """TypeScript and JavaScript, with the names that their test runners look for."""

    name = "TypeScript and JavaScript"
    suffixes = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
    grammars = {
        each: ("tree_sitter_typescript", f"language_{'typescript' if each[-2:] == 'ts' else 'tsx'}")
        for each in suffixes
    }
    settings = frozenset(
        f"{tool}.config.{end}"
        for tool in ("jest", "vitest", "vite", "playwright")
        for end in ("ts", "js", "mts", "mjs", "cjs", "json")
    ) | {"package.json", "tsconfig.json", "deno.json", "karma.conf.js", ".mocharc.json"}
    bases = ("class_heritage",)
    quoted = (
        r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|\'(?:[^\'\\\n]|\\.)*+\'?|`(?:[^`\\$]|\\.|\$(?!\{))*+`'
    )
    asked = (_IMPORTS,)
    depth = 12
    opening = re.compile(rb"\)[^\n;{}()=]*+(?:=> )?+\{\n")
    kept = (b"=>", b"function", b"class ", b"interface ", b"enum ", b" type ", *_CALLED)
    query = f"""
    (variable_declarator name: (identifier) @name value: {_FUNCTION}) @def
    (public_field_definition name: (_) @name value: {_FUNCTION}) @def
    (assignment_expression left: (member_expression property: (_) @name) right: {_FUNCTION}) @def
    """ + "\n".join(
        f"({kind} name: (_) @name) @{what}"
        for what, kinds in (
            ("def", "function_declaration generator_function_declaration function_signature"),
            ("def", "method_definition abstract_method_signature"),
            ("class", "class_declaration abstract_class_declaration interface_declaration"),
            ("class", "type_alias_declaration enum_declaration internal_module"),
        )
        for kind in kinds.split()
    )

    def is_test(self, path: str) -> bool:
        folders = {"test", "tests", "__mocks__", "e2e", "spec"}
        return self.is_test_module(path) or not folders.isdisjoint(path.split("/")[:-1])

    def is_test_module(self, path: str) -> bool:
        folder, _, name = f"/{path}".rpartition("/")
        stem, *parts = name.split(".")
        own = folder.endswith(("/test", "/tests")) and not stem.startswith(("setup", "helper", "_"))
        named = stem in ("test", "tests") or stem.endswith(("-test", "_test"))
        marked = bool({"test", "spec", "e2e", "cy"} & {*parts[:-1]})
        return own or named or marked or "/__tests__" in folder

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        stem, _, end = path.rpartition("/")[2].partition(".")
        ends = dict.fromkeys((end, "ts", "tsx", "js", "mjs"))
        words = (".test", ".spec", "-test")
        return tuple(f"{stem}{word}.{each}" for each in ends for word in words)

    def stem(self, path: str) -> str:
        stem = path.rpartition("/")[2].partition(".")[0]
        return "" if stem in ("index", "main", "mod", "lib") else stem

    def imports(self, tree: Tree, text: str) -> Imported:
        found = Imported([], [], [])

        def bind(module: str, line: int, names: list[tuple[str, str | None]]) -> None:
            found.packed.append(pack_import(module, [name for name, _ in names]))
            for name, local in names:
                if name == "*" and local:
                    found.statements.append(Statement(line, None, ((module, local),)))
            rest = tuple((name, local) for name, local in names if name != "*" or not local)
            found.statements.append(Statement(line, module, rest))

        for held in tree.find(_IMPORTS):
            [source] = held["from"]
            if "declared" in held:  # what it adds to another module
                bind(text_of(source), line_of(source), [])
                continue
            [statement] = held["statement"]
            bind(text_of(source), line_of(statement), list(_bound(text_of(statement))))
        may_call = any(call in tree.source for call in _CALLED)
        for match in _CALL.finditer(tree.source) if may_call else ():
            call = tree.root.descendant_for_byte_range(match.start(), match.end())
            arguments = call.child_by_field_name("arguments") if call is not None else None
            if call is None or arguments is None or call.start_byte != match.start():
                continue  # in a comment or a string
            kinds = [each.type for each in arguments.named_children]
            module = text_of(arguments.named_children[0])[1:-1] if kinds else ""
            if kinds and kinds[0] in ("string", "template_string") and "${" not in module:
                bind(module, line_of(call), list(_required(call)))
            elif match[0].startswith((b"require", b"import")):
                found.blind.append(BlindLine(line_of(call), "an import whose name is computed"))
        for place in _REFERENCE.findall(text) if "<reference" in text else ():
            bind(place if place.startswith(".") else f"./{place}", 1, [])
        return found

    def exported_as(self, text: str, name: str) -> frozenset[str]:
        word = re.escape(name)
        names = {name}
        kind = r"(?:(?:async|abstract|class|function\*?)\s+)*"
        if re.search(rf"\b(?:export\s+default\s+{kind}|module\.exports\s*=\s*){word}\b", text):
            names.add("default")
        names.update(re.findall(rf"\b{word}\s+as\s+([\w$]+)", text))
        return frozenset(names)

    def project(self, manifests: Mapping[str, str]) -> Project:
        return Project(roots=tuple(dict.fromkeys(_declared(manifests))))

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        return Modules(files, roots)


LANGUAGE = TypeScript()


def _bound(statement: str) -> Iterator[tuple[str, str | None]]:
    """Yield name and local name of what an import or export statement with a source binds."""
    clause = re.sub(r"(?s)(?:\bfrom\b\s*+)?(['\"])[^'\"\n]*\1.*\Z", "", statement)
    clause = re.sub(r"^(?:import|export)\b\s*(?:type\b\s*(?!,|from))?", "", clause)
    clause = _COMMENT.sub("", clause).strip()
    head, brace, inner = clause.partition("{")
    for part in map(str.strip, head.split(",")):
        if part:
            star = part.startswith("*")
            yield ("*", part.partition(" as ")[2].strip() or None) if star else ("default", part)
    for part in inner.split("}")[0].split(",") if brace else ():
        name, _, local = part.strip().removeprefix("type ").partition(" as ")
        if name.strip():
            # Under its new name an export goes on from here, as an import does.
            yield name.strip(), local.strip() or None


def _required(call: Node) -> Iterator[tuple[str, str | None]]:
    """Yield name and local name of what is bound to a call of `require` or `import`."""
    node = call.parent
    while node is not None and node.type in ("await_expression", "parenthesized_expression"):
        node = node.parent
    if node is not None and node.type == "member_expression":
        if (name := node.child_by_field_name("property")) is not None:
            yield text_of(name), None
    elif node is not None and node.type == "variable_declarator":
        target = node.child_by_field_name("name")
        if target is not None and target.type == "identifier":
            yield from (("*", text_of(target)), ("default", text_of(target)))
        elif target is not None:
            yield from (
                (name, local or None) for name, local in _BOUND.findall(text_of(target)[1:])
            )


def _read(text: str) -> dict[str, object]:
    """Return a JSON file, with comments and trailing commas as `tsconfig.json` has them."""
    plain = _COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
    try:
        data = json.loads(re.sub(r",(\s*[}\]])", r"\1", plain))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _declared(manifests: Mapping[str, str]) -> Iterator[str]:
    """Yield `folder>pattern=target` of names that mean something below a folder: the paths of a
    `tsconfig.json`, and names with "#"; `>pattern=target` of packages, for the whole repository."""
    for path, text in sorted(manifests.items()):
        folder, _, file = path.rpartition("/")
        data = _read(text)
        if file == "package.json":
            yield from _package(folder, data)
            continue
        options = _table(data, "compilerOptions")
        base = options.get("baseUrl")
        start = _at(folder, base) if isinstance(base, str) else folder
        for key, places in _table(options, "paths").items():
            for target in _targets(places):
                yield f"{folder}>{key}={_at(start, target)}"
        if isinstance(base, str):
            yield f"{folder}>*={_at(start, '*')}"


def _package(folder: str, data: dict[str, object]) -> Iterator[str]:
    """Yield what a `package.json` declares: its name, what it exports, what it imports by "#"."""
    for key, value in _table(data, "imports").items():
        for target in _targets(value):
            yield f"{folder}>{key}={_at(folder, target)}"
    name = data.get("name")
    if not isinstance(name, str):
        return
    inner = {key: value for key, value in _table(data, "exports").items() if key[:1] == "."}
    for key, value in inner.items():
        for target in _targets(value):
            yield f">{name}{key[1:]}={_at(folder, target)}"
    keys = ("source", "types", "typings", "module", "main")
    entries = [None if inner else data.get("exports"), *(data.get(key) for key in keys)]
    for place in (*_targets(entries), "index", "src/index"):
        yield f">{name}={_at(folder, place)}"
    yield f">{name}/*={_at(folder, '*')}"


def _targets(value: object) -> Iterator[str]:
    """Yield the files of an entry of `exports` or `paths`: of its conditions all that are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        value = [value.get(each) for each in dict.fromkeys((*_CONDITIONS, *value))]
    for each in value if isinstance(value, list) else ():
        yield from _targets(each)


def _table(data: dict[str, object], key: str) -> dict[str, object]:
    """Return the object that a key holds, an empty one where it holds none."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _at(folder: str, place: str) -> str:
    """Return a path from a folder on; one that leaves the repository is no file's."""
    path = joined(folder, place)
    return "\0" if path is None else path


class Modules(NoImports):
    """The modules of a repository: relative ones, packages of it, and declared names."""

    def __init__(self, files: Mapping[str, int], roots: Iterable[str]) -> None:
        self._files = files
        self._declared = frozenset(roots)
        pairs = [each.partition(">")[::2] for each in roots]
        rows = [(folder, *rest.partition("=")[::2]) for folder, rest in pairs]
        # Names below the nearest folder come first, of these the longest patterns.
        rows.sort(key=lambda row: (-len(row[0]), -len(row[1].partition("*")[0]), "*" in row[1]))
        self._rows = rows
        self._named: dict[str, list[tuple[str, str]]] = {}

    def roots(self) -> frozenset[str]:
        return self._declared

    def module(self, path: str) -> str:
        return path.rpartition(".")[0].removesuffix(".d").removesuffix("/index")

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        return None if module.startswith(".") or self._rows else ()

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        folder = path.rpartition("/")[0]
        if module.startswith("."):
            found = self._file(_at(folder, module))
            return () if found is None else self._beside(found)
        if module not in self._named:
            self._named[module] = list(self._places(module))
        for around, place in self._named[module]:
            if not around or f"{folder}/".startswith(f"{around}/"):
                return self._beside(place)
        return ()

    def _beside(self, place: str) -> tuple[int, ...]:
        """Return a file and, of one that runs, those beside it that a compiler takes instead."""
        stem, dot, end = place.rpartition(".")
        twins = [stem + other for other in _BUILT.get(dot + end, ())]
        return tuple(self._files[each] for each in (place, *twins) if each in self._files)

    def _places(self, module: str) -> Iterator[tuple[str, str]]:
        """Yield folder and file of each declared name that a module's name may be, there."""
        for around, pattern, target in self._rows:
            before, star, after = pattern.partition("*")
            middle = module.removeprefix(before).removesuffix(after)
            if before + (middle if star else "") + after == module:
                place = self._file(target.replace("*", middle, 1) if star else target)
                if place is not None:
                    yield around, place

    def _file(self, place: str) -> str | None:
        """Return the source file that a place means, also where what is built from it is named."""
        return self._exact(place) or self._exact(_OUT.sub("src/", place.rpartition("\0")[2]))

    def _exact(self, place: str) -> str | None:
        if place in self._files:
            return place
        stem, dot, end = place.rpartition(".")
        near = [stem + other for other in _BUILT.get(dot + end, ())]
        near += [each + end for each in (place, f"{place}/index".lstrip("/")) for end in _ENDS]
        return next((each for each in near if each in self._files), None)
