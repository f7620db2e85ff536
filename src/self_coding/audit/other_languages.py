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
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from self_coding.audit.files import File, Files, Kind
from self_coding.audit.syntax import Breaches, finding, quote
from self_coding.languages import is_source, language_of
from self_coding.languages.syntax_tree import Tree, TreeLanguage, line_of, text_of
from self_coding.values.verdicts import Finding

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True)
class Table:
    """What is told of a language's tests.

    Attributes:
        tests: a query: each `@test` with its `@name`, and `@called` where that is not all of it.
        named: a pattern of what is a test among these, by what is called or defined.
        groups: a pattern of what only gives the tests inside it the first part of their names.
        attribute: a pattern of what stands above a test; inside of a macro, where tests are
            written that no parser sees.
        claims: a pattern of what a claim begins with; its strength is told by `weak`.
        weak: a pattern of claims that say little: that something is there, or true.
        faint: a pattern of claims that count only where a test has no others.
        off: a pattern of what switches a test off, in its head or among its own statements.
        focus: a pattern of what leaves out all tests but one.
        idle: a pattern over a whole test: what loops over nothing, or tells its failure to nobody.
        aside: a pattern of what starts a block that runs beside the test; `joined` waits for it.
        exact: a pattern of what makes all claims of a file exact.
    """

    tests: str
    claims: str
    weak: str
    off: str
    named: str = ""
    groups: str = r"(?!)"
    attribute: str = ""
    faint: str = r"(?!)"
    focus: str = r"(?!)"
    idle: str = r"(?!)"
    aside: str = r"(?!)"
    joined: str = (
        r"\bjoin\(|\bawait\b|\.Wait\(|<-|\.get\(|\.recv\(|\blatch\b|\bscope\b|[cC]ollect\b"
        r"|\b(?:count|reduce|fold|sum|last|all|any|find\w*|to(?:List|Array|Set)|\w+Match|for_?[eE]ach)\("
    )
    exact: str = r"(?!)"


