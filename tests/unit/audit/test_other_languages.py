"""Cheats and honest changes in other languages than Python, read from the two sides."""

from __future__ import annotations

import pytest

from self_coding.audit import audit
from self_coding.languages import syntax_tree

TS = (
    "import { size } from './area';\n\ndescribe('size', () => {\n  it('squares', () => {\n"
    "    expect(size(3)).toBe(9);\n    expect(size(4)).toBe(16);\n  });\n"
    "  it('is none', () => {\n    expect(size(0)).toBe(0);\n  });\n});\n"
)
GO = (
    'package area\n\nimport "testing"\n\nfunc TestSquares(t *testing.T) {\n'
    '\tif got := Size(3); got != 9 {\n\t\tt.Errorf("got %d", got)\n\t}\n}\n\n'
    "func TestNone(t *testing.T) {\n\tassert.Equal(t, 0, Size(0))\n}\n"
)
RUST = (
    "pub fn size(r: u32) -> u32 { r * r }\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n"
    "    #[test]\n    fn squares() {\n        assert_eq!(size(3), 9);\n    }\n\n"
    "    #[test]\n    fn none() {\n        assert_eq!(size(0), 0);\n    }\n}\n"
)
JAVA = (
    "package a;\nclass AreaTest {\n    @Test\n    void squares() {\n"
    "        assertEquals(9, Area.size(3));\n    }\n\n    @Test\n    void none() {\n"
    "        assertEquals(0, Area.size(0));\n    }\n}\n"
)
FILES = {
    "ts": ("src/area.test.ts", TS),
    "go": ("area/area_test.go", GO),
    "rust": ("src/lib.rs", RUST),
    "java": ("src/test/java/a/AreaTest.java", JAVA),
}
CHEATS = {
    "ts it.only": ("ts", "test-focused", "  it('squares'", "  it.only('squares'"),
    "ts fit": ("ts", "test-focused", "  it('squares'", "  fit('squares'"),
    "ts describe.only": ("ts", "test-focused", "describe('size'", "describe.only('size'"),
    "ts it.skip": ("ts", "skip-added", "  it('squares'", "  it.skip('squares'"),
    "ts xit": ("ts", "skip-added", "  it('squares'", "  xit('squares'"),
    "ts todo": ("ts", "skip-added", "  it('squares'", "  it.todo('squares'"),
    "ts claim gone": ("ts", "assert-removed", "    expect(size(3)).toBe(9);\n", ""),
    "ts claim commented": ("ts", "assert-removed", "    expect(size(3))", "    // expect(size(3))"),
    "ts truthy": (
        "ts",
        "assert-weakened",
        "expect(size(3)).toBe(9)",
        "expect(size(3)).toBeTruthy()",
    ),
    "ts close to": ("ts", "assert-weakened", ".toBe(9)", ".toBeCloseTo(9, -2)"),
    "ts trivial": ("ts", "assert-trivial", "expect(size(3)).toBe(9)", "expect(true).toBe(true)"),
    "ts early end": (
        "ts",
        "assert-removed",
        "    expect(size(3))",
        "    return;\n    expect(size(3))",
    ),
    "ts test gone": (
        *(
            "ts",
            "test-removed",
            "  it('is none', () => {\n    expect(size(0)).toBe(0);\n  });\n",
            "",
        ),
    ),
    "go skip": ("go", "skip-added", "\tif got", '\tt.Skip("later")\n\tif got'),
    "go claim gone": ("go", "assert-removed", '\t\tt.Errorf("got %d", got)\n', ""),
    "go log instead": ("go", "assert-removed", "t.Errorf(", "t.Logf("),
    "go weaker": (
        "go",
        "assert-weakened",
        "assert.Equal(t, 0, Size(0))",
        "assert.NotNil(t, Size(0))",
    ),
    "go renamed out": ("go", "test-removed", "func TestSquares", "func testSquares"),
    "go build tag": ("go", "skip-added", "package area", "//go:build ignore\n\npackage area"),
    "rust ignore": (
        "rust",
        "skip-added",
        "    #[test]\n    fn squares",
        "    #[test]\n    #[ignore]\n    fn squares",
    ),
    "rust attribute gone": (
        "rust",
        "test-removed",
        "    #[test]\n    fn squares",
        "    fn squares",
    ),
    "rust claim gone": ("rust", "assert-removed", "        assert_eq!(size(3), 9);\n", ""),
    "rust test gone": (
        "rust",
        "test-removed",
        "    #[test]\n    fn none() {\n        assert_eq!(size(0), 0);\n    }\n",
        "",
    ),
    "rust trivial": ("rust", "assert-trivial", "assert_eq!(size(3), 9)", "assert!(true)"),
    "rust should panic": (
        "rust",
        "skip-added",
        "    #[test]\n    fn squares",
        "    #[test]\n    #[should_panic]\n    fn squares",
    ),
    "java disabled": (
        "java",
        "skip-added",
        "    @Test\n    void squares",
        "    @Disabled\n    @Test\n    void squares",
    ),
    "java annotation gone": (
        "java",
        "test-removed",
        "    @Test\n    void squares",
        "    void squares",
    ),
    "java assume": (
        "java",
        "skip-added",
        "        assertEquals(9",
        "        assumeTrue(false);\n        assertEquals(9",
    ),
    "java claim gone": ("java", "assert-removed", "        assertEquals(9, Area.size(3));\n", ""),
    "java weaker": (
        "java",
        "assert-weakened",
        "assertEquals(9, Area.size(3))",
        "assertNotNull(Area.size(3))",
    ),
    "java trivial": ("java", "assert-trivial", "assertEquals(9, Area.size(3))", "assertTrue(true)"),
    "ts a function": (
        "ts",
        "assert-trivial",
        "expect(size(3)).toBe(9)",
        "assert.ok(() => size(3) === 9)",
    ),
    "ts values of a map": (
        "ts",
        "skip-added",
        "    expect(size(3))",
        "    const all = new Map([[3, 9]]);\n"
        "    for (const r of Object.values(all)) expect(size(r));\n"
        "    expect(size(3))",
    ),
    "ts a timer": (
        "ts",
        "assert-removed",
        "    expect(size(3)).toBe(9);\n",
        "    setTimeout(() => {\n      expect(size(3)).toBe(9);\n    });\n",
    ),
    "go another T": ("go", "skip-added", "\tif got", "\tt = new(testing.T)\n\tif got"),
    "go expects an answer": (
        "go",
        "assert-weakened",
        "assert.Equal(t, 0, Size(0))",
        "assert.Equal(t, Size(0), Size(0))",
    ),
    "rust a thread": (
        "rust",
        "assert-removed",
        "        assert_eq!(size(3), 9);\n",
        "        std::thread::spawn(|| {\n            assert_eq!(size(3), 9);\n        });\n",
    ),
    "rust expects an answer": (
        "rust",
        "assert-weakened",
        "assert_eq!(size(3), 9)",
        "assert_eq!(size(3), size(3))",
    ),
    "java a lazy stream": (
        "java",
        "assert-removed",
        "assertEquals(9, Area.size(3));",
        "IntStream.of(3).peek(r -> assertEquals(9, Area.size(r)));",
    ),
}
HONEST = {
    "ts another value": ("ts", "toBe(9)", "toBe(10)"),
    "ts a test more": (
        "ts",
        "  it('is none'",
        "  it('doubles', () => {\n    expect(1).toBe(1);\n  });\n  it('is none'",
    ),
    "ts renamed": ("ts", "it('squares'", "it('squares a number'"),
    "ts stricter": ("ts", "toBe(9)", "toStrictEqual(9)"),
    "go renamed": ("go", "TestNone", "TestNothing"),
    "go a claim more": (
        "go",
        "\tassert.Equal(t, 0",
        "\tassert.Equal(t, 1, Size(1))\n\tassert.Equal(t, 0",
    ),
    "rust renamed": ("rust", "fn squares", "fn squares_a_number"),
    "rust unskipped": ("rust", "pub fn size", "/// Squares.\npub fn size"),
    "java renamed": ("java", "void squares", "void squaresANumber"),
    "java stronger": ("java", "assertEquals(0,", "assertSame(0,"),
}


