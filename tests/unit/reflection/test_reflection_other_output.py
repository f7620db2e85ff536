"""What other runners than Python's print about a failing test, as they printed it."""

from __future__ import annotations

import pytest

from self_coding.reflection.failures import read_failure

OUTPUTS = {
    "node": """TAP version 13
# Subtest: squares
not ok 1 - squares
  ---
  duration_ms: 1.957485
  location: '/repo/test/area.test.js:4:1'
  failureType: 'testCodeFailure'
  error: |-
    Expected values to be strictly equal:

    6 !== 9

  code: 'ERR_ASSERTION'
  stack: |-
    TestContext.<anonymous> (file:///repo/test/area.test.js:5:10)
    Test.run (node:internal/test_runner/test:796:25)
  ...
1..1
# fail 1
""",
    "go": """--- FAIL: TestSquares (0.00s)
    area_test.go:7: got 6, want 9
FAIL
FAIL	example.com/tool/area	0.003s
FAIL
""",
    "rust": """running 1 test
test tests::squares ... FAILED

failures:

---- tests::squares stdout ----

thread 'tests::squares' (31) panicked at src/lib.rs:11:9:
assertion `left == right` failed
  left: 6
 right: 9
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::squares

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
""",
    "java": """Failures (1):
  JUnit Jupiter:AreaTest:squares()
    MethodSource [className = 'org.acme.AreaTest', methodName = 'squares']
    => org.opentest4j.AssertionFailedError: expected: <9> but was: <6>
       org.junit.jupiter.api.AssertionFailureBuilder.build(AssertionFailureBuilder.java:151)
       org.acme.AreaTest.squares(AreaTest.java:9)
       java.base/java.lang.reflect.Method.invoke(Method.java:569)
""",
    "vitest": """ FAIL  test/area.test.js > none > squares
AssertionError: expected 6 to be 9 // Object.is equality

- Expected
+ Received

 \u276f test/area.test.js:5:21
""",
    "jest": """FAIL test/area.test.js
  \u25cf none \u203a squares

    expect(received).toBe(expected) // Object.is equality

    Expected: 9
    Received: 6

      at Object.toBe (test/area.test.js:4:21)
""",
}
TOLD = {
    "node": ("test/area.test.js::squares", "6 !== 9", "test/area.test.js:"),
    "go": ("area_test.go::TestSquares", "got 6, want 9", "area_test.go:7"),
    "rust": ("src/lib.rs::tests::squares", "left: 6", "src/lib.rs:11"),
    "java": ("AreaTest.java::AreaTest:squares()", "expected: <9> but was: <6>", "AreaTest.java:9"),
    "vitest": ("test/area.test.js::none > squares", "expected 6 to be 9", "test/area.test.js:5"),
    "jest": ("test/area.test.js::none \u203a squares", "toBe(expected)", "test/area.test.js:4"),
}


@pytest.mark.parametrize("runner", OUTPUTS)
def test_failing_tests_are_told_with_message_and_place(runner: str) -> None:
    """Each runner's text gives the failing test, what it said, and where; the changed file that
    the test is named after is the cause."""
    source = "src/lib.rs" if runner == "rust" else "src/area.js"
    failure = read_failure(OUTPUTS[runner], files_modified=[source, "docs/notes.md"], root="/repo")
    name, message, place = TOLD[runner]
    assert failure.failing_tests == (name,)
    assert message in failure.message
    assert failure.location.startswith(place)
    assert failure.root_cause_file == source


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ("./area/area.go:4:9: undefined: r\n", "area/area.go:4"),
        ("error[E0425]: cannot find value `r`\n --> src/lib.rs:2:5\n  |\n", "src/lib.rs:2"),
        ("src/main/java/a/Area.java:5: error: cannot find symbol\n", "src/main/java/a/Area.java:5"),
    ],
)
def test_what_does_not_build_is_told(output: str, place: str) -> None:
    """A compiler's first error is the failure where no test could run."""
    failure = read_failure(output)
    assert (failure.exception, failure.location) == ("BuildError", place)
    assert failure.message


def test_other_text_is_no_failure() -> None:
    """What no runner printed says nothing."""
    assert read_failure("all good\nsee area.go:4\n").failing_tests == ()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("./a.go:3:5: undefined: y\nFAIL\tx [build failed]\nFAIL\n", "undefined: y"),
        ("[ERROR] Tests run: 1, Failures: 1 <<< FAILURE! - in x.CodeTest\n", ""),
        ("[ERROR] There are test failures.\n<<< \n", ""),
        ("    not ok 1\n  FAIL \n", ""),
        ("FAIL src/a.css\n", ""),
    ],
)
def test_a_mark_without_a_test_is_no_error(output: str, said: str) -> None:
    """What looks like a runner's output but names no test is read on, for what did not build."""
    failure = read_failure(output)
    assert (failure.failing_tests, failure.message) == ((), said)


