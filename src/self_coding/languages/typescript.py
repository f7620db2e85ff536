"""Pure: TypeScript and JavaScript (ESM, CommonJS, JSX), as the other packages know them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from self_coding.languages import BlindLine, NoImports, Project, Resolver, Statement, pack_import
from self_coding.languages.syntax_tree import Imported, Tree, TreeLanguage, joined, line_of, text_of

_IMPORTS = """
(import_statement source: (string (string_fragment) @from)) @statement
(export_statement source: (string (string_fragment) @from)) @statement
(import_require_clause source: (string (string_fragment) @from)) @statement
"""
_CALLS = """
(call_expression function: (import) arguments: (arguments . (_) @argument)) @call
(call_expression function: (identifier) @called arguments: (arguments . (_) @argument)) @call
(call_expression function: (member_expression object: (identifier) @object property: (_) @called)
  arguments: (arguments . (string) @argument)) @call
"""
_MOCKS = frozenset(("mock", "doMock", "unmock", "requireActual", "importActual", "requireMock"))
_RESOLVING = frozenset(("require", "import", "resolve"))
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
        **dict.fromkeys((".ts", ".mts", ".cts"), ("tree_sitter_typescript", "language_typescript")),
        **dict.fromkeys(
            (".tsx", ".js", ".jsx", ".mjs", ".cjs"), ("tree_sitter_typescript", "language_tsx")
        ),
    }
    settings = frozenset(
        (
            *("package.json", "tsconfig.json", "deno.json", "karma.conf.js", ".mocharc.json"),
            *(
                f"{tool}.config.{end}"
                for tool in ("jest", "vitest", "vite", "playwright")
                for end in ("ts", "js", "mts", "mjs", "cjs", "json")
            ),
        )
    )
    bases = ("class_heritage",)
    quoted = r'"(?:[^"\\\n]|\\.)*+"?|\'(?:[^\'\\\n]|\\.)*+\'?|`(?:[^`\\$]|\\.|\$(?!\{))*+`'
    asked = (_IMPORTS, _CALLS)
    query = f"""
    (function_declaration name: (_) @name) @def
    (generator_function_declaration name: (_) @name) @def
    (function_signature name: (_) @name) @def
    (method_definition name: (_) @name) @def
    (abstract_method_signature name: (_) @name) @def
    (variable_declarator name: (identifier) @name value: {_FUNCTION}) @def
    (public_field_definition name: (_) @name value: {_FUNCTION}) @def
    (assignment_expression left: (member_expression property: (_) @name) right: {_FUNCTION}) @def
    (class_declaration name: (_) @name) @class
    (abstract_class_declaration name: (_) @name) @class
    (interface_declaration name: (_) @name) @class
    (type_alias_declaration name: (_) @name) @class
    (enum_declaration name: (_) @name) @class
    (internal_module name: (_) @name) @class
    """

    def is_test(self, path: str) -> bool:
        around = f"/{path.rpartition('/')[0]}/"
        return self.is_test_module(path) or any(
            each in around for each in ("/test/", "/tests/", "/__mocks__/", "/e2e/", "/spec/")
        )

    def is_test_module(self, path: str) -> bool:
        folder, _, name = f"/{path}".rpartition("/")
        parts = name.split(".")
        named = bool({"test", "spec", "e2e", "cy"} & {*parts[1:-1]})
        own = "/__tests__" in folder or (
            folder.endswith(("/test", "/tests")) and not name.startswith(("setup", "helper", "_"))
        )
        stem = parts[0]
        return named or own or stem in ("test", "tests") or stem.endswith(("-test", "_test"))

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        stem, _, end = path.rpartition("/")[2].partition(".")
        ends = dict.fromkeys((end, "ts", "tsx", "js", "mjs"))
        return tuple(
            f"{stem}{word}.{each}" for each in ends for word in (".test", ".spec", "-test")
        )

    def stem(self, path: str) -> str:
        stem = path.rpartition("/")[2].partition(".")[0]
        return "" if stem in ("index", "main", "mod", "lib") else stem

    def imports(self, tree: Tree, text: str) -> Imported:
        found = Imported([], [], [])
        for _, held in tree.find(_IMPORTS):
            statement, module = held["statement"][0], text_of(held["from"][0])
            names = list(_bound(text_of(statement)))
            found.packed.append(_packed(module, [name for name, _ in names]))
            line = line_of(statement)
            whole = [local for name, local in names if name == "*" and local]
            if whole:
                found.statements.append(Statement(line, None, ((module, whole[0]),)))
            found.statements.append(
                Statement(line, module, tuple(each for each in names if each[1] not in whole))
            )
        for _, held in tree.find(_CALLS) if "(" in text else ():
            called = text_of(held["called"][0]) if "called" in held else "import"
            argument, line = held["argument"][0], line_of(held["call"][0])
            owner = text_of(held["object"][0]) if "object" in held else ""
            is_mock = called in _MOCKS and owner in ("jest", "vi")
            if not (is_mock or (called in _RESOLVING and not owner)):
                continue
            module = text_of(argument)[1:-1]
            if argument.type not in ("string", "template_string") or "${" in module:
                if called in ("require", "import"):
                    found.blind.append(BlindLine(line, "an import whose name is computed"))
                continue
            names = list(_required(held["call"][0]))
            found.packed.append(_packed(module, [name for name, _ in names]))
            for name, local in names:
                if name == "*":
                    found.statements.append(Statement(line, None, ((module, local),)))
                else:
                    found.statements.append(Statement(line, module, ((name, local),)))
        for place in _REFERENCE.findall(text) if "<reference" in text else ():
            found.packed.append(_packed(place if place.startswith(".") else f"./{place}", ()))
        return found

    def exported_as(self, text: str, name: str) -> frozenset[str]:
        """Return the names under which a file exports what it calls `name`."""
        word = re.escape(name)
        names = {name}
        default = (
            rf"\bexport\s+default\s+(?:(?:async|abstract)\s+)?(?:(?:function\*?|class)\s+)?{word}\b"
        )
        if re.search(rf"{default}|\bmodule\.exports\s*=\s*{word}\b", text):
            names.add("default")
        names.update(re.findall(rf"\b{word}\s+as\s+([\w$]+)", text))
        return frozenset(names)

    def project(self, manifests: Mapping[str, str]) -> Project:
        return Project(roots=tuple(dict.fromkeys(_declared(manifests))))

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        return Modules(files, roots)


LANGUAGE = TypeScript()


def _packed(module: str, names: Iterable[str]) -> str:
    clean = re.sub(r"[\t\n]", " ", module)
    return pack_import(clean, names)


def _bound(statement: str) -> Iterator[tuple[str, str | None]]:
    """Yield name and local name of what an import or export statement with a source binds."""
    clause = re.sub(r"(?:\bfrom\b\s*+)?(['\"])[^'\"\n]*\1.*\Z", "", statement, flags=re.DOTALL)
    clause = re.sub(r"^(?:import|export)\b\s*(?:type\b\s*(?!,|from))?", "", clause).strip()
    head, brace, inner = clause.partition("{")
    for part in map(str.strip, head.split(",")):
        if part.startswith("*"):
            yield "*", part.partition(" as ")[2].strip() or None
        elif part:
            yield "default", part.partition("=")[0].strip()
    for part in inner.split("}")[0].split(",") if brace else ():
        name, _, local = part.strip().removeprefix("type ").partition(" as ")
        if name.strip():
            # Under its new name an export goes on from here, as an import does.
            yield name.strip(), local.strip() or None


def _required(call: object) -> Iterator[tuple[str, str | None]]:
    """Yield name and local name of what is bound to a call of `require` or `import`."""
    node = call.parent  # type: ignore[attr-defined]
    while node is not None and node.type in ("await_expression", "parenthesized_expression"):
        node = node.parent
    if node is not None and node.type == "member_expression":
        yield text_of(node.child_by_field_name("property")), None
    elif node is not None and node.type == "variable_declarator":
        target = node.child_by_field_name("name")
        if target.type == "identifier":
            yield "*", text_of(target)
            yield "default", text_of(target)
        else:
            for name, local in _BOUND.findall(text_of(target)[1:]):
                yield name, local or None


def _read(text: str) -> dict[str, object]:
    """Return a JSON file, with comments and trailing commas as `tsconfig.json` has them."""
    plain = _COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
    try:
        data = json.loads(re.sub(r",(\s*[}\]])", r"\1", plain))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _declared(manifests: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that the manifests give: `folder>pattern=target`, or `>` for everywhere.

    Package names mean the same in the whole repository; paths of a `tsconfig.json`, and names
    with "#", below its folder.
    """
    for path, text in sorted(manifests.items()):
        folder, _, file = path.rpartition("/")
        data = _read(text)
        if file == "package.json":
            yield from _package(folder, data)
            continue
        options = data.get("compilerOptions")
        options = options if isinstance(options, dict) else {}
        base, paths = options.get("baseUrl"), options.get("paths")
        start = _at(folder, base) if isinstance(base, str) else folder
        for key, places in paths.items() if isinstance(paths, dict) else ():
            for target in _targets(places):
                yield f"{folder}>{key}={_at(start, target)}"
        if isinstance(base, str):
            yield f"{folder}>*={_at(start, '*')}"