TABLES: dict[str, Table] = {  # by the name of the language; one from elsewhere adds its own
    "TypeScript and JavaScript": Table(
        tests="""(call_expression
          function: [(identifier) @called (member_expression object: (identifier) @called)
            (member_expression object: (member_expression object: (identifier) @called))
            (call_expression function: (member_expression object: (identifier) @called))]
          arguments: (arguments . [(string) (template_string) (binary_expression)] @name)) @test""",
        named=r"[fx]?(?:it|test|specify)\Z",
        groups=r"[fx]?(?:describe|suite|context)\Z",
        claims=r"\b(?:expect(?:TypeOf|\.\w+)?|assert(?:\.\w+)*|t\.(?:is|deepEqual|throws|true|false)|"
        r"chai\.\w+|should|(?:assert|expect|verify|should)[A-Z]\w*(?=\())\b",
        weak=r"\.fail\(|toBe(?:Truthy|Falsy|Defined|Undefined|Null|InstanceOf)|not\.toThrow|toBeTypeOf|"
        r"assert(?:\.ok)?\(|\.(?:exist|ok|true)\b|expect\.anything|toHaveBeenCalled\(",
        off=r"\b(?:it|test|describe|suite|context)\.(?:skip|todo|fails|failing)\b|"
        r"\bx(?:it|describe|test)\b|\b(?:this|t)\.skip\(|\b(?:skip|todo)\s*:\s*(?:true|['\"])",
        focus=r"\b(?:it|test|describe|suite|context)\.only\b|\bf(?:it|describe)\(|\bonly\s*:\s*true",
        idle=r"\b(\w+) = new (?:Map|Set)\b[^\0]{0,500}Object\.(?:keys|values|entries)\(\1\)",
        aside=r"\bset(?:Timeout|Immediate|Interval)\(|\bqueueMicrotask\(|\bnextTick\(",
        exact=r"\bassert/strict\b|\bassert\.strict\b|\{ ?strict\b",
    ),
    "Go": Table(
        tests="""(function_declaration name: (identifier) @name) @test
        (call_expression function: (selector_expression field: (field_identifier) @called)
          arguments: (argument_list . (interpreted_string_literal) @name)) @test""",
        named=r"(?:Test|Fuzz|Example)(?:[^a-z]|\Z)|Run\Z",
        claims=r"\b[tb]\.(?:Error|Fatal|Errorf|Fatalf|Fail|FailNow)\b|\b(?:assert|require|is)\.\w+|"
        r"\b(?:assert|require|verify|expect|must)[A-Z]\w*\(|"
        r"\bcmp\.Diff\b|// ?(?:Unordered )?[Oo]utput:",
        weak=r"\.(?:NotNil|NoError|NotEmpty|True|False|NotPanics)\(|^if (?:[^=<>]*|.*[!=]= nil) \{",
        faint=r"^if .*\berr\w* != nil|^if len\(errs?\) > 0|\.NoError\(",
        off=r"\b[tb]\.Skip(?:f|Now)?\(",
        idle=r"(?m)^[ \t]*+[tb] :?= (?:&testing\.|new\(testing\.)",
        aside=r"\bgo func\b",
    ),
    "Rust": Table(
        tests="(function_item name: (_) @name) @test (macro_definition name: (_) @name) @test"
        " (macro_invocation macro: (_) @name) @test",
        attribute=r"#\[(?:\w+::)*(?:test|rstest|test_case|proptest)\b",
        claims=r"\b(?:assert\w{0,80}|panic|unreachable)!|\b(?:assert|check|verify|expect)_\w+\(|\.(?:unwrap|expect)\w{0,4}\(",
        weak=r"assert!\(.{0,150}\bis_(?:some|ok|none|err)\(|\.(?:unwrap|expect)\(|assert!\((?!.{0,150}[=<>])",
        faint=r"\A(?!.*(?:assert\w{0,80}|panic|unreachable)!).*\.(?:unwrap|expect)\(",
        off=r"#\[ignore\b|#\[cfg\(any\(\)\)\]|#\[should_panic\]",
        aside=r"\bspawn\(|\.(?:map|inspect|filter)\(\|",
    ),
    "Java": Table(
        tests="(method_declaration name: (_) @name) @test",
        attribute=r"@(?:\w*Test|TestFactory|Property)\b",
        claims=r"\b(?:assert|verify|fail|expect|then)\w{0,80}\s*\(",
        weak=r"assert(?:NotNull|True|False|That\([^,\n]{0,200}\)\.(?:isNotNull|isTrue))",
        off=r"@(?:Disabled|Ignore)\b|\bassume\w{0,20}\((?:true|false)\b|\babort\(|enabled\s*=\s*false",
        aside=r"\brunAsync\(|\bnew Thread\(|\.(?:submit|execute)\(|\.(?:peek|map|filter)\(\w+ ->",
    ),
}
# A way out of a test that is written for all to see: what follows on it is never reached.
_LEAVING = re.compile(
    r"(?:return(?: (?:null|undefined|nil|Ok\(\(\)\)))?;?$|process\.exit|os\.Exit|std::process::exit|System\.exit)\b"
    r"|return;?$"
)
_TRIVIAL = re.compile(
    r"expect\(\s*+(true|1|!0)\s*+\)\.(?:toBe|toEqual|toBeTruthy)\(\s*+(?:true|1)?+\s*+\)"
    r"|assert(?:\.ok)?\(\s*+(?:true|1)\b|assert(?:_eq)?!\(\s*+(?:true|(\w{1,60}+)\s*+,\s*+\2)\s*+\)"
    r"|assert(?:\.ok)?\(\s*+(?:async )?(?:\([\w, ]{0,80}\)|\w{1,60}) =>"
    r"|assertTrue\(\s*+true\b|assert\.True\(\s*+\w{1,40}+,\s*+true\b|assertEquals\(\s*+(\w{1,60}+)\s*+,\s*+\3\s*+\)"
)
_EXAMPLE = re.compile(r"// ?(?:Unordered )?[Oo]utput:")  # which Go compares
_GO_FAILS = re.compile(r"\b[tb]\.(?:Error|Fatal|Fail)")
_TEXT = re.compile(r"""b?"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\b\d\w*""")
_NAME = re.compile(
    r"(?<!\w)(?!(?:if|for|while|switch|assert|expect|require|t|it|test|describe)\b)[A-Za-z_]\w*+(?=\()"
    r"|\b[A-Z]\w+"
)
_LOOP = re.compile(r"\b(?:for|forEach|each)\b")
_WORD = re.compile(r"[A-Za-z_]\w*")
# what a skip may depend on that says another thing tomorrow, or elsewhere, than in the run
_CHANGES = re.compile(
    r"(?i)\bprocess\.env\b|getenv|lookupenv|env::var|\bdate\b|\bnow\(|random|\bargs?v?\b"
)
_TOLERANCE = re.compile(r"toBeCloseTo\(|closeTo\(|InDelta\(|InEpsilon\(|abs\(\)\s*<|Offset\.")
_LEFT_OUT = re.compile(
    r"(?m)^(?://go:build|// \+build) .{0,200}\b(?:ignore|never)\b|^#!\[cfg\(any\(\)\)\]"
)
_TURNS = re.compile(r"\bfor \w+, (\w+) := range\b")
_ALIKE = 0.4  # of the words of two tests