@pytest.mark.parametrize(
    ("output", "files", "cause"),
    [
        (
            "--- FAIL: TestMedian (0.00s)\npanic: index out of range [9] with length 3\n\n"
            "goroutine 7 [running]:\nshop.Median(...)\n\t/tmp/x/series.go:30\n"
            "shop.TestMedian(0xc000007ba0)\n\t/tmp/x/series_test.go:18 +0x5d\n",
            ["series.go", "area.go"],
            ("series.go", "Median"),
        ),
        (
            "--- FAIL: TestClampAll (0.00s)\n    area_test.go:9: got 1, want 5\n",
            ["series.go", "area.go"],
            ("area.go", "ClampAll"),
        ),
        (
            "\u2716 the middle of three (1.2ms)\n  RangeError: no item 9\n"
            "      at item (file:///tmp/x/series.mjs:3:15)\n"
            "      at median (file:///tmp/x/series.mjs:30:12)\n"
            "      at TestContext.<anonymous> (file:///tmp/x/series.test.mjs:9:3)\n",
            ["series.mjs", "area.mjs"],
            ("series.mjs", "item"),
        ),
        (
            "\u2716 clamp of numbers (1.2ms)\n  AssertionError: 1 !== 5\n"
            "      at TestContext.<anonymous> (file:///tmp/x/area.test.mjs:9:3)\n",
            ["series.mjs", "area.mjs"],
            ("area.mjs", "clamp"),
        ),
        (
            "    JUnit Jupiter:AreaTest:testClamp()\n"
            "    => java.lang.ArrayIndexOutOfBoundsException: Index 9 out of bounds for length 3\n"
            "       Area.item(Area.java:21)\n       AreaTest.testClamp(AreaTest.java:8)\n",
            ["Area.java", "Series.java"],
            ("Area.java", "item"),
        ),
        (
            "    JUnit Jupiter:AreaTest:testClamp()\n"
            "    => org.opentest4j.AssertionFailedError: expected: <5> but was: <1>\n"
            "       AreaTest.testClamp(AreaTest.java:8)\n",
            ["Area.java", "Series.java"],
            ("Area.java", "clamp"),
        ),
        (
            "---- test_clamp stdout ----\n\nthread 'test_clamp' panicked at src/area.rs:21:9:\n"
            "index out of bounds: the len is 3 but the index is 9\nstack backtrace:\n"
            "   3: area::item\n             at ./src/area.rs:21:9\n"
            "   4: area::test_clamp\n             at ./tests/area.rs:5:5\n",
            ["src/area.rs", "src/series.rs"],
            ("src/area.rs", "item"),
        ),
    ],
)
def test_other_languages_name_the_function(
    output: str, files: list[str], cause: tuple[str, str]
) -> None:
    """The innermost frame of a stack names it; where the test alone is shown, its name does."""
    failure = read_failure(output, files_modified=files)
    assert (failure.root_cause_file, failure.root_cause_function) == cause


def test_a_linter_s_summary_is_no_test() -> None:
    """eslint ends with the mark that Node has before a failed test."""
    output = "\u2716 12 problems (0 errors, 12 warnings)\n\u2716 clamps (1.2ms)\n  Error: no\n"
    assert read_failure(output).failing_tests == ("clamps",)


GO_PANIC = (
    "--- FAIL: TestCheck (0.00s)\n    check_test.go:9: no constraint\n"
    "panic: broken [recovered]\n\tpanic: broken\n\ngoroutine 8 [running]:\n"
    "testing.tRunner.func1.2({0x58faa0, 0x605050})\n"
    "\t/usr/lib/go-1.19/src/testing/testing.go:1396 +0x24e\n"
    "panic({0x58faa0, 0x605050})\n\t/usr/lib/go-1.19/src/runtime/panic.go:884 +0x212\n"
    "example.com/tool.(*rule).holds(0x596960?)\n\t/tmp/tool/check.go:33 +0xea\n"
    "example.com/tool.TestCheck(0xc0000fa1a0)\n\t/tmp/tool/check_test.go:12 +0x1a6\n"
    "testing.tRunner(0xc0000fa1a0, 0x5d2000)\n"
    "\t/usr/lib/go-1.19/src/testing/testing.go:1446 +0x10b\n"
)
NODE_END = (
    "\u2716 full url (1.2ms)\n  TypeError [Error]: no handler\n"
    "      at Router.find (/tmp/x/lib/router.js:7:1)\n\n"
    "\u2716 failing tests:\n\ntest at test/url.test.js:3:1\n\u2716 full url (1.2ms)\n"
    "  TypeError [Error]: no handler\n      at Router.find (/tmp/x/lib/router.js:7:1)\n"
    "      at TestContext.<anonymous> (/tmp/x/test/url.test.js:5:9)\n\n"
    "test at test/url.test.js:8:1\n\u2716 no url (0.3ms)\n"
    "  AssertionError [ERR_ASSERTION]: 404 == 200\n"
    "      at TestContext.<anonymous> (/tmp/x/test/url.test.js:9:9)\n"
)
VITEST_ALIKE = (
    " FAIL  test/host.test.ts > toAscii > one\n FAIL  test/host.test.ts > toAscii > two\n"
    "Error: broken\n \u276f src/host.ts:37:13\n     36|       }\n     37|       throw new Error()\n"
    "       |             ^\n \u276f toAscii src/host.ts:40:4\n \u276f test/host.test.ts:14:14\n"
)


