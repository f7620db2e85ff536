"""Reports in a form that many runners share: JUnit XML, CTRF, TAP."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from self_coding.gate.report_files import read_files, read_tap
from self_coding.gate.runner_reports import Tree
from tool_chains import works


def tree(*paths: str, manifests: dict[str, str] | None = None, **texts: str) -> Tree:
    return Tree("/top", frozenset(paths), texts.get, manifests or {})


def test_junit_files_are_the_common_tongue() -> None:
    """Any runner's JUnit XML gives ids by file, messages and places; skipped tests are told."""
    document = b"""<testsuites><testsuite>
      <testcase classname="org.acme.AreaTest" name="squares()" time="0.25"/>
      <testcase classname="org.acme.AreaTest" name="fails()">
        <failure message="expected: 9" type="AssertionError">AssertionError: expected: 9
\tat org.acme.AreaTest.fails(AreaTest.java:12)</failure></testcase>
      <testcase classname="a" name="waits" file="/top/spec/a_spec.rb"><skipped/></testcase>
    </testsuite></testsuites>"""
    report = read_files([("junit.xml", document)], tree("src/test/java/org/acme/AreaTest.java"))
    path = "src/test/java/org/acme/AreaTest.java"
    assert report.outcomes == {
        f"{path}::squares()": "passed",
        f"{path}::fails()": "failed",
        "spec/a_spec.rb::waits": "skipped",
    }
    failure = report.results[1].failure
    assert failure is not None
    assert (failure.path, failure.line) == (path, 12)
    assert failure.message == "AssertionError: expected: 9"


def test_a_junit_file_that_cannot_be_read_is_said() -> None:
    """A torn file, and one with entities that might unfold without end, make the report torn."""
    assert "cannot be read" in read_files([("junit.xml", b"<testsuite><")], tree()).tampered
    entities = b'<!DOCTYPE a [<!ENTITY b "c">]><a/>'
    assert "entities" in read_files([("junit.xml", entities)], tree()).tampered


def test_nextest_names_binaries_as_classes() -> None:
    """A test of nextest's JUnit has the id that `cargo test` gives it, in whatever binary it is.

    The form is that of nextest's book; the program itself is not here.
    """
    document = b"""<testsuites name="nextest-run" tests="3" failures="1"><testsuite name="area">
      <testcase name="tests::squares" classname="area" time="0.004"/></testsuite>
      <testsuite name="area::none"><testcase name="is_none" classname="area::none" time="0.003">
      <failure type="test failure">thread 'is_none' panicked at tests/none.rs:3:5:
assertion failed</failure></testcase></testsuite>
      <testsuite name="area::bin/tool">
      <testcase name="runs" classname="area::bin/tool"/></testsuite></testsuites>"""
    known = tree(
        *("src/lib.rs", "src/main.rs", "tests/none.rs", "Cargo.toml"),
        manifests={"Cargo.toml": '[package]\nname = "area"\n'},
    )
    report = read_files([("target/nextest/ci/junit.xml", document)], known)
    assert report.outcomes == {
        "src/lib.rs::tests::squares": "passed",
        "tests/none.rs::is_none": "failed",
        "src/main.rs::runs": "passed",
    }
    failure = report.results[1].failure
    assert failure is not None
    assert (failure.path, failure.line) == ("tests/none.rs", 3)


CTRF = {
    "reportFormat": "CTRF",
    "specVersion": "1.0.0",
    "results": {
        "tool": {"name": "mocha"},
        "summary": {"tests": 3, "passed": 1, "failed": 1, "pending": 0, "skipped": 1, "other": 0},
        "tests": [
            {"name": "adds", "status": "passed", "duration": 100, "suite": ["sum"]},
            {
                "name": "carries",
                "status": "failed",
                "duration": 2,
                "filePath": "/top/test/sum.spec.js",
                "message": "expected 1 to be 2",
                "trace": "AssertionError\n    at /top/test/sum.spec.js:7:19",
            },
            {"name": "waits", "status": "skipped", "duration": 0},
        ],
    },
}


def test_ctrf_tells_ids_durations_and_places() -> None:
    """A CTRF file gives each test, in the fields that its schema has."""
    document = json.dumps(CTRF).encode()
    report = read_files([("ctrf/ctrf-report.json", document)], tree("test/sum.spec.js"))
    assert report.outcomes == {
        "ctrf::sum > adds": "passed",
        "test/sum.spec.js::carries": "failed",
        "ctrf::waits": "skipped",
    }
    assert report.results[0].seconds == pytest.approx(0.1)
    failure = report.results[1].failure
    assert failure is not None
    assert (failure.path, failure.line, failure.message) == (
        "test/sum.spec.js",
        7,
        "expected 1 to be 2",
    )


