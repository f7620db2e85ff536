"""Reports of runners other than Python's, as they come: streams, JSON, JUnit files."""

from __future__ import annotations

import json

import pytest

from self_coding.gate.judge import judge
from self_coding.gate.runner_reports import Tree, read_stream
from self_coding.gate.test_report import RunRecord

JEST = {
    "numTotalTests": 3,
    "testResults": [
        {
            "name": "/top/src/a.test.ts",
            "status": "failed",
            "message": "",
            "assertionResults": [
                {"ancestorTitles": ["sum"], "title": "adds", "status": "passed", "duration": 3},
                {
                    "ancestorTitles": ["sum"],
                    "title": "carries",
                    "status": "failed",
                    "failureMessages": [
                        "AssertionError: expected 1 to be 2\n    at /top/src/a.test.ts:7:19"
                    ],
                },
                {"ancestorTitles": [], "title": "waits", "status": "pending"},
            ],
        },
        {
            "name": "/top/src/b.test.ts",
            "status": "failed",
            "message": "no module",
            "assertionResults": [],
        },
    ],
}


def stream(runner: str, body: str, exit_status: int | None = 0) -> str:
    end = "" if exit_status is None else f"\n\x1eend {exit_status}\n"
    return f"\n\x1ebegin {runner} /top\n{body}{end}"


def tree(*paths: str, **texts: str) -> Tree:
    return Tree("/top", frozenset(paths), texts.get)


def test_jest_and_vitest_tell_ids_durations_and_places() -> None:
    """Their JSON gives each test by file and titles; a file that did not load is an error."""
    known = tree("src/a.test.ts", "src/b.test.ts")
    report, _ = read_stream(stream("vitest", json.dumps(JEST), 1), known)
    assert report.outcomes == {
        "src/a.test.ts::sum > adds": "passed",
        "src/a.test.ts::sum > carries": "failed",
        "src/a.test.ts::waits": "skipped",
        "src/b.test.ts": "error",
    }
    assert report.results[0].seconds == 0.003
    failure = report.results[1].failure
    assert failure is not None
    assert (failure.path, failure.line) == ("src/a.test.ts", 7)
    assert failure.message == "AssertionError: expected 1 to be 2"


def test_a_runner_that_counted_otherwise_is_not_believed() -> None:
    """A total that is not that of the tests listed says that the report was changed."""
    report, _ = read_stream(stream("jest", json.dumps(JEST | {"numTotalTests": 9})), tree())
    assert "counted other tests" in report.tampered
    body = (
        "     Running unittests src/lib.rs (target/debug/deps/area-0a1b)\n\nrunning 2 tests\n"
        "test a ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n"
    )
    assert (
        "counted other tests" in read_stream(stream("cargo", body), tree("src/lib.rs"))[0].tampered
    )


def test_a_stream_without_its_end_is_unfinished() -> None:
    """A runner that was killed leaves a report that does not end, and its test without result."""
    events = [
        {"Action": "run", "Package": "p", "Test": "TestA"},
        {"Action": "output", "Package": "p", "Test": "TestA", "Output": "=== RUN TestA\n"},
    ]
    body = "\n".join(map(json.dumps, events))
    report, shown = read_stream(stream("go", body, None), tree())
    assert not report.ended
    assert report.unfinished == ("p::TestA",)
    assert shown == "=== RUN TestA\n"


def test_a_line_more_never_hides_a_failure() -> None:
    """Of two outcomes of one test the worse counts, whichever was written last."""
    events = [{"Action": a, "Package": "p", "Test": "TestA"} for a in ("run", "fail", "pass")]
    report, _ = read_stream(stream("go", "\n".join(map(json.dumps, events)), 1), tree())
    assert report.outcomes == {"p::TestA": "failed"}


def test_a_package_that_does_not_build_is_an_error() -> None:
    """What cannot be compiled is told by its folder, and is no test."""
    events = [
        {"Action": "output", "Package": "p", "Output": "FAIL\tp [build failed]\n"},
        {"Action": "fail", "Package": "p"},
    ]
    body = "p/a.go:3:5: undefined: x\n" + "\n".join(map(json.dumps, events))
    report, shown = read_stream(stream("go", body, 2), tree())
    assert report.outcomes == {"p": "error"}
    assert "undefined: x" in shown
    body = "error[E0425]: cannot find value `x`\n --> src/lib.rs:2:5\n\nerror: could not compile\n"
    report, _ = read_stream(stream("cargo", body, 101), tree("src/lib.rs"))
    assert report.outcomes == {"cargo": "error"}
    [failed] = report.results
    assert "cannot find value" in failed.message
    assert failed.failure.message == "error[E0425]: cannot find value `x`"
    assert (failed.failure.path, failed.failure.line) == ("src/lib.rs", 2)


def test_what_does_not_build_says_what_the_compiler_says() -> None:
    """A package that is not built is an error with the compiler's first line and its place."""
    body = (
        "# example.com/tool/area [example.com/tool/area.test]\narea/area.go:3:31: undefined: x\n"
        "FAIL\texample.com/tool/area [build failed]\n"
    )
    text = {"go.mod": "module example.com/tool\n"}
    known = Tree("/top", frozenset(("area/area.go", "go.mod")), text.get, text)
    report, _ = read_stream(stream("go", body, 2), known)
    [failed] = report.results
    assert (failed.id, failed.outcome) == ("area", "error")
    assert failed.failure.message == "area/area.go:3:31: undefined: x"
    assert (failed.failure.path, failed.failure.line) == ("area/area.go", 3)
    said = judge(RunRecord(exit_status=2, report=report), None).reason
    assert "area (area/area.go:3:31: undefined: x)" in said


@pytest.mark.parametrize(
    "said",
    [
        "panicked at src/lib.rs:11:9:\nassertion failed: 6 == 9\nnote: run with `RUST",
        "panicked at 'assertion failed: 6 == 9', src/lib.rs:11:9\nnote: run with `RUST",
        "panicked at 'it's '9', not 6', src/lib.rs:11:9\nnote: run",
        "panicked at /top/src/lib.rs:11:9:\n  left: 6\n right: 9\nstack backtrace:\n 0: x",
    ],
)
def test_a_panic_is_told_by_every_rust(said: str) -> None:
    """Message and place of a failed test, in whichever order this compiler prints them."""
    body = (
        "     Running unittests src/lib.rs (target/debug/deps/area-0a)\n\nrunning 1 test\n"
        "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nthread 'a' " + said + "\n\n\n"
        "failures:\n    a\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n"
    )
    report, _ = read_stream(stream("cargo", body, 101), tree("src/lib.rs"))
    [failed] = report.results
    assert (failed.failure.path, failed.failure.line) == ("src/lib.rs", 11)
    assert "9" in failed.failure.message and "note:" not in failed.failure.message


def test_a_test_binary_that_ended_early_is_noticed() -> None:
    """Tests that cargo began, without the line that counts them, make the report worthless."""
    body = "     Running unittests src/lib.rs (target/debug/deps/area-0a)\n\nrunning 2 tests\n"
    report, _ = read_stream(stream("cargo", f"{body}test a ... ok\n", 0), tree("src/lib.rs"))
    assert "ended before its tests did" in report.tampered


def test_a_run_of_chosen_tests_says_so() -> None:
    """Where a runner was told which tests to run, the report is not one of all tests."""
    report, _ = read_stream(stream("go", "\x1echosen\n", 0), tree())
    assert not report.is_foreign
    assert read_stream(stream("go", "", 0), tree())[0].is_foreign