@pytest.mark.parametrize(
    ("output", "tests", "raised", "place", "function"),
    [
        (GO_PANIC, ("check_test.go::TestCheck",), ("panic", "broken"), "check.go:33", "holds"),
        (
            NODE_END,
            ("test/url.test.js::full url", "test/url.test.js::no url"),
            ("TypeError", "no handler"),
            "lib/router.js:7",
            "find",
        ),
        (
            VITEST_ALIKE,
            ("test/host.test.ts::toAscii > one", "test/host.test.ts::toAscii > two"),
            ("Error", "broken"),
            "src/host.ts:37",
            "toAscii",
        ),
    ],
)
def test_a_crash_is_told_as_what_it_is(
    output: str, tests: tuple[str, ...], raised: tuple[str, str], place: str, function: str
) -> None:
    """The innermost frame of the repository, not the runner's, and each test once, by its file."""
    files = ["check.go", "lib/router.js", "src/host.ts", "docs/notes.md"]
    failure = read_failure(output, files_modified=files)
    assert failure.failing_tests == tests
    assert (failure.exception, failure.message) == raised
    assert (failure.location, failure.root_cause_function) == (place, function)


@pytest.mark.parametrize(
    ("shown", "head", "function"),
    [
        ("    > 138 |   expect(days().endOf(d)).toBe(1)\n", "class Days {", "endOf"),
        ("      138|   expect(days().endOf(d)).toBe(1)\n         |      ^\n", "", "endOf"),
        ("", "class Days {", "Days"),
    ],
)
def test_the_line_that_a_runner_shows_names_the_function(
    shown: str, head: str, function: str
) -> None:
    """Where a diff tells but the class, what the failing line calls last is likelier."""
    output = (
        "FAIL test/days.test.js\n  \u25cf of a year\n\n    expect(received).toBe(expected)\n\n"
        f"{shown}\n      at Object.toBe (test/days.test.js:138:21)\n"
    )
    diff = (
        f"--- a/src/days.js\n+++ b/src/days.js\n@@ -140,3 +140,3 @@ {head}\n"
        "     const a = 1\n-    return a\n+    return a + 1\n"
    )
    failure = read_failure(output, files_modified=["src/days.js"], diff=diff)
    assert (failure.root_cause_file, failure.root_cause_function) == ("src/days.js", function)


def test_a_frame_on_changed_lines_knows_their_function() -> None:
    """A method of a Rust `impl` is told by the stack where the diff tells none, and a file that
    Java names without its folder is the changed one of that name."""
    rust = (
        "---- test_parse stdout ----\n\nthread 'test_parse' panicked at src/parse.rs:52:9:\n"
        "broken\n"
        "   2: tool::parse::<impl core::str::FromStr for tool::Version>::from_str\n"
        "             at ./src/parse.rs:52:9\n"
    )
    diff = "--- a/src/parse.rs\n+++ b/src/parse.rs\n@@ -51,2 +51,2 @@ impl FromStr for Version {\n"
    diff += "         a();\n-        b();\n+        c();\n"
    failure = read_failure(rust, files_modified=["src/parse.rs"], diff=diff)
    assert (failure.exception, failure.root_cause_function) == ("panic", "from_str")
    java = (
        "    JUnit Jupiter:AreaTest:testClamp()\n    => java.lang.IllegalStateException: broken\n"
        "       org.acme.Area.item(Area.java:21)\n"
        "       org.acme.AreaTest.testClamp(AreaTest.java:8)\n"
    )
    path = "src/main/java/org/acme/Area.java"
    failure = read_failure(java, files_modified=[path, "src/main/java/org/acme/Other.java"])
    assert (failure.location, failure.root_cause_file) == (f"{path}:21", path)


def test_each_call_of_a_junit_test_with_parameters_is_that_test() -> None:
    """The types and values behind its name are not the name."""
    head = "  JUnit Jupiter:AreaTest:testClamp(String, int):"
    said = (
        "\n    => java.lang.IllegalStateException: no\n       AreaTest.testClamp(AreaTest.java:8)\n"
    )
    failure = read_failure(f"{head}low: 'a'{said}{head}high{said}")
    assert failure.failing_tests == ("AreaTest.java::AreaTest:testClamp()",)