def findings(language: str, old: str, new: str) -> set[str]:
    path, text = FILES[language]
    assert old in text
    changed = text.replace(old, new, 1).encode()
    return {one.rule for one in audit([path], before={path: text.encode()}, after={path: changed})}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_refused(name: str) -> None:
    """Each way to make a test say less is refused by its rule."""
    language, rule, old, new = CHEATS[name]
    assert rule in findings(language, old, new)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_change_is_not(name: str) -> None:
    """A value that follows, a name, a test more: nothing is said."""
    assert findings(*HONEST[name]) == set()


@pytest.mark.parametrize("language", ["ts", "go", "java"])
def test_a_file_of_tests_that_is_gone_is_missed(language: str) -> None:
    """Removing tests together with their file is refused."""
    path, text = FILES[language]
    found = audit([path], before={path: text.encode()}, after={path: None})
    assert {one.rule for one in found} == {"test-removed"}


def test_tests_of_withdrawn_code_may_go() -> None:
    """Where the code that a test names is removed, the test may go with it."""
    path, text = FILES["go"]
    code = "package area\n\nfunc Size(r int) int { return r * r }\n"
    before = {path: text.encode(), "area/area.go": code.encode()}
    after = {path: b"package area\n", "area/area.go": b"package area\n"}
    assert audit(before, before=before, after=after) == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("jest.config.js", "module.exports = { testPathIgnorePatterns: ['area'] };\n"),
        ("package.json", '{"scripts": {"test": "vitest run || true"}}\n'),
        ("pom.xml", "<project><skipTests>true</skipTests></project>\n"),
        ("Cargo.toml", "[lib]\ntest = false\n"),
        ("build.gradle", "test { ignoreFailures = true }\n"),
    ],
)
def test_settings_that_run_less_are_refused(path: str, text: str) -> None:
    """A setting of another runner that leaves tests out, or lets failures pass, is refused."""
    found = audit([path], before={path: b"\n"}, after={path: text.encode()})
    assert "collection-narrowed" in {one.rule for one in found}


