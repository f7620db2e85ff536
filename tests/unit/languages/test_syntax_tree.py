"""Languages over a syntax tree: one small repository in each, asked what the index is asked."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.languages import language_of, syntax_tree, unpack_symbols

TYPESCRIPT = {
    "package.json": '{"name": "root", "workspaces": ["packages/*"]}',
    "tsconfig.json": '{// a comment\n"compilerOptions": {"paths": {"@app/*": ["./src/*"],}}}',
    "packages/core/package.json": '{"name": "@acme/core", "exports": {".": "./dist/index.js"}}',
    "packages/core/src/index.ts": "export * from './area.js';\n",
    "packages/core/src/area.ts": "export function area(r: number): number {\n  return r * r;\n}\n",
    "src/shape.tsx": (
        "import { area as size } from '@acme/core';\nimport * as names from '@app/names';\n"
        "export class Shape {\n  paint(): string { return names.title(size(2)); }\n}\n"
    ),
    "src/names.js": "exports.title = function (n) { return `${n}`; };\n",
    "src/old.cjs": "const { title } = require('./names');\nmodule.exports = { title };\n",
    "src/shape.test.ts": "import { Shape } from './shape';\nit('paints', () => new Shape());\n",
    "src/alone.ts": "export const alone = () => 1;\n",
}
GO = {
    "go.mod": "module example.com/tool\n\ngo 1.19\n",
    "main.go": 'package main\n\nimport "example.com/tool/area"\n\nfunc main() { area.Size(2) }\n',
    "area/area.go": "package area\n\n// Size squares.\nfunc Size(r int) int { return r * r }\n",
    "area/more.go": "package area\n\nfunc Twice(r int) int { return 2 * Size(r) }\n",
    "area/area_test.go": (
        'package area\n\nimport "testing"\n\nfunc TestSize(t *testing.T) { Size(1) }\n'
    ),
    "other/other.go": "package other\n\ntype Thing struct{}\n\nfunc (t *Thing) Do() {}\n",
}
RUST = {
    "Cargo.toml": '[workspace]\nmembers = ["core", "app"]\n',
    "core/Cargo.toml": '[package]\nname = "my-core"\nversion = "0.1.0"\n',
    "core/src/lib.rs": "pub mod area;\nmod inner;\npub use crate::inner::Deep;\n",
    "core/src/area.rs": "use super::inner::deep;\npub fn size(r: u32) -> u32 { r * deep() }\n",
    "core/src/inner/mod.rs": "pub struct Deep;\npub fn deep() -> u32 { 1 }\n",
    "core/src/alone.rs": "pub fn alone() {}\n",
    "core/tests/area.rs": "use my_core::area::size;\n#[test]\nfn sizes() { size(1); }\n",
    "app/Cargo.toml": '[package]\nname = "app"\nversion = "0.1.0"\n',
    "app/src/main.rs": "fn main() { my_core::area::size(2); }\n",
}
JAVA = {
    "pom.xml": "<project/>",
    "src/main/java/org/acme/Area.java": (
        "package org.acme;\npublic class Area {\n  public int size(int r) { return r * r; }\n}\n"
    ),
    "src/main/java/org/acme/Shape.java": (
        "package org.acme;\nclass Shape { int a() { return new Area().size(2); } }\n"
    ),
    "src/main/java/org/acme/ui/Window.java": (
        "package org.acme.ui;\nimport org.acme.*;\nclass Window { Area area; }\n"
    ),
    "src/main/java/org/acme/ui/Alone.java": "package org.acme.ui;\nclass Alone { /* Area */ }\n",
    "src/test/java/org/acme/AreaTest.java": (
        "package org.acme;\nclass AreaTest { void sizes() { new Area(); } }\n"
    ),
}


def repository(folder: Path, files: Mapping[str, str]) -> CodebaseIndexer:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return CodebaseIndexer(folder, db_path=folder.parent / "index.db")


@pytest.mark.parametrize(
    ("files", "changed", "dependents", "tests"),
    [
        (
            TYPESCRIPT,
            "packages/core/src/area.ts",
            {"packages/core/src/index.ts", "src/shape.tsx", "src/shape.test.ts"},
            ["src/shape.test.ts"],
        ),
        (
            TYPESCRIPT,
            "src/names.js",
            {"src/old.cjs", "src/shape.tsx", "src/shape.test.ts"},
            ["src/shape.test.ts"],
        ),
        (
            GO,
            "area/area.go",
            {"main.go", "area/more.go", "area/area_test.go"},
            ["area/area_test.go"],
        ),
        (
            RUST,
            "core/src/inner/mod.rs",
            {"core/src/lib.rs", "core/src/area.rs", "core/tests/area.rs", "app/src/main.rs"},
            ["core/tests/area.rs"],
        ),
        (
            JAVA,
            "src/main/java/org/acme/Area.java",
            {
                "src/main/java/org/acme/Shape.java",
                "src/main/java/org/acme/ui/Window.java",
                "src/test/java/org/acme/AreaTest.java",
            },
            ["src/test/java/org/acme/AreaTest.java"],
        ),
    ],
    ids=["typescript", "commonjs", "go", "rust", "java"],
)
async def test_impact_follows_imports(
    tmp_path: Path, files: Mapping[str, str], changed: str, dependents: set[str], tests: list[str]
) -> None:
    """What depends on a file, and which tests reach it, is found through its language's imports."""
    index = repository(tmp_path / "repo", files)
    impact = await index.impact([changed])
    assert {each.path for each in impact.dependents} == dependents
    assert list(impact.tests) == tests
    assert impact.complete


