"""Is a test of another language than Python gone, skipped, focused, or does it say less?

Pure. One table a language says which nodes of its syntax tree are tests, which switch them off or
leave all others out, and which are claims; comparing the two sides is the same for all. Without a
parser for the language it says so instead of passing what it did not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from self_coding.audit.files import File, Files, Kind
from self_coding.audit.syntax import Breaches, quote
from self_coding.languages import is_setting, is_source, language_of
from self_coding.languages.syntax_tree import Tree, TreeLanguage, line_of, text_of

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True)
class Table:
    """What is told of a language's tests.

    Attributes:
        tests: a query: each `@test` with its `@name`, and `@body` where that is not all of it.
        claims: a pattern of what a claim begins with; its strength is told by `weak`.
        weak: a pattern of claims that say little: that something is there, or true.
        off: a pattern of what switches a test off, in its head or body.
        focus: a pattern of what leaves out all tests but one.
        leaving: a pattern of a statement after which nothing of a test runs.
    """

    tests: str
    claims: str
    weak: str
    off: str
    focus: str = r"(?!)"
    leaving: str = r"return\b|process\.exit\b|os\.Exit\b|std::process::exit\b|System\.exit\b"


_CALLED = """
(call_expression
  function: [(identifier) @called (member_expression object: (identifier) @called)
    (member_expression object: (member_expression object: (identifier) @called))
    (call_expression function: (member_expression object: (identifier) @called))]
  arguments: (arguments . [(string) (template_string)] @name)) @test