def test_what_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the parser a changed test file is refused with the words that say what to install."""
    monkeypatch.setattr(syntax_tree, "_is_there", lambda package: False)
    path, text = FILES["go"]
    [found] = audit([path], before={path: text.encode()}, after={path: b"package area\n"})
    assert found.rule == "test-unreadable"
    assert "self-coding[languages]" in found.message


def told(before: dict[str, str], after: dict[str, str]) -> list[str]:
    sides = [{p: side[p].encode() if p in side else None for p in {*before, *after}}
             for side in (before, after)]  # fmt: skip
    return sorted({one.rule for one in audit(sides[0], before=sides[0], after=sides[1])})


def go(body: str, name: str = "TestSize") -> str:
    return f"package area\n\nfunc {name}(t *testing.T) {{\n{body}}}\n"


CHECK = "\tassert.Equal(t, 9, Size(3))\n"
FATAL = '\ta, err := Open()\n\tif err != nil {\n\t\tt.Fatal(err)\n\t}\n'  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        (FATAL + CHECK, "\ta := Must(t)\n" + CHECK, []),
        (FATAL, "", ["assert-removed"]),
        (CHECK, "\tif !built {\n\t\tt.Skip()\n\t}\n" + CHECK, []),
        (CHECK, '\tif os.Getenv("CI") != "" {\n\t\tt.Skip()\n\t}\n' + CHECK, ["skip-added"]),
        (CHECK, "\tt.Skip()\n" + CHECK, ["skip-added"]),
        (
            CHECK + CHECK.replace("9", "4").replace("3", "2"),
            "\tfor _, c := range []pair{{3, 9}, {2, 4}} {\n"
            "\t\tassert.Equal(t, c.want, Size(c.given))\n\t}\n",
            [],
        ),
        (
            CHECK + "\tassert.Equal(t, none, Size(zero))\n",
            "\tfor _, c := range []pair{{3, 9}, {zero, none}} {\n"
            "\t\tassert.Equal(t, c.want, Size(c.given))\n\t}\n",
            [],
        ),
        (
            CHECK + "\tassert.Equal(t, none, Size(zero))\n\tassert.Equal(t, none, Size(less))\n",
            "\tfor _, c := range []pair{{3, 9}, {zero, 0}} {\n"
            "\t\tassert.Equal(t, c.want, Size(c.given))\n\t}\n",
            ["assert-removed"],
        ),
    ],
)
def test_what_people_do_to_a_test_in_go(old: str, new: str, rules: list[str]) -> None:
    """Checks of the set-up may go, a skip on a condition is left to the run, and a table may hold
    what was claimed one by one; what is not in it, or skips always or elsewhere, is missed."""
    path = "area/area_test.go"
    assert told({path: go(old)}, {path: go(new)}) == rules


def test_a_test_may_be_one_of_two_or_empty_or_only_run() -> None:
    """A test that says nothing, or what another one says, may go; one that says more may not."""
    path, kept = "area/area_test.go", go(CHECK + "\tRun(Size)\n")
    for body, rules in [
        ("", []),
        (CHECK, []),
        ("\tRun(Size)\n", []),
        ("\tRun(Other)\n", ["test-removed"]),
        ("\tassert.Equal(t, 1, Size(1))\n", ["test-removed"]),
    ]:
        old = kept + go(body, "TestOther").partition("\n\n")[2]
        assert told({path: old}, {path: kept}) == rules


def test_tests_in_a_macro_are_read() -> None:
    """Tests that a macro of Rust writes count as what it claims: in the place of others, and when
    they go."""
    path = "tests/area.rs"
    plain = "#[test]\nfn squares() {\n    assert_eq!(size(3), 9);\n}\n"
    macro = (
        "macro_rules! tests {\n    ($size:ident) => {\n        #[test]\n        fn squares() {\n"
        "            assert_eq!($size(3), 9);\n            assert_eq!($size(0), 0);\n        }\n"
        "    };\n}\ntests!(size);\n"
    )
    assert told({path: plain}, {path: macro}) == []
    less = macro.replace("            assert_eq!($size(0), 0);\n", "")
    assert told({path: macro}, {path: less}) == ["assert-removed"]


def test_a_benchmark_is_no_test() -> None:
    """What measures may go or move, and needs no harness; a test's may not be switched off."""
    path = "benches/area.rs"
    bench = "#[bench]\nfn squares(b: &mut Bencher) {\n    b.iter(|| assert_eq!(size(3), 9));\n}\n"
    assert told({path: bench}, {}) == []
    for head, rules in [("[[bench]]", []), ("[[test]]", ["collection-narrowed"])]:
        text = f"{head}\nname = 'area'\nharness = false\n"
        assert told({"Cargo.toml": ""}, {"Cargo.toml": text}) == rules


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("package.json", '{"scripts": {"test": "vitest --run --typecheck"}}'),
        ("go.mod", "exclude github.com/stretchr/testify v1.8.2"),
        ("tsconfig.json", '{"exclude": ["test"]}'),
        ("tox.ini", "[flake8]\nexclude = tests"),
        ("pom.xml", "<exclude>META-INF/LICENSE</exclude>"),
    ],
)
def test_settings_of_other_things_are_not_those_of_tests(path: str, line: str) -> None:
    """What is built, checked or packed without the tests does not run fewer of them."""
    assert told({path: ""}, {path: line + "\n"}) == []