@pytest.mark.parametrize(
    ("files", "symbol", "uses"),
    [
        (TYPESCRIPT, "area", {"src/shape.tsx:1", "src/shape.tsx:4"}),
        (TYPESCRIPT, "title", {"src/shape.tsx:4", "src/old.cjs:1", "src/old.cjs:2"}),
        (GO, "Size", {"main.go:5", "area/more.go:3", "area/area_test.go:5"}),
        (RUST, "size", {"core/tests/area.rs:1", "core/tests/area.rs:3", "app/src/main.rs:1"}),
        (
            JAVA,
            "Area",
            {
                "src/main/java/org/acme/Shape.java:2",
                "src/main/java/org/acme/ui/Window.java:2",
                "src/main/java/org/acme/ui/Window.java:3",
                "src/test/java/org/acme/AreaTest.java:2",
            },
        ),
    ],
    ids=["typescript", "commonjs", "go", "rust", "java"],
)
async def test_users_are_certain_where_names_resolve(
    tmp_path: Path, files: Mapping[str, str], symbol: str, uses: set[str]
) -> None:
    """A use of a name is certain where an import, a package or a module leads to its definition."""
    users = await repository(tmp_path / "repo", files).symbol_users(symbol)
    certain = {f"{each.path}:{each.line}" for each in users.uses}
    assert uses <= certain | {f"{each.path}:{each.line}" for each in users.unknown}
    assert uses <= certain


@pytest.mark.parametrize(
    ("files", "path", "name", "lines"),
    [
        (TYPESCRIPT, "src/shape.tsx", "paint", (4, 4)),
        (GO, "other/other.go", "Do", (5, 5)),
        (RUST, "core/src/inner/mod.rs", "deep", (2, 2)),
        (JAVA, "src/main/java/org/acme/Area.java", "size", (3, 3)),
    ],
    ids=["typescript", "go", "rust", "java"],
)
async def test_definitions_have_spans(
    tmp_path: Path, files: Mapping[str, str], path: str, name: str, lines: tuple[int, int]
) -> None:
    """A file's functions and methods are told with their first and last lines."""
    info = await repository(tmp_path / "repo", files).get_module_info(path)
    assert info is not None
    assert not info.error
    methods = [each for one in info.classes for each in one.methods]
    [found] = [each for each in (*info.functions, *methods) if each.name == name]
    assert (found.line_number, found.end_line) == lines


