"""Pure: Java, as the other packages know it: a public class is a file of its name, a package the
folders around it, below whatever source root (Maven's and Gradle's, or any other)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from self_coding.languages import BlindLine, NoImports, Resolver, Statement, pack_import
from self_coding.languages.syntax_tree import (
    Imported,
    Tree,
    TreeLanguage,
    line_of,
    text_of,
)

_IMPORTS = "(import_declaration) @import (package_declaration) @package"
_IMPORT = re.compile(r"import\s++(static\s++)?([\w.\s]++)(\*)?\s*+;")
# All but names and the signs within them, as a space: bytes are split at the speed of C.
_PLAIN = bytes(at if chr(at) in "._$" or chr(at).isalnum() or at > 127 else 32 for at in range(256))
_QUALIFIED = re.compile(r"((?:[a-z]\w*+\.){2,}+)([A-Z]\w*+)")
_REFLECTED = re.compile(r"\b(?:Class\.forName|loadClass)\(\s*+(?!\")|\bServiceLoader\.load\(")
_LANG = frozenset(
    (
        *("String", "Object", "Integer", "Long", "Boolean", "Override", "Exception", "List", "Map"),
        *("Set", "Class", "System", "Math", "Character", "Double", "Float", "Throwable"),
    )
)


class Java(TreeLanguage):
    """Java, with Surefire's and JUnit's names for tests."""

    name = "Java"
    suffixes = (".java",)
    grammars = {".java": ("tree_sitter_java", "language")}
    settings = frozenset(
        ("pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "gradle.properties")
    )
    qualified = True
    bases = ("superclass", "super_interfaces", "extends_interfaces")
    quoted = (
        r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)'
        r'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|\'(?:[^\'\\\n]|\\.)++\''
    )
    asked = (_IMPORTS,)
    depth = 1
    opening = re.compile(rb"\)[\w ,.<>]*+\{[ \t]*+\n")
    nests = "(enum_body (enum_body_declarations) @nest)" + "".join(
        f"({kind}_declaration body: (_) @nest)"
        for kind in ["class", "interface", "enum", "record", "annotation_type"]
    )
    query = "\n".join(
        f"({kind} name: (_) @name) @{what}"
        for what, kinds in (
            ("class", "class interface enum record annotation_type"),
            ("def", "method constructor"),
        )
        for kind in (f"{each}_declaration" for each in kinds.split())
    )

    def is_test(self, path: str) -> bool:
        around = f"/{path.rpartition('/')[0]}/"
        return self.is_test_module(path) or "/test/" in around or "/tests/" in around

    def is_test_module(self, path: str) -> bool:
        name = path.rpartition("/")[2].removesuffix(".java")
        return name.endswith(("Test", "Tests", "TestCase", "IT")) or (
            name.startswith("Test") and name[4:5].isupper()
        )

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        name = path.rpartition("/")[2].removesuffix(".java")
        return f"{name}Test.java", f"{name}Tests.java", f"Test{name}.java", f"{name}TestCase.java"

    def scope(self, path: str) -> str:
        return _package(path)

    def sees(self, path: str, other: str) -> bool:
        return False  # which classes of its package a file needs, its own words tell

    def importing(self, text: str) -> str:
        last = max(text.rfind("\nimport "), 0)
        end = text.find("\n", last + 1)
        return text if end < 0 else text[: end + 1]

    def imports(self, tree: Tree, text: str) -> Imported:
        found = Imported([], [], [])
        bare = self.bare(text)
        last = bare.rfind("\nimport ")
        body = bare if last < 0 else bare[bare.find(";", last) :]
        names = {*body.encode("utf-8", "replace").translate(_PLAIN).split()}
        types = {each.partition(b".")[0] for each in names if each[:1].isupper()}
        words = {each.decode() for each in types if b"$" not in each} - _LANG
        known: set[str] = set()
        stars = []
        for held in tree.find(_IMPORTS):
            for node in held.get("import", ()):
                match = _IMPORT.match(text_of(node))
                if match is None:
                    continue
                dotted = re.sub(r"\s+", "", match[2]).removesuffix(".")
                if match[3]:
                    stars.append((line_of(node), dotted))
                    continue
                module, _, name = dotted.rpartition(".")
                known.add(name)
                found.packed.append(pack_import(module, (name,)))
                found.statements.append(Statement(line_of(node), module, ((name, None),)))
        rest = sorted(words - known)
        for line, dotted in stars:
            found.packed.append(pack_import(dotted, ("*", *rest)))
            found.statements.append(Statement(line, dotted, (("*", None),)))
        if rest:
            found.packed.append(pack_import("", rest))
        for spelled in sorted(each for each in names if each.count(b".") > 1):
            if match := _QUALIFIED.match(spelled.decode()):
                found.packed.append(pack_import(match[1][:-1], (match[2],)))
        reflects = any(word in text for word in ("forName", "loadClass", "ServiceLoader"))
        for match in _REFLECTED.finditer(text) if reflects else ():
            line = text.count("\n", 0, match.start()) + 1
            found.blind.append(BlindLine(line, "a class whose name is computed at run time"))
        return found

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        return Classes(files)


LANGUAGE = Java()


class Classes(NoImports):
    """The classes of a repository by the folders around them, of which a package is the last."""

    def __init__(self, files: Mapping[str, int]) -> None:
        self._places: dict[str, list[tuple[str, int]]] = defaultdict(list)  # by class name
        self._folders: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for path, file in files.items():
            folder, _, name = path.rpartition("/")
            self._places[name.removesuffix(".java")].append((f"/{folder}", file))
            self._folders[folder.rpartition("/")[2]][f"/{folder}"].append(file)

    def module(self, path: str) -> str:
        folder = path.removesuffix(".java")
        for root in ("src/main/java/", "src/test/java/", "src/", "java/"):
            before, found, after = folder.rpartition(root)
            if found and (not before or before.endswith("/")):
                return after.replace("/", ".")
        return folder.replace("/", ".")

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        found = self.anywhere(module, names)
        if found is not None:
            return found
        # A package lies in several roots, `src/main/java` and `src/test/java`; which part of the
        # folders is the package does not show, but beside those two the ends are the same.
        here = _package(path)
        return tuple(
            file
            for name in names
            for folder, file in self._places.get(name, ())
            if _package(f"{folder[1:]}/x") == here
        )

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        if not module:
            return None
        end = "/" + module.replace(".", "/")
        if not names:  # all of a package
            last = self._folders.get(module.rpartition(".")[2], {})
            return tuple(f for folder, files in last.items() if folder.endswith(end) for f in files)
        found = [
            file
            for name in names
            for folder, file in self._places.get(name, ())
            if folder.endswith(end)
        ]
        if not found:  # a class inside of one, or a static name of it
            outer, _, name = module.rpartition(".")
            if outer and name[:1].isupper():
                return self.anywhere(outer, (name,))
        return tuple(found)


_ROOT = re.compile(r"(?:.*/)?src/(?:main|test|\w+)/(?:java|groovy)/|(?:.*/)?(?:src|test|tests)/")


def _package(path: str) -> str:
    """Return the folders of a file below its source root."""
    folder = path.rpartition("/")[0] + "/"
    match = _ROOT.match(folder)
    return folder[match.end() :] if match else folder