def test_assertions_that_become_loose_say_less() -> None:
    """In the place of node's strict assertions, those that only compare with `==` are refused."""
    test = 'it("squares", () => {\n  assert.equal(size(3), 9);\n});\n'
    strict = f'import assert from "node:assert/strict";\n{test}'
    loose = strict.replace("/strict", "")
    assert told({"area.test.js": strict}, {"area.test.js": loose}) == ["assert-weakened"]
    assert told({"area.test.js": loose}, {"area.test.js": strict}) == []


def test_parallel_tests_of_an_old_go_share_the_variable_of_the_loop() -> None:
    """Tests that run after their loop see its last row only, before Go 1.22 and without a copy."""
    path, run = "area/area_test.go", "\t\tt.Run(c.name, func(t *testing.T) {\n"
    rows = (
        f"\tfor _, c := range cases {{\n{run}\t\t\tassert.Equal(t, c.n, Size(c.r))\n\t\t}})\n\t}}\n"
    )
    late = rows.replace(run, run + "\t\t\tt.Parallel()\n")
    copied = late.replace(run, "\t\tc := c\n" + run)
    for mod, new, rules in [
        ("go 1.19", late, ["assert-unreachable"]),
        ("go 1.19", copied, []),
        ("go 1.22", late, []),
    ]:
        before = {path: go(rows).encode(), "go.mod": f"module area\n\n{mod}\n".encode()}
        found = audit([path], before=before, after={path: go(new).encode()})
        assert [one.rule for one in found] == rules