async def test_mixed_repositories_are_one_graph(tmp_path: Path) -> None:
    """Files of all languages are in one index, and each is asked in its own way."""
    python = {"tool.py": "def run(): pass\n", "test_tool.py": "import tool\n"}
    index = repository(tmp_path / "repo", {**python, **GO, **JAVA, **RUST, **TYPESCRIPT})
    assert (await index.impact(["tool.py"])).tests[0] == "test_tool.py"
    assert "area/area_test.go" in (await index.impact(["area/area.go"])).tests
    summary = await index.get_summary(4000)
    assert "Total modules: 25 (" in summary
    assert all(word in summary for word in ("Shape", "Size", "Deep", "Area", "run"))
    found = await index.relevant_files("Twice returns the wrong size", 3)
    assert "area/more.go" in [each.path for each in found]


async def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a language's parser its text is found, and no answer about it is complete;
    installed, it is read at the next question."""
    index = repository(tmp_path / "repo", GO)
    with monkeypatch.context() as patch:
        patch.setattr(syntax_tree, "_is_there", lambda package: False)
        impact = await index.impact(["area/area.go"])
        assert not impact.complete
        assert "Go is not read" in impact.blind_spots[0].reason
        assert "self-coding[languages]" in impact.blind_spots[0].reason
        assert (await index.relevant_files("Twice", 1))[0].path == "area/more.go"
        info = await index.get_module_info("area/area.go")
        assert info is not None
        assert "self-coding[languages]" in info.error
    assert (await index.impact(["area/area.go"])).complete


async def test_every_answer_names_the_languages_that_were_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Impact, users and summary of a repository with C, and with Go whose parser is missing, say
    that neither was read; impact is complete for no file of it."""
    python = {
        "pkg/area.py": "def area(r):\n    return r * r\n",
        "test_area.py": "from pkg.area import area\n\ndef test_area():\n    assert area(2) == 4\n",
        "pkg/fast.c": "int area(int r) { return r * r; }\n",
    }
    index = repository(tmp_path / "repo", GO | python)
    with monkeypatch.context() as patch:
        patch.setattr(syntax_tree, "_is_there", lambda package: False)
        for path in ("pkg/area.py", "pkg/fast.c", "area/area.go", "test_area.py"):
            found = await index.impact([path])
            assert not found.complete, path
        reasons = " ".join(
            spot.reason for spot in (await index.impact(["pkg/area.py"])).blind_spots
        )
        assert "written in C is not read" in reasons
        assert "Go is not read" in reasons
        assert (await index.symbol_users("area")).left_out == ("C", "Go")
        assert "not read: C, Go\n" in await index.get_summary()
    assert (await index.symbol_users("area")).left_out == ("C",)
    assert not (await index.impact(["pkg/area.py"])).complete


async def test_a_new_manifest_moves_imports(tmp_path: Path) -> None:
    """When `go.mod` names the module otherwise, imports lead elsewhere at once."""
    index = repository(tmp_path / "repo", GO)
    assert "main.go" in [each.path for each in (await index.impact(["area/area.go"])).dependents]
    (tmp_path / "repo/go.mod").write_text("module example.com/renamed\n\ngo 1.19\n")
    assert "main.go" not in await index.get_dependency_chain("area/area.go")


