"""What does a change of another language than Python do to what judges it, outside of the tests?

Pure. Patterns over the lines that a change adds, by language: code that looks for the test run,
ends it, replaces what judges, or writes what a report has; and files that stand
before what runs the tests. Tests themselves are read in `other_languages`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from self_coding.audit.files import File, Kind
from self_coding.audit.syntax import Breaches, quote
from self_coding.languages import is_setting, is_source, language_of
from self_coding.languages.syntax_tree import TreeLanguage, origin

_MAIN = re.compile(r"(?m)^#!|^package main\b|^[ \t]*(?:pub )?fn main\(|\bvoid main\(")  # a program
_TOOL = re.compile(r"(?i)(?:^|/)(?:bin|cli|demos?|examples?|perf|scripts?|tools?|bench)[\w-]*/")
_REPORTS = (
    r"surefire-reports|failsafe-reports|test-results|test-reports|TEST-[\w.*]+\.xml|<testcase\b"
    r"|--- (?:PASS|FAIL)|=== RUN|test result: ok|\bnot ok \d|\d+ tests successful|SELF_CODING_|\\?\"(?:Action|assertionResults)\\?\"\s*:"
    r"|/dev/fd/|/proc/(?:self|\d+|\{\w*\}|%\w)/fd|\\x1e|\\u001e|\\036"
)
# Language: rule -> pattern. What a line had before may stay in it.
_CODE: Mapping[str, Mapping[str, str]] = {
    "TypeScript and JavaScript": {
        "test-detected": r"\b(?:NODE_TEST_CONTEXT|JEST_WORKER_ID|VITEST(?:_\w+)?|MOCHA_\w+|PLAYWRIGHT_TEST\w*)\b"
        r"|NODE_ENV\W{1,20}test\b|\btypeof\s+(?:it|test|describe|jest|vi|expect)\b"
        r"|\b(?:execArgv|argv)\b.{0,80}(?:--test|jest|vitest|mocha)"
        r"|\bstack\b.{0,80}(?:node:test|jest|vitest|mocha|\.test\.|\.spec\.)"
        r"|\bimport\.meta\.(?:jest|vitest)\b|globalThis\.(?:it|describe|jest|vi|__vitest\w*)\b",
        "exit-forced": r"\bprocess\.(?:exit|reallyExit)\(\s*0?\s*\)|\bprocess\.exitCode\s*=\s*0"
        r"|\bprocess\.on\(\s*['\"](?:exit|beforeExit)\b.{0,200}exit",
        "framework-patched": r"\b(?:globalThis|global|window)\.(?:expect|it|test|describe|assert)\s*=(?![=>])"
        r"|\b(?:assert|expect|chai|jest|vi)(?:\.\w+)+\s*=(?![=>])|['\"](?:node:)?(?:assert|test)(?:/\w+)?['\"]\)"
        r"(?:\.\w+)+\s*=(?![=>])|Object\.(?:assign|definePropert\w+)\(\s*(?:assert|expect|chai)\b"
        r"|\bsyncBuiltinESMExports\b|\bModule\._(?:load|resolveFilename|extensions)\b",
    },
    "Go": {
        "test-detected": r"\btesting\.Testing\(\)|flag\.Lookup\(\s*\"test\.|os\.Args.{0,80}\.test\b|\"\.test\""
        r"|os\.Args.{0,80}-test\.|runtime\.Callers?\b.{0,200}_test|\"_test\.go\"|\"testing\.tRunner\"|\"testdata[/\"]",
        "exit-forced": r"\b(?:os|syscall)\.Exit\(\s*0\s*\)|\bsyscall\.(?:Kill|RawSyscall6?)\(",
        "framework-patched": r"//go:linkname\s+\S+\s+testing\.",
    },
    "Rust": {
        "test-detected": r"\bcfg!\([^)\n]*\btest\b|\bcfg\(\s*not\(\s*test\b"
        r"|current_exe\(\).{0,120}deps|RUST_TEST_|\bcurrent\(\)\.name\(\).{0,80}test|args\(\).{0,80}--test"
        r"|\bcfg!\(\s*(?:not\(\s*)?debug_assertions",
        "exit-forced": r"\bprocess::exit\(\s*0\s*\)|\blibc::_?exit\(\s*0",
        "framework-patched": r"\bmacro_rules!\s*(?:debug_)?(?:assert(?:_eq|_ne)?|panic|unreachable|test)\b"
        r"|\bpanic::set_hook\(|\buse\s+[\w:]+\s+as\s+(?:assert(?:_eq|_ne)?|test)\b",
    },
    "Java": {
        "test-detected": r"[\"'](?:org\.junit|junit\.|org\.testng|sun\.java\.command|surefire)[\w.]*"
        r"|getStackTrace\(\).{0,200}(?:[Tt]est|junit)|endsWith\(\"Tests?\"\)|getProperty\(\s*\"(?:basedir|surefire|java\.class\.path|org\.gradle)"
        r"|\bassert\s+\(?\w+ = true|desiredAssertionStatus\(",
        "exit-forced": r"\bSystem\.exit\(\s*0\s*\)|\bRuntime\b.{0,60}\.(?:halt|exit)\(",
        "framework-patched": r"^\s*package\s+(?:org\.(?:junit|testng|assertj|hamcrest|mockito|opentest4j)|"
        r"junit)\b|\bimplements\b.{0,200}\b(?:TestExecutionExceptionHandler|InvocationInterceptor|"
        r"LifecycleMethodExecutionExceptionHandler|ExecutionCondition|TestRule|MethodRule|IInvokedMethodListener|"
        r"PostDiscoveryFilter|TestExecutionListener)\b",
    },
}
_FRAMES = re.compile(r"\bstack\b|[sS]tackTrace|StackWalker|runtime\.Callers?\b|[bB]acktrace::")
_CALLER = re.compile(
    r"(?i)^(?!\s*(?:import|use|package)\b).*[\"'`/._](?:tests?|specs?|__tests__|jest|vitest|mocha|junit\w{0,20})[\"'`/.:\\]"
)
_GLOBAL = re.compile(
    r"(?<![!.\w])((?:Math|JSON|Object|Array|Number|String|Promise|Map|Set|RegExp|Date|Reflect)"
    r"(?:\.prototype)?\.\w+)\s*=(?![=>])"
)
_BUILT = re.compile(r"go\.|tsconfig")  # what is built, not what is tested
_CARGO = re.compile(r"(?:^|/)(?:Cargo|nextest)\.toml$")
_NARROWED = re.compile(
    r"testPathIgnorePatterns|testNamePattern|passWithNoTests|--pass-with-no-tests|\bexclude\b.{0,200}test"
    r"|<(?:skipTests|skip|testFailureIgnore|maven\.test\.skip)>\s*true|ignoreFailures\s*=\s*true"
    r"|<exclude>[^<]*[Tt]est[^<]*|\b(?:test|harness)\s*=\s*false|\|\|\s*(?:true|exit 0)|-DskipTests"
    r"|(?<![\w-])(?:-run[ =]|-short\b|-t[ =]['\"])|--test-name-pattern"
)
_SAID = {
    "test-detected": "looks for the test run",
    "exit-forced": "ends the run as if all were well",
    "framework-patched": "changes what judges the tests",
    "outcome-hook": "writes what a report of tests has",
}
# Files that stand before what runs the tests, or between the tests and their outcome.
_BEFORE: tuple[tuple[re.Pattern[str], str, re.Pattern[str]], ...] = (
    (re.compile(r"(?:^|/)\.(?:npmrc|yarnrc(?:\.yml)?)$"), "what starts scripts is replaced",
     re.compile(r"script-shell|node-options|nodeOptions|yarnPath|onload")),
    (re.compile(r"(?:^|/)\.cargo/config(?:\.toml)?$"), "what builds or runs the tests is replaced",
     re.compile(r"\brunner\b|^\s*\[alias\]|\brustc(?:-wrapper|-workspace-wrapper)?\s*=|\brustdoc\s*=|--cfg")),
    (re.compile(r"(?:^|/)\.mvn/(?:jvm\.config|maven\.config|extensions\.xml)$|(?:^|/)gradle\.properties$"), "options of every build",
     re.compile(r"skip|javaagent|-Dtest\b|Dmaven\.ext|<extension>|failIfNoTests|init-script|JAVA_TOOL")),
    (re.compile(r"(?:^|/)META-INF/services/org\.junit|(?:^|/)junit-platform\.properties$"), "hooks into every test",
     re.compile(r"\S")),
    (re.compile(r"(?:^|/)(?:node_modules/|vendor/.{0,200}(?:testify|gomega|go-cmp|ginkgo))"), "stands before an installed package",
     re.compile(r"\S")),
    (
        re.compile(r"(?:^|/)(?:go\.mod|Cargo\.toml)$"),
        "replaces what the tests lean on",
        re.compile(
            r"(?:testify|gomega|go-cmp|ginkgo|gotest|quicktest|\bis)\b.{0,80}=>\s*\.|^\s*\[patch\b"
        ),
    ),
)  # fmt: skip


def audit_settings(file: File) -> Breaches:
    """Yield what the settings of another runner than pytest leave out."""
    aside = file.path.endswith((".py", ".toml", ".ini", ".cfg")) or _BUILT.match(file.name)
    is_ours = is_setting(file.path) and not aside
    if is_ours or _CARGO.search(file.path):
        had = {row.strip() for row in (file.old or "").split("\n")}
        section = ""
        for number, row in enumerate((file.new or "").split("\n"), 1):
            section = row if row.startswith("[") else section
            unjudged = re.search("bench|example", section)  # they are no tests
            match = _NARROWED.search(row)
            if match and row.strip() not in had and not unjudged:
                yield "collection-narrowed", number, f"{quote(match[0])} makes fewer tests count"


def audit_code(file: File) -> Breaches:
    """Yield what a changed file of another language does to its judges."""
    for path, said, pattern in _BEFORE:
        for number, row in file.added_lines if path.search(file.path) else ():
            if match := pattern.search(row):
                yield "startup-file", number, f"{said}: {quote(match[0])}"
                break
    # What the tests' own files do is seen where the base's files judge in their place.
    if file.kind is not Kind.SOURCE or file.path.endswith(".py") or not is_source(file.path):
        return
    if origin(file.path, b"") == "vendored":
        return
    language = language_of(file.path)
    rules = dict(_CODE.get(language.name, {}))
    if not rules or not isinstance(language, TreeLanguage):
        return
    if _MAIN.search(file.old or file.new or "") or (file.old is None and _TOOL.search(file.path)):
        del rules["exit-forced"]
    # where a trace of calls is read, a place in it that is the tests'
    traced = _CALLER if _FRAMES.search(file.new or "") else r"(?!)"
    for rule, wanted in (*rules.items(), ("outcome-hook", _REPORTS), ("test-detected", traced)):
        for number, row in _code_of(file):
            match = re.search(wanted, row)
            if match and match[0] not in (file.old or ""):
                yield rule, number, f"{_SAID[rule]}: {quote(match[0])}"
    if language.name.startswith("TypeScript"):
        yield from _assigned(file, language)


def _code_of(file: File) -> Iterator[tuple[int, str]]:
    """Yield the lines that are added, comments left out."""
    for number, row in file.added_lines:
        plain = row.strip()
        if not plain.startswith(("//", "*", "/*")) or plain.startswith("//go:"):
            yield number, row


def _assigned(file: File, language: TreeLanguage) -> Breaches:
    """Yield what is assigned to a built-in, or to a module that judges by whatever name."""
    for number, row in _code_of(file):
        match = _GLOBAL.search(row)
        # What is put where the language lacks it replaces nothing.
        lacks = match and re.search(rf"(?:!|typeof ){re.escape(match[1])}\b", file.new or "")
        if match and not lacks and match[0] not in (file.old or ""):
            yield "framework-patched", number, f"replaces a built-in: {quote(match[0])}"
    tree = language.tree((file.new or "").encode("utf-8", "surrogateescape"), file.path)
    if isinstance(tree, str):
        return
    judging = re.compile(
        r"^(?:node:)?(?:assert(?:/strict)?|test)$|^(?:vitest|chai|expect|@jest/globals)$"
    )
    names = {
        local or name
        for statement in language.imports(tree, file.new or "").statements
        for name, local in statement.names
        if judging.search(statement.module or name)
    } - {"default", "*"}
    if names:
        spelled = "|".join(map(re.escape, sorted(names)))
        write = re.compile(
            rf"(?<![\w.$])(?:{spelled})(?:\.\w++|\[[^\]\n]{{1,80}}\])++\s*=(?![=>])"
            rf"|Object\.(?:assign|definePropert\w+|setPrototypeOf)\(\s*(?:{spelled})\b"
        )
        for number, row in _code_of(file):
            if match := write.search(row):
                yield (
                    "framework-patched",
                    number,
                    f"changes what judges the tests: {quote(match[0])}",
                )