"""
TABLES: Mapping[str, Table] = {
    "TypeScript and JavaScript": Table(
        tests=_CALLED,
        claims=r"(?:expect(?:TypeOf|\.\w+)?|assert(?:\.\w+)*|t\.(?:is|deepEqual|throws|true|false)|"
        r"chai\.\w+|should)\b",
        weak=r"toBe(?:Truthy|Falsy|Defined|Undefined|Null|InstanceOf)|not\.toThrow|toBeTypeOf|"
        r"assert(?:\.ok)?\(|\.(?:exist|ok|true)\b|expect\.anything|toHaveBeenCalled\(",
        off=r"\b(?:it|test|describe|suite|context)\.(?:skip|todo|skipIf|fails|failing)\b|"
        r"\bx(?:it|describe|test)\b|\bthis\.skip\(|\bt\.skip\(|\bskip\s*:\s*true|\btodo\s*:\s*true",
        focus=r"\b(?:it|test|describe|suite|context)\.only\b|\bf(?:it|describe)\(|\bonly\s*:\s*true",
    ),
    "Go": Table(
        tests="""(function_declaration name: (identifier) @name) @test
        (call_expression function: (selector_expression field: (field_identifier) @called)
          arguments: (argument_list . (interpreted_string_literal) @name)) @test""",
        claims=r"(?:[tb]\.(?:Error|Fatal|Errorf|Fatalf|Fail|FailNow)\b|(?:assert|require|is)\.\w+|"
        r"cmp\.Diff\b|// ?(?:Unordered )?[Oo]utput:)",
        weak=r"\.(?:NotNil|NoError|NotEmpty|True|False|NotPanics)\(",
        off=r"\b[tb]\.Skip(?:f|Now)?\(|testing\.Short\(\)|//go:build ignore|// \+build ignore",
    ),
    "Rust": Table(
        tests="(function_item name: (_) @name) @test",
        claims=r"(?:assert\w{0,80}!|panic!|unreachable!|\.unwrap\(\)|\.expect\(|\.unwrap_err\()",
        weak=r"assert!\(.{0,150}\bis_(?:some|ok|none|err)\(|\.unwrap\(\)|\.expect\(|assert!\((?!.{0,150}[=<>])",
        off=r"#\[ignore\b|#\[cfg\(any\(\)\)\]|#\[should_panic\]",
    ),
    "Java": Table(
        tests="(method_declaration name: (_) @name) @test",
        claims=r"(?:assert|verify|fail|expect|then)\w{0,80}\s*\(",
        weak=r"assert(?:NotNull|True|False|That\([^,\n]{0,200}\)\.(?:isNotNull|isTrue))",
        off=r"@(?:Disabled|Ignore)\b|\bassume(?:True|False|That)?\(|\babort\(|enabled\s*=\s*false",
    ),
}
_NAMED = {  # what is a test among what the query finds
    "TypeScript and JavaScript": re.compile(r"(?:[fx]?(?:it|test|specify)|bench)\Z"),
    "Go": re.compile(r"(?:Test|Fuzz|Example|Benchmark)(?:[^a-z]|\Z)|Run\Z"),
}
_ATTRIBUTE = {
    "Rust": re.compile(r"#\[(?:\w+::)*(?:test|rstest|bench|test_case|proptest)\b"),
    "Java": re.compile(r"@(?:\w*Test|TestFactory|Property)\b"),
}
_TRIVIAL = re.compile(
    r"expect\(\s*+(true|1|!0)\s*+\)\.(?:toBe|toEqual|toBeTruthy)\(\s*+(?:true|1)?+\s*+\)"
    r"|assert(?:\.ok)?\(\s*+(?:true|1)\b|assert(?:_eq)?!\(\s*+(?:true|(\w{1,60}+)\s*+,\s*+\2)\s*+\)"
    r"|assertTrue\(\s*+true\b|assert\.True\(\s*+\w{1,40}+,\s*+true\b|assertEquals\(\s*+(\w{1,60}+)\s*+,\s*+\3\s*+\)"
)
_EXAMPLE = re.compile(r"// ?(?:Unordered )?[Oo]utput:")  # which Go compares
_WORD = re.compile(r"[A-Za-z_]\w*")
_CARGO = re.compile(r"(?:^|/)(?:Cargo|nextest)\.toml$")
_NARROWED = re.compile(
    r"testPathIgnorePatterns|testNamePattern|passWithNoTests|--pass-with-no-tests|\bexclude\b.{0,200}test"
    r"|<(?:skipTests|skip|testFailureIgnore|maven\.test\.skip)>\s*true|ignoreFailures\s*=\s*true"
    r"|<exclude>[^<]*|\b(?:test|harness)\s*=\s*false|\|\|\s*(?:true|exit 0)|-DskipTests"
    r"|-run[ =]|-short\b|--test-name-pattern|-t[ =]['\"]"
)
_TOLERANCE = re.compile(r"toBeCloseTo\(|closeTo\(|InDelta\(|InEpsilon\(|abs\(\)\s*<|Offset\.")
_LEFT_OUT = re.compile(
    r"(?m)^(?://go:build|// \+build) .{0,200}\b(?:ignore|never)\b|^#!\[cfg\(any\(\)\)\]"
)


@dataclass(frozen=True)
class ForeignTest:
    """A test as the table shows it: its claims as text, and what switches it off."""

    line: int
    claims: tuple[str, ...]
    off: str
    body: str

    def is_in(self, other: ForeignTest) -> bool:
        """Return whether another test says all that this one does."""
        return self.body == other.body or bool(self.claims and {*self.claims} <= {*other.claims})


@dataclass(frozen=True)
class Module:
    """The tests of one file by name, and the lines that leave out all tests but some."""

    tests: Mapping[str, ForeignTest]
    focus: tuple[tuple[int, str], ...]
    error: bool


def audit_file(file: File, files: Files) -> Breaches:
    """Yield what a changed file takes from the tests of other languages than Python."""
    is_ours = is_setting(file.path) and not file.path.endswith((".py", ".toml"))
    if is_ours or _CARGO.search(file.path):
        had = {row.strip() for row in (file.old or "").split("\n")}
        for number, row in enumerate((file.new or "").split("\n"), 1):
            if row.strip() not in had and (match := _NARROWED.search(row)):
                yield "collection-narrowed", number, f"{quote(match[0])} makes fewer tests count"
    yield from _file_of_tests(file, files)


def _file_of_tests(file: File, files: Files) -> Breaches:
    """Yield what a changed test file of another language lost."""
    if file.path.endswith(".py") or not is_source(file.path) or file.old == file.new:
        return
    language = language_of(file.path)
    table = TABLES.get(language.name)
    judges = file.kind in {Kind.TEST, Kind.SUPPORT} or language.inline_tests
    if table is None or not judges or not isinstance(language, TreeLanguage):
        return
    if language.missing:
        if file.old is not None and file.kind is Kind.TEST:
            yield "test-unreadable", 0, language.missing
        return
    old = read(file.path, file.old, language, table)
    new = read(file.path, file.new, language, table)
    if new.error and not old.error and old.tests:
        yield "test-unparsable", 0, f"no longer parses as {language.name}"
        return
    if not _LEFT_OUT.search(file.old or "") and (match := _LEFT_OUT.search(file.new or "")):
        yield "skip-added", 0, f"the file is never built: {quote(match[0])}"
    had = {text for _, text in old.focus}
    for line, text in new.focus:
        if text not in had:
            yield "test-focused", line, f"{quote(text)} leaves out every other test"
    spare = _elsewhere(file, files, language, table)
    yield from _compare(file, old, new, spare, _withdrawn(files, language, table))


def _compare(
    file: File, old: Module, new: Module, spare: Counter[str], withdrawn: frozenset[str]
) -> Breaches:
    gone = [name for name in old.tests if name not in new.tests]
    added = {name: test for name, test in new.tests.items() if name not in old.tests}
    for name in gone:
        was = old.tests[name]
        heir = next((key for key, one in added.items() if was.is_in(one)), None)
        moved = was.claims and not Counter(was.claims) - spare
        if heir is not None:
            added.pop(heir)
        elif was.off or moved or withdrawn & {*_WORD.findall(was.body)}:
            continue
        elif file.new is None:
            few = ", ".join(gone[:3])
            yield "test-removed", 0, f"the file is gone with {len(gone)} tests: {few}"
            return
        else:
            yield "test-removed", 0, f"{name} is gone"
    for name, now in new.tests.items():
        before = old.tests.get(name)
        if before is None:
            continue
        if now.off and now.off != before.off:
            yield "skip-added", now.line, f"{name} is skipped: {quote(now.off)}"
        lost = Counter(before.claims) - Counter(now.claims) - spare
        for claim in [each for each in lost if withdrawn & {*_WORD.findall(each)}]:
            del lost[claim]
        fresh = [*(Counter(now.claims) - Counter(before.claims)).elements()]
        yield from _weaker(name, now.line, [*lost.elements()], fresh)


def _weaker(name: str, line: int, lost: list[str], fresh: list[str]) -> Breaches:
    """Yield claims that went without a successor, or whose successor says less."""
    trivial = [text for text in fresh if _TRIVIAL.search(text)]
    if trivial and lost:
        told = f"{quote(trivial[0])} cannot fail, and {quote(lost[0])} is gone"
        yield "assert-trivial", line, told
    elif len(fresh) < len(lost):
        yield "assert-removed", line, f"{name} no longer asserts {quote(lost[0])}"
    elif lost and sum(map(_strength, fresh)) < sum(map(_strength, lost)):
        weak = min(fresh, key=_strength)
        yield "assert-weakened", line, f"{name}: {quote(weak)} says less than {quote(lost[0])}"


def _strength(claim: str) -> int:
    if _TRIVIAL.search(claim):
        return 0
    if any(re.search(table.weak, claim) for table in TABLES.values()):
        return 1
    return 2 if _TOLERANCE.search(claim) else 3


def read(path: str, text: str | None, language: TreeLanguage, table: Table) -> Module:
    """Return the tests of one side of a file."""
    tree = language.tree((text or "").encode("utf-8", "surrogateescape"), path)
    if isinstance(tree, str):
        return Module({}, (), error=bool(text))
    tests: dict[str, ForeignTest] = {}
    focus = []
    around: list[tuple[int, str]] = []
    for node, name in _tests(tree, language, table):
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        full = " > ".join([*(each for _, each in around), name])
        around.append((node.end_byte, name))
        head = _head(node)
        body = f"{head}\n{text_of(node)}"
        claims = tuple(_claims(text_of(node), table))
        off = re.search(table.off, body)
        tests[full] = ForeignTest(line_of(node), claims, off[0] if off else "", text_of(node))
    for number, row in enumerate((text or "").split("\n"), 1):
        if match := re.search(table.focus, row.partition("//")[0]):
            focus.append((number, match[0]))
    return Module(tests, tuple(focus), error=tree.root.has_error)


def names_of_tests(path: str, text: str) -> frozenset[str]:
    """Return the names of the tests that a file of another language than Python defines."""
    language = language_of(path)
    table = TABLES.get(language.name)
    if table is None or not isinstance(language, TreeLanguage):
        return frozenset()
    return frozenset(read(path, text, language, table).tests)


def _tests(tree: Tree, language: TreeLanguage, table: Table) -> Iterator[tuple[Node, str]]:
    named, attribute = _NAMED.get(language.name), _ATTRIBUTE.get(language.name)
    found = []
    for _, held in tree.find(table.tests):
        [node], [name] = held["test"], held["name"]
        called = text_of(held["called"][0]) if "called" in held else text_of(name)
        if named is not None and not named.match(called):
            continue
        if attribute is not None and not attribute.search(_head(node)):
            continue
        found.append((node.start_byte, node, text_of(name).strip("\"'`")))
    for _, node, word in sorted(found, key=lambda each: each[0]):
        yield node, word


def _head(node: Node) -> str:
    """Return the attributes above a definition, or its modifiers."""
    lines = []
    above = node.prev_sibling
    while above is not None and above.type in ("attribute_item", "line_comment", "block_comment"):
        if above.type == "attribute_item":
            lines.append(text_of(above))
        above = above.prev_sibling
    lines += [text_of(each) for each in node.children if each.type == "modifiers"]
    return "\n".join(lines)


def _claims(text: str, table: Table) -> Iterator[str]:
    """Yield the claims of a test as its lines have them; what stands after an exit is none."""
    is_left, margin = False, None
    for statement in text.split("\n")[1:] or [text]:
        row = statement.strip()
        if not row or (row.startswith(("//", "*", "/*")) and not _EXAMPLE.match(row)):
            continue
        indent = statement[: -len(statement.lstrip())]
        margin = indent if margin is None else margin
        # An exit at the margin of the body, and not inside a branch, ends all of the test.
        is_left = is_left or (indent == margin and re.match(table.leaving, row) is not None)
        if not is_left and re.search(table.claims, row):
            yield " ".join(row.split())


def _withdrawn(files: Files, language: TreeLanguage, table: Table) -> frozenset[str]:
    """Return the words that the changed code of a language no longer holds, its tests apart."""
    code = [one for one in files.of(Kind.SOURCE) if one.path.endswith(language.suffixes)]
    sides: tuple[set[str], set[str]] = set(), set()
    for file in code:
        for words, text in zip(sides, (file.old or "", file.new or ""), strict=True):
            bodies = read(file.path, text, language, table).tests if language.inline_tests else {}
            for test in bodies.values():
                text = text.replace(test.body, "")  # noqa: PLW2901
            words.update(_WORD.findall(text))
    return frozenset(word for word in sides[0] - sides[1] if len(word) > 3)


def _elsewhere(file: File, files: Files, language: TreeLanguage, table: Table) -> Counter[str]:
    """Return the claims that other changed files of the language gained: a test may move."""
    gained: Counter[str] = Counter()
    for other in files.changed:
        if other.path != file.path and other.new and other.path.endswith(language.suffixes):
            sides = [read(other.path, text, language, table) for text in (other.old, other.new)]
            old, new = (Counter(c for t in one.tests.values() for c in t.claims) for one in sides)
            gained += new - old
    return gained