@pytest.mark.parametrize(
    ("path", "text", "origin"),
    [
        ("api/api.pb.go", "package api\n", "generated"),
        ("a.ts", "// Code generated by x. DO NOT EDIT.\n", "generated"),
        ("vendor/x/y.go", "package y\n", "vendored"),
        ("lib.js", "a=1;" * 10_000, "minified"),
        ("src/a.ts", "export const a = 1;\n", ""),
    ],
)
def test_files_that_nobody_wrote_are_marked(path: str, text: str, origin: str) -> None:
    """Generated, vendored and minified files are told from those that somebody wrote here."""
    assert syntax_tree.origin(path, text.encode()) == origin


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("a.go", "func f() {\n\tx := `\n}\n`\n}\n\nfunc g() {}\n", ["f", "g"]),
        ("a.go", "func f() {\n\ttype t struct{}\n\tif a {\n\t\tb()\n\t}\n}\n", ["f", "t"]),
        ("a.rs", "fn f() {\n    fn g() {\n        h();\n    }\n}\n", ["f", "g"]),
        ("a.rs", "fn f()\nwhere\n    A: B,\n{\n    g();\n}\nfn h() {}\n", ["f", "h"]),
        ("a.java", "enum A {\n  ;void f() {\n  if (a) {\n  }\n  }\n}\n", ["A", "f"]),
        ("a.java", "record A(int a) {\n  int f() {\n    return a;\n  }\n}\n", ["A", "f"]),
        ("a.ts", "function f() {\n  const g = () => {\n    h();\n  };\n}\n", ["f", "g"]),
        ("a.ts", "class A {\n  f(): B {\n    return c;\n  }\n  g = 1;\n}\n", ["A", "f"]),
        ("a.js", "f(() => {\n  const { a } = require('./a');\n  g();\n});\n", []),
    ],
)  # fmt: skip
def test_what_is_inside_of_functions_hides_nothing(path: str, text: str, names: list[str]) -> None:
    """Definitions, their lines and imports are those of the whole text, though the index parses it
    without the insides of functions."""
    language = language_of(path)
    told = language.scan(text.encode(), path)
    whole = language.tree(text.encode(), path)
    assert told.names == names == [each.name for each in language.heads(whole)]
    lines = [each.line for each in language.heads(whole)]
    assert [each.line for each in unpack_symbols(told.symbols)] == lines
    assert told.imports == "\n".join(language.imports(whole, text).packed)


@pytest.mark.parametrize("path", ["a.go", "a.ts", "a.rs", "a.java"])
def test_looking_for_functions_takes_linear_time(path: str) -> None:
    """However braces and indentation are made, the look for functions takes seconds at most."""
    deep = "".join(f"{' ' * at}f() {{\n" for at in range(480)) + f"{'x' * 600}\n" * 1_300
    texts = [
        ") {\n" * 250_000,
        "a() {\n }\n" * 110_000,
        deep,
        "\n {\n" * 200_000,
        "func \n" * 160_000,
    ]
    language = language_of(path)
    started = time.process_time()
    for text in texts:
        syntax_tree._hollow(text.encode(), language.opening, language.kept)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    ["(" * 300_000, "{" * 300_000, "a<" * 150_000, "f(){" * 70_000, "`${" * 100_000, "!" * 300_000],
    ids=["round", "curly", "angle", "bodies", "templates", "signs"],
)
@pytest.mark.parametrize("path", ["a.go", "a.ts", "a.rs", "a.java"])
def test_no_text_keeps_a_parser_busy(path: str, text: str) -> None:
    """A text that would take a parser minutes, or all memory, is not read, and that is said."""
    source = "\n".join(text[at : at + 80] for at in range(0, len(text), 80)).encode()
    assert language_of(path).scan(source, path).blind[0].reason.startswith(("it ", "a "))


def test_methods_know_their_owner() -> None:
    """A method that is written outside of its type belongs to it all the same."""
    go = unpack_symbols(language_of("a.go").scan(GO["other/other.go"].encode()).symbols)
    assert [(each.name, each.parent) for each in go] == [("Thing", ""), ("Do", "Thing")]
    rust = b"struct S; impl Clone for S { fn clone(&self) -> S { S } }"
    heads = unpack_symbols(language_of("a.rs").scan(rust).symbols)
    assert [(each.name, each.parent) for each in heads] == [("S", ""), ("clone", "S")]