@dataclass(frozen=True)
class ForeignTest:
    """A test as the table shows it: its claims as text, and what switches it off."""

    line: int
    claims: tuple[str, ...]
    off: str
    text: str
    body: str

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that it is written with."""
        return frozenset(_WORD.findall(self.body or self.text))

    @cached_property
    def names(self) -> frozenset[str]:
        """What it calls, and the types that it names."""
        return frozenset(_NAME.findall(_TEXT.sub("", self.body or self.text)))

    @cached_property
    def strength(self) -> int:
        """How much it claims in all."""
        return sum(map(_strength, self.claims))

    def likeness(self, other: ForeignTest) -> float:
        """Return the share of the names of code that both have in common."""
        return len(self.names & other.names) / (len(self.names | other.names) or 1)


@dataclass(frozen=True)
class Module:
    """The tests of one file by name, and the lines that leave out all tests but some."""

    tests: Mapping[str, ForeignTest]
    focus: tuple[tuple[int, str], ...]
    error: bool


def audit_tests(files: Files) -> Iterator[Finding]:
    """Yield what the changed tests of other languages than Python lost."""
    for name, table in TABLES.items():
        own = [
            file
            for file in files.changed
            if is_source(file.path) and language_of(file.path).name == name
        ]
        language = language_of(own[0].path) if own else None
        if not isinstance(language, TreeLanguage):
            continue
        change = _Change(own, files, language, table)
        for file in own:
            judges = file.kind in {Kind.TEST, Kind.SUPPORT} or language.inline_tests
            for rule, line, said in change.file(file) if judges else ():
                yield finding(rule, file.path, line, said)


class _Change:
    """The tests of one language on both sides of a change, and what becomes of its code."""

    def __init__(self, own: list[File], files: Files, language: TreeLanguage, table: Table) -> None:
        self.language, self.table, self.go_mod = language, table, files.go_mod
        self.spare: Counter[str] = Counter()  # claims that tests gained
        self.added: list[tuple[str, str, ForeignTest]] = []
        tests: list[list[ForeignTest]] = [[], []]
        code: list[list[str]] = [[], []]
        for file in own if not language.missing else ():
            both = [read(file.path, text) for text in (file.old, file.new)]
            for name, test in both[1].tests.items():
                had = both[0].tests.get(name)
                self.spare += Counter(test.claims) - Counter(had.claims if had else ())
                self.added += [] if had else [(file.path, name, test)]
            bodies = [test.text for module in both for test in module.tests.values()]
            for at, text in enumerate((file.old or "", file.new or "")):
                tests[at] += both[at].tests.values()
                for body in bodies:
                    text = text.replace(body, "")  # noqa: PLW2901
                code[at] += _code(text, table) if file.kind is Kind.SOURCE else ()
        lost, fresh = (Counter(a) - Counter(b) for a, b in (code, code[::-1]))
        self.touches = bool(lost or fresh) or bool(files.of(Kind.OTHER))
        words, words_now = ({*_WORD.findall("\n".join(lines))} for lines in code)
        # The words that the code no longer holds and, where it shrinks, of what is cut.
        self.gone = {word for word in words - words_now if len(word) > 3}
        if lost.total() >= fresh.total() + 3:
            self.gone |= {w for w in _WORD.findall("\n".join(lost)) if len(w) > 4}
        self.tests = tests[1]
        self.renewed = _is_renewed(tests[0], tests[1], 0.5 if self.touches else 0.8)

    def file(self, file: File) -> Breaches:
        """Yield what the tests of one file lost."""
        if file.old == file.new:
            return
        if self.language.missing:
            if file.old is not None and file.kind is Kind.TEST:
                yield "test-unreadable", 0, self.language.missing
            return
        old, new = read(file.path, file.old), read(file.path, file.new)
        if new.error and not old.error and old.tests:
            yield "test-unparsable", 0, f"no longer parses as {self.language.name}"
            return
        if not _LEFT_OUT.search(file.old or "") and (match := _LEFT_OUT.search(file.new or "")):
            yield "skip-added", 0, f"the file is never built: {quote(match[0])}"
        strict, strict_now = (re.search(self.table.exact, s or "") for s in (file.old, file.new))
        if strict and not strict_now and re.search(r"assert\.\w+", file.new or ""):
            yield "assert-weakened", 0, "its claims compare loosely now"
        # before Go 1.22 all turns of a loop share its variable, of which the last value is left
        is_shared = re.search(r"(?m)^go 1\.(?:\d|1\d|2[01])\b", self.go_mod)
        for turn in islice(_TURNS.finditer(file.new or ""), 500) if is_shared else ():
            body = re.split(r"\n\t?}\n", turn.string[turn.end() : turn.end() + 3000])[0]
            before, runs, after = body.partition(f".Run({turn[1]}")
            shares = f"{turn[1]} := {turn[1]}\n" not in before and ".Parallel()" in after
            if runs and shares and body not in (file.old or ""):
                yield "assert-unreachable", 0, f"all parallel tests see the last {turn[1]} alone"
                break
        had = {text for _, text in old.focus}
        for line, text in new.focus:
            if text not in had:
                yield "test-focused", line, f"{quote(text)} leaves out every other test"
        share = 0.4 if self.touches else 0.6
        tests, tests_now = ([*side.tests.values()] for side in (old, new))
        renewed = self.renewed or _is_renewed(tests, tests_now, share)
        yield from self._missed(file, old, new, renewed=renewed)
        for name, now in new.tests.items():
            if (before := old.tests.get(name)) is not None:
                # Where code changes, most of what a test said may stay and the rest go.
                most = self.touches and now.strength >= 0.6 * before.strength
                yield from self._compare(name, before, now, renewed=renewed or most)

    def _missed(self, file: File, old: Module, new: Module, *, renewed: bool) -> Breaches:
        """Yield the tests that are gone and not accounted for."""
        gone = {name: test for name, test in old.tests.items() if name not in new.tests}
        missed = []
        for name, was in gone.items():
            heir = self._heir(file.path, name, was)
            if heir is not None and heir.off and not was.off:
                yield "skip-added", heir.line, f"{name} is skipped: {quote(heir.off)}"
            elif heir is None and not renewed and not self._accounts_for(was, new):
                missed.append(name)
        if missed and file.new is None:
            few = ", ".join(missed[:3])
            yield "test-removed", 0, f"the file is gone with {len(missed)} tests: {few}"
        for name in missed if file.new is not None else ():
            yield "test-removed", 0, f"{name} is gone"

    def _heir(self, path: str, name: str, was: ForeignTest) -> ForeignTest | None:
        """Return the added test that is one that went under another name or in another place, or
        that says about as much in mostly the same words; each stands in for one at most."""
        last = name.rpartition(" > ")[2]
        enough = 0.7 * was.strength
        found = (
            next(filter(said, self.added), None)
            for said in (
                lambda one: one[2].body == was.body != "",
                lambda one: bool(was.claims) and {*was.claims} <= {*one[2].claims},
                lambda one: one[1].endswith(last) and one[2].strength >= was.strength,
                lambda one: was.likeness(one[2]) >= _ALIKE and one[2].strength >= enough,
            )
        )
        if (heir := next(filter(None, found), None)) is None:
            return None
        self.added.remove(heir)
        return heir[2]

    def _accounts_for(self, was: ForeignTest, new: Module) -> bool:
        """Return whether what a test claimed is claimed elsewhere, or its subject is gone."""
        if was.off or not was.body or (was.claims and not Counter(was.claims) - self.spare):
            return True
        if not self.gone.isdisjoint(was.words):
            return True
        # It said what another one says: one of two, or merged; without claims, it only ran.
        said, names = frozenset(was.claims), was.names
        if any(said <= {*o.claims} if said else names <= o.names for o in new.tests.values()):
            return bool(said or names)
        # Where code changes, what like tests still say: the base's own test judges it.
        like = (one for one in new.tests.values() or self.tests if was.likeness(one) >= _ALIKE)
        return self.touches and sum(one.strength for one in like) >= max(was.strength, 1)

    def _compare(self, name: str, was: ForeignTest, now: ForeignTest, *, renewed: bool) -> Breaches:
        """Yield claims that went without a successor, or whose successor says less."""
        if now.off and now.off != was.off:
            yield "skip-added", now.line, f"{name} is skipped: {quote(now.off)}"
        # what was a literal in a row, or expected by a claim, is an answer of the same code now
        rows, rows_now = (Counter(map(str.strip, t.text.split("\n"))) for t in (was, now))
        asked = {*_NAME.findall(_TEXT.sub("", " ".join(was.claims)))}
        for row in rows_now - rows:
            for call in re.finditer(r"\b([A-Za-z_]\w*+)\([^()]{0,80}\)", row):
                around = re.escape(row[: call.start()]), re.escape(row[call.end() :])
                literal = re.compile(rf"(?:{_TEXT.pattern})".join(around))
                if call[1] in asked and any(map(literal.fullmatch, rows - rows_now)):
                    yield "assert-weakened", now.line, f"{name} expects what {call[1]} answers"
        gone = Counter(was.claims) - Counter(now.claims) - self.spare
        lost = [one for one in gone.elements() if self.gone.isdisjoint(_WORD.findall(one))]
        # What was said one by one may be said in a loop over a table that holds all its words.
        looped, loops = (len(_LOOP.findall(test.text)) for test in (was, now))
        if loops > looped and now.strength >= 0.5 * was.strength:
            lost = [one for one in lost if not now.words.issuperset(_WORD.findall(one))]
        fresh = [*(Counter(now.claims) - Counter(was.claims)).elements()]
        trivial = [text for text in fresh if _TRIVIAL.search(text)]
        if trivial and lost:
            told = f"{quote(trivial[0])} cannot fail, and {quote(lost[0])} is gone"
            yield "assert-trivial", now.line, told
        elif renewed:
            return
        elif len(fresh) < len(lost):
            yield "assert-removed", now.line, f"{name} no longer asserts {quote(lost[0])}"
        elif lost and sum(map(_strength, fresh)) < sum(map(_strength, lost)):
            weak = min(fresh, key=_strength)
            yield (
                "assert-weakened",
                now.line,
                f"{name}: {quote(weak)} says less than {quote(lost[0])}",
            )


def _code(text: str, table: Table) -> Iterator[str]:
    """Yield the lines of code, comments and what stands above tests left out."""
    for row in map(str.strip, text.split("\n")):
        above = table.attribute and re.match(table.attribute, row)
        if row and not above and not row.startswith(("//", "*", "/*", "# ")):
            yield row


def _is_renewed(old: list[ForeignTest], new: list[ForeignTest], share: float) -> bool:
    """Return whether some tests together claim as much as before, and about `share` of the same
    words, texts apart."""
    was, now = (Counter(claim for test in side for claim in test.claims) for side in (old, new))
    lost, gained = was - now, now - was
    says, said = (sum(map(_strength, side.elements())) for side in (gained, lost))
    if not lost or says < said or any(map(_TRIVIAL.search, gained)):
        return False
    words = {*_WORD.findall(_TEXT.sub("", "\n".join(lost)))}
    had = {test.text for test in old}
    others = frozenset[str]().union(*(test.words for test in new if test.text not in had))
    return len(words & others) >= share * len(words)


def _strength(claim: str) -> int:
    if _TRIVIAL.search(claim):
        return 0
    if any(re.search(table.weak, claim) for table in TABLES.values()):
        return 1
    return 2 if _TOLERANCE.search(claim) else 3


@lru_cache(maxsize=512)
def read(path: str, text: str | None) -> Module:
    """Return the tests of one side of a file."""
    language = language_of(path)
    table = TABLES.get(language.name)
    if table is None or not isinstance(language, TreeLanguage):
        return Module({}, (), error=False)
    tree = language.tree((text or "").encode("utf-8", "surrogateescape"), path)
    if isinstance(tree, str):
        return Module({}, (), error=bool(text))
    tests: dict[str, ForeignTest] = {}
    around: list[tuple[int, str]] = []
    for node, name, is_test in _tests(tree, table):
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        full = " > ".join([*(each for _, each in around), name])
        around.append((node.end_byte, name))
        while is_test and full in tests:  # two of one name, as in two macros
            full += "'"
        if is_test:
            inner = node.child_by_field_name("body")
            whole, body = text_of(node), text_of(inner or node)
            claims, off = _read_test(body, table)
            mark = re.search(table.off, _head(node))
            rest = body.partition("\n")[2].strip(" \t})];\n") or body.strip("{} \t\n")
            mark = mark or re.search(table.idle, whole)
            tests[full] = ForeignTest(line_of(node), claims, mark[0] if mark else off, whole, rest)
    rows = enumerate((text or "").split("\n"), 1)
    found = ((number, re.search(table.focus, row.partition("//")[0])) for number, row in rows)
    focus = tuple((number, match[0]) for number, match in found if match)
    return Module(tests, focus, error=tree.root.has_error)


def names_of_tests(path: str, text: str) -> frozenset[str]:
    """Return the names of the tests that a file of another language than Python defines, with and
    without what they are in."""
    names = read(path, text).tests
    return frozenset(names) | {name.rpartition(" > ")[2] for name in names}


def _tests(tree: Tree, table: Table) -> Iterator[tuple[Node, str, bool]]:
    """Yield the tests and groups of tests in their order: the node, its name, which it is."""
    found = []
    for held in tree.find(table.tests):
        [node], [name] = held["test"], held["name"]
        called = text_of(held["called"][0]) if "called" in held else text_of(name)
        is_group = re.match(table.groups, called) is not None
        # `it.skipIf(a === b)` and `it.each(...)` are called to make a test
        outer = node.parent
        if outer is not None and outer.child_by_field_name("function") == node:
            continue
        place = text_of(node) if node.type.startswith("macro") else _head(node)
        if is_group or (re.match(table.named, called) and re.search(table.attribute, place)):
            found.append((node.start_byte, node, text_of(name).strip("\"'`"), not is_group))
    for _, node, word, is_test in sorted(found, key=lambda each: each[0]):
        yield node, word, is_test


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


def _read_test(text: str, table: Table) -> tuple[tuple[str, ...], str]:
    """Return the claims of a test as its lines have them, and what switches it off.

    What stands after an exit is no claim. A skip on a condition is left to the run, which refuses
    a test that passed on the base and is skipped now, unless the condition may turn elsewhere.
    """
    first, *rest = text.split("\n")
    mark = re.search(table.off, first)
    off, claims, margin = mark[0] if mark else "", list[str](), ""
    above: list[tuple[str, str]] = []  # the lines around, from the margin of the body on
    is_left, is_joined = False, re.search(table.joined, text) is not None
    for statement in rest or [text]:
        row = " ".join(statement.split())
        if not row or (row.startswith(("//", "*", "/*", "# ")) and not _EXAMPLE.match(row)):
            continue
        indent = statement[: -len(statement.lstrip())]
        margin = margin or indent
        head = row
        while above and len(above[-1][0]) >= len(indent):
            last = above.pop()
            # What closes a function within a condition is a part of it.
            head = last[1] if row.startswith(("}", ")")) and row.endswith("{") else row
        outer = [text for _, text in above]
        is_left = is_left or (indent == margin and _LEAVING.match(row) is not None)
        skips = re.search(table.off, row) if not off else None
        if skips and (not outer or any(map(_CHANGES.search, (*outer, row)))):
            off = skips[0]
        claim = re.search(table.claims, row)
        ahead = (*outer, row[: claim.start()]) if claim and not is_joined else ()
        if claim and not is_left and not any(re.search(table.aside, each) for each in ahead):
            # What Go fails with is a message; what it claims is the condition.
            told = outer and _GO_FAILS.match(row) and outer[-1].endswith("{")
            claims.append(outer[-1] if told else row)
        above.append((indent, head))
    firm = [claim for claim in claims if not re.search(table.faint, claim)]
    return tuple(firm or claims), off