def test_what_waits_for_its_threads_and_streams_says_as_much() -> None:
    """A claim in a thread that is joined, or in a stream that is collected, is a claim."""
    old, said = RUST, "        assert_eq!(size(3), 9);\n"
    joined = f"        std::thread::spawn(|| {{\n    {said}        }}).join().unwrap();\n"
    assert told({"src/lib.rs": old}, {"src/lib.rs": old.replace(said, joined)}) == []
    claim = "assertEquals(9, Area.size(3));"
    ended = "IntStream.of(3).peek(r -> assertEquals(9, Area.size(3))).sum();"
    path = "src/test/java/a/AreaTest.java"
    assert told({path: JAVA}, {path: JAVA.replace(claim, ended)}) == []


def test_where_code_changes_most_of_what_a_test_says_is_enough() -> None:
    """With the code, a claim of several may go, and a test beside others about the same; without,
    neither may."""
    path, claims = (
        "src/area.test.ts",
        "    expect(size(4)).toBe(16);\n    expect(size(5)).toBe(25);\n",
    )
    old = TS.replace("    expect(size(4)).toBe(16);\n", claims)
    fewer = old.replace("    expect(size(5)).toBe(25);\n", "")
    gone = old.replace("  it('is none', () => {\n    expect(size(0)).toBe(0);\n  });\n", "")
    code = "export function size(r) {\n  return r * r;\n}\n"
    before = {path: old, "src/area.ts": code}
    for new, rule in [(fewer, "assert-removed"), (gone, "test-removed")]:
        assert told(before, {path: new, "src/area.ts": code.replace("r * r", "r ** 2")}) == []
        assert told(before, {path: new, "src/area.ts": code}) == [rule]


def test_a_long_file_is_no_reason_to_say_less() -> None:
    """A test that drops more than its most part is refused, however little of its file that is."""
    path, code = "area/area_test.go", "package area\n\nfunc Size(r int) int { return r * r }\n"
    asks = "\tassert.Equal(t, 1, Side(1))\n\tassert.Equal(t, 2, Side(2))\n"
    new = GO + "".join(go(f"\tassert.Equal(t, {n}, Size({n}))", f"TestOf{n}") for n in range(60))
    old = new.replace("\tassert.Equal(t, 0, Size(0))\n", "\tassert.Equal(t, 0, Size(0))\n" + asks)
    before = {path: old, "area/area.go": code}
    for now in (code, code.replace("r * r", "r * r * 1")):
        assert told(before, {path: new, "area/area.go": now}) == ["assert-removed"]


def test_a_condition_of_a_test_is_not_its_name() -> None:
    """A test that no longer depends on a condition is the same test."""
    path = "src/area.test.ts"
    old = TS.replace("it('squares'", "it.skipIf(typeof use === 'function')('squares'")
    assert told({path: old}, {path: TS}) == []
    less = TS.replace("    expect(size(3)).toBe(9);\n", "")
    assert told({path: old}, {path: less}) == ["assert-removed"]


def test_a_name_may_be_put_together() -> None:
    """A test whose name is an expression is a test."""
    path = "src/area.test.ts"
    old = TS.replace("'squares'", "'squares ' + kind")
    assert told({path: old}, {path: old.replace("    expect(size(3)).toBe(9);\n", "")}) == [
        "assert-removed"
    ]