@pytest.mark.parametrize("odd", ["\f", "\v", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
async def test_lines_are_those_of_grep(tmp_path: Path, odd: str) -> None:
    """What Python alone takes for the end of a line moves no definition, in no language."""
    places = {
        "src/shape.tsx": (TYPESCRIPT, "//", "paint", 4),
        "other/other.go": (GO, "//", "Do", 5),
        "core/src/inner/mod.rs": (RUST, "//", "deep", 2),
        "src/main/java/org/acme/Area.java": (JAVA, "//", "size", 3),
        "tool.py": ({"tool.py": "import os\ndef run(): pass\n"}, "#", "run", 2),
    }
    files = {path: f"{mark} a{odd}b\n{held[path]}" for path, (held, mark, _, _) in places.items()}
    index = repository(tmp_path / "repo", files)
    for path, (_, _, name, line) in places.items():
        info = await index.get_module_info(path)
        assert info is not None
        methods = [each for one in info.classes for each in one.methods]
        found = [each.line_number for each in (*info.functions, *methods) if each.name == name]
        assert found == [line + 1], path
        users = await index.symbol_users(name, path)
        assert users.definitions == (f"{path}:{line + 1}",)


@pytest.mark.parametrize(
    ("path", "text", "packed"),
    [
        (
            "a.ts",
            "import {\n  size, // of it, and\n  /* the\n other */ area as a,\n} from './b'\n",
            ["import\t./b\tsize,area"],
        ),
        ("a.ts", 'import b from "https://host/b.ts"\n', ["import\thttps://host/b.ts\tdefault"]),
        ("a.go", "package a\n\nimport `b\n\tc`\n", ["import\tb c\t"]),
        ("a.rs", '#[path = "b\tc.rs"]\nmod d;\n', ["string\tb c.rs\t", "import\tself\td"]),
    ],
)
def test_an_import_is_stored_as_one_line(path: str, text: str, packed: list[str]) -> None:
    """Comments and line breaks inside of an import are no part of its names, or of its line."""
    assert language_of(path).scan(text.encode(), path).imports.split("\n") == packed


async def test_a_link_needs_the_file_at_its_end(tmp_path: Path) -> None:
    """Who imports a file by another name of it depends on it, and on no other."""
    folder = tmp_path / "repo"
    files = {
        "a/lib.rs": "mod help;\n",
        "b/help.rs": "pub fn f() {}\n",
        "b/lib.rs": "pub fn g() {}\n",
    }
    repository(folder, files)
    (folder / "a/help.rs").symlink_to("../b/help.rs")
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    indexer = CodebaseIndexer(folder, db_path=tmp_path / "index.db")
    found = await indexer.impact(["b/help.rs"])
    assert [each.path for each in found.dependents] == ["a/help.rs", "a/lib.rs"]
    (folder / "a/help.rs").unlink()
    (folder / "a/help.rs").write_text(files["b/help.rs"])
    assert (await indexer.impact(["b/help.rs"])).dependents == ()


@pytest.mark.parametrize(
    ("files", "changed", "dependents"),
    [
        (
            {
                "src/lib.rs": (
                    '#[cfg_attr(unix, path = "unix.rs")]\n'
                    '#[cfg_attr(windows, path = "windows.rs")]\nmod sys;\n'
                ),
                **dict.fromkeys(("src/unix.rs", "src/windows.rs", "src/sys.rs"), "fn f() {}\n"),
            },
            ["src/unix.rs", "src/windows.rs", "src/sys.rs"],
            ["src/lib.rs"],
        ),
        (
            {
                "a.ts": "import { b } from './b.js';\n",
                **dict.fromkeys(("b.js", "b.d.ts"), "export const b = 1;\n"),
            },
            ["b.js", "b.d.ts"],
            ["a.ts"],
        ),
        (
            {
                "a.ts": "declare module './b' {\n  interface B {}\n}\n",
                "b.ts": "export class B {}\n",
            },
            ["b.ts"],
            ["a.ts"],
        ),
    ],
    ids=["conditional paths", "declared beside", "augmented"],
)
async def test_every_file_that_a_name_may_mean_is_needed(
    tmp_path: Path, files: dict[str, str], changed: list[str], dependents: list[str]
) -> None:
    """Where the platform or the compiler decides which file an import means, all of them count."""
    indexer = repository(tmp_path / "repo", files)
    for path in changed:
        assert [each.path for each in (await indexer.impact([path])).dependents] == dependents, path