def test_a_ctrf_file_that_counted_otherwise_is_not_believed() -> None:
    """A summary of other tests than are listed makes the report torn; other JSON is no report."""
    document = json.dumps(CTRF).replace('"tests": 3', '"tests": 4').encode()
    assert "counts other tests" in read_files([("ctrf/a.json", document)], tree()).tampered
    assert not read_files([("ctrf/schema.json", b'{"type": "object"}')], tree()).sessions


NODE = """import { test, describe } from "node:test";
import assert from "node:assert";
test("squares", () => { assert.strictEqual(6, 9); });
describe("none", () => {
  test("is none", () => {});
  test("waits", { skip: "later" }, () => {});
});
"""
BATS = """@test "adds" { [ 3 = 3 ]; }
@test "fails" {
  [ 3 = 4 ]
}
@test "waits" { skip "later"; }
"""
PROVE = """use Test::More tests => 3;
ok(1, 'adds');
is(3, 4, 'fails');
SKIP: { skip 'later', 1; ok(1, 'waits'); }
"""


@pytest.mark.parametrize(
    ("program", "command", "path", "text", "outcomes", "place"),
    [
        (
            "node",
            ["node", "--test", "--test-reporter=tap"],
            "a.test.mjs",
            NODE,
            {
                "a.test.mjs::squares": "failed",
                "a.test.mjs::none > is none": "passed",
                "a.test.mjs::none > waits": "skipped",
            },
            (3, "Expected values to be strictly equal:"),
        ),
        (
            "bats",
            ["bats", "--tap"],
            "test/a.bats",
            BATS,
            {
                "test/a.bats::adds": "passed",
                "test/a.bats::fails": "failed",
                "test/a.bats::waits": "skipped",
            },
            (3, "`[ 3 = 4 ]' failed"),
        ),
        (
            "prove",
            ["prove", "-v", "--merge"],
            "t/a.t",
            PROVE,
            {"t/a.t::adds": "passed", "t/a.t::fails": "failed", "t/a.t::3": "skipped"},
            (3, "got: '3'\nexpected: '4'"),
        ),
    ],
)
def test_tap_of_real_runners_tells_each_test(
    tmp_path: Path,
    program: str,
    command: list[str],
    path: str,
    text: str,
    outcomes: dict[str, str],
    place: tuple[int, str],
) -> None:
    """TAP, as node, bats and prove write it, gives ids by file, outcomes, places and messages."""
    if shutil.which(program) is None or not works(program):
        pytest.skip(f"{program} does not run here")
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    said = subprocess.run(
        [*command, path], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stdout
    known = Tree(str(tmp_path), frozenset([path]), lambda each: text)
    report = read_tap(said, known)
    assert report.outcomes == outcomes
    assert not report.tampered
    [failure] = [each.failure for each in report.results if each.failure]
    assert (failure.path, failure.line, failure.message.partition("\n# Looks")[0]) == (path, *place)


TAPE = """TAP version 13
# sums
ok 1 should be equal
not ok 2 carries
  ---
    operator: equal
    expected: 2
    actual:   1
    at: Test.<anonymous> (/top/test/sum.js:9:5)
  ...
# waits
ok 3 later # SKIP

1..3
# tests 3
# pass  1
# fail  1
"""


def test_the_headings_of_tape_are_its_tests() -> None:
    """A comment before points is the test they are of; what it says after a failure is not."""
    known = tree("test/sum.js", **{"test/sum.js": "test('sums', (t) => {\n"})
    report = read_tap(TAPE, known)
    assert report.outcomes == {
        "test/sum.js::sums > should be equal": "passed",
        "test/sum.js::sums > carries": "failed",
        "tap::waits > later": "skipped",
    }
    failure = report.results[1].failure
    assert failure is not None
    assert (failure.path, failure.line) == ("test/sum.js", 9)


def test_tap_that_ends_early_is_torn() -> None:
    """Fewer points than were planned, or a bail-out, make the report torn; prose is none."""
    assert "planned" in read_tap("1..3\nok 1 - a\nok 2 - b\n", tree()).tampered
    ended = read_tap("1..3\nok 1 - a\nBail out! no disk\n", tree())
    assert not ended.tampered, "what failed may have ended before the rest"
    assert ended.failures == ("tap::Bail out! no disk",)
    assert not read_tap("all went\nok then\n", tree()).sessions