def _package(folder: str, data: dict[str, object]) -> Iterator[str]:
    """Yield what a `package.json` declares: its name, what it exports, what it imports by "#"."""
    inner = data.get("imports")
    for key, value in inner.items() if isinstance(inner, dict) else ():
        for target in _targets(value):
            yield f"{folder}>{key}={_at(folder, target)}"
    name, exports = data.get("name"), data.get("exports")
    if not isinstance(name, str):
        return
    is_table = isinstance(exports, dict) and any(str(each)[:1] == "." for each in exports)
    for key, value in exports.items() if is_table and isinstance(exports, dict) else ():
        for target in _targets(value):
            yield f">{name}{str(key)[1:]}={_at(folder, target)}"
    entries = [data.get(key) for key in ("source", "types", "typings", "module", "main")]
    for place in (*_targets([exports if not is_table else None, *entries]), "index", "src/index"):
        yield f">{name}={_at(folder, place)}"
    yield f">{name}/*={_at(folder, '*')}"


def _targets(value: object) -> Iterator[str]:
    """Yield the files of an entry of `exports` or `paths`: of its conditions all that are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _targets(each)
    elif isinstance(value, dict):
        for each in dict.fromkeys((*_CONDITIONS, *value)):
            yield from _targets(value.get(each))


def _at(folder: str, place: str) -> str:
    """Return a path from a folder on; one that leaves the repository is no file's."""
    path = joined(folder, place)
    return "\0" if path is None else path


class Modules(NoImports):
    """The modules of a repository: relative ones, packages of it, and declared names."""

    def __init__(self, files: Mapping[str, int], roots: Iterable[str]) -> None:
        self._files = files
        self._declared = tuple(roots)
        rows = [
            (each.partition(">")[0], *each.partition(">")[2].partition("=")[::2]) for each in roots
        ]
        # Names below the nearest folder come first, of these the longest patterns.
        rows.sort(key=lambda row: (-len(row[0]), -len(row[1].partition("*")[0]), "*" in row[1]))
        self._rows = rows

    def roots(self) -> frozenset[str]:
        return frozenset(self._declared)

    def module(self, path: str) -> str:
        return path.rpartition(".")[0].removesuffix(".d").removesuffix("/index")

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        return None if module.startswith(".") or self._rows else ()

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        folder = path.rpartition("/")[0]
        if module.startswith("."):
            place = self._file(_at(folder, module))
            return () if place is None else (self._files[place],)
        if module.startswith("/"):
            return ()
        for around, pattern, target in self._rows:
            if around and not f"{folder}/".startswith(f"{around}/"):
                continue
            before, star, after = pattern.partition("*")
            if star and module.startswith(before) and module.endswith(after):
                middle = module[len(before) : len(module) - len(after)]
                place = self._file(target.replace("*", middle, 1))
            else:
                place = self._file(target) if module == pattern else None
            if place is not None:
                return (self._files[place],)
        return ()

    def _file(self, place: str) -> str | None:
        """Return the source file that a place means, also where what is built from it is named."""
        found = self._exact(place)
        if found is None and (inner := _OUT.sub("src/", place.rpartition("\0")[2])) != place:
            found = self._exact(inner)
        return found

    def _exact(self, place: str) -> str | None:
        if place in self._files:
            return place
        stem, dot, end = place.rpartition(".")
        for other in _BUILT.get(f".{end}", ()) if dot else ():
            if stem + other in self._files:
                return stem + other
        index = f"{place}/index" if place else "index"
        ends = (f"{each}{end}" for each in (place, index) for end in _ENDS)
        return next((each for each in ends if each in self._files), None)
