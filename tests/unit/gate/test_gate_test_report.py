"""The plugin's report, read line by line: forged, lost and repeated lines show."""

from __future__ import annotations

import hashlib
import json

import pytest

from self_coding.gate import test_report
from self_coding.values.verdicts import TestFailure, TraceEntry

KEY, OTHER = b"k" * 32, b"o" * 32


def line(number: int, kind: str, value: object, key: bytes = KEY) -> bytes:
    body = json.dumps([number, kind, value]).encode()
    mac = hashlib.blake2b(body, digest_size=8, key=key).hexdigest().encode()
    return key[:4].hex().encode() + b" " + mac + b" " + body + b"\n"


def report(*events: tuple[str, object]) -> bytes:
    return b"".join(line(number, kind, value) for number, (kind, value) in enumerate(events))


HELLO, END = ("hello", {}), ("end", {"status": 0, "failed": 0})


def result(node: str, when: str, outcome: str) -> tuple[str, object]:
    failure = ["a.py", 3, "E: x", [["t.py", 1, "test"], ["a.py", 3, "f"]]]
    return "result", [node, when, outcome, 0.1, "why", failure if outcome == "failed" else None]


def test_a_whole_report_is_read():
    """Ids, outcomes and the end are read."""
    found = test_report.read(
        report(HELLO, ("collected", ["a", "b"]), result("a", "call", "passed"), END), [KEY]
    )
    assert (found.sessions, found.ended, found.statuses) == (1, True, (0,))
    assert found.collected == ("a", "b")
    assert found.outcomes == {"a": "passed"}
    assert found.tampered == ""


def test_an_empty_report_is_no_session():
    """Where pytest never spoke, there is nothing to judge by."""
    found = test_report.read(b"", [KEY])
    assert (found.sessions, found.ended, found.tampered) == (0, False, "")


def test_the_worst_of_a_test_counts():
    """A test that passes and whose teardown fails is an error; failures are failures."""
    found = test_report.read(
        report(
            HELLO,
            result("a", "call", "passed"),
            result("a", "teardown", "failed"),
            result("b", "call", "failed"),
            result("b", "call", "passed"),
            END,
        ),
        [KEY],
    )
    assert found.outcomes == {"a": "error", "b": "failed"}
    assert found.failures == ("a", "b")


def test_a_failure_comes_in_parts():
    """Where a test failed, why, and the calls on the way are values; a pass has none."""
    found = test_report.read(
        report(HELLO, result("a", "call", "failed"), result("b", "call", "passed"), END), [KEY]
    )
    assert [one.failure for one in found.results] == [
        TestFailure(
            path="a.py",
            line=3,
            message="E: x",
            entries=(TraceEntry("t.py", 1, "test"), TraceEntry("a.py", 3, "f")),
        ),
        None,
    ]


def test_a_forged_line_shows():
    """A line that the key did not sign is tampering."""
    forged = report(HELLO) + line(1, *END, key=OTHER).replace(OTHER[:4].hex().encode(), b"6b6b6b6b")
    assert "not the plugin's" in test_report.read(forged, [KEY]).tampered


def test_a_line_of_an_unknown_key_shows():
    """A line under a key that was never handed out is tampering."""
    forged = report(HELLO) + line(0, *HELLO, key=OTHER)
    assert test_report.read(forged, [KEY]).tampered


def test_a_lost_a_repeated_and_a_late_line_show():
    """Lines are numbered, and nothing follows the end."""
    lost = line(0, *HELLO) + line(2, *END)
    repeated = line(0, *HELLO) + line(0, *HELLO)
    late = report(HELLO, END, ("collected", ["x"]))
    for wrong in (lost, repeated, late):
        assert "order" in test_report.read(wrong, [KEY]).tampered


def test_a_torn_and_a_cut_report_show():
    """A last line without its end, and a report that was longer than what was read."""
    assert "torn" in test_report.read(report(HELLO, END)[:-1], [KEY]).tampered
    assert test_report.read(report(HELLO, END), [KEY], cut=True).tampered


def test_nonsense_is_tampering_not_an_error():
    """A signed line that makes no sense is named, not raised."""
    for kind, value in (("result", ["a"]), ("state", {}), ("end", {}), ("what", 1)):
        assert "no sense" in test_report.read(report(HELLO, (kind, value)), [KEY]).tampered


def test_two_sessions_must_both_end():
    """A command may start pytest twice; one that does not end spoils both."""
    first = report(HELLO, END)
    second = line(0, *HELLO, key=OTHER)
    both = second + line(1, "end", {"status": 1}, key=OTHER)
    assert not test_report.read(first + second, [KEY, OTHER]).ended
    found = test_report.read(first + both, [KEY, OTHER])
    assert (found.sessions, found.ended, found.statuses) == (2, True, (0, 1))


def test_what_began_and_did_not_finish_is_named():
    """The test that was running at the end of the report is known."""
    found = test_report.read(
        report(HELLO, ("start", "a"), ("start", "b"), result("a", "call", "passed")), [KEY]
    )
    assert found.unfinished == ("b",)


def test_states_are_gathered():
    """What the observers saw is kept, once each."""
    state = {
        "probe": {"p": [1, 2, "/p"]},
        "rewritten": ["a"],
    }
    found = test_report.read(report(HELLO, ("state", state), ("state", state), END), [KEY])
    assert found.probes == (("p", 1, 2, "/p"),)
    assert found.rewritten == ("a",)


SEEN = ("collected", ["a", "b", "c"])
COUNTED = {
    "pytest": (report(HELLO, SEEN, result("a", "call", "passed")), 1, 3, 0),
    "a setup that failed": (
        report(HELLO, ("collected", ["a", "b"]), result("a", "setup", "failed")), 0, 2, 1
    ),
    "workers": (
        report(HELLO, ("collected", ["x"]), SEEN, result("b", "call", "failed")), 1, 4, 1
    ),
    "a second run": (
        report(HELLO, ("collected", ["a", "b"]), result("a", "call", "failed"))
        + report(HELLO, ("collected", ["a"])), 0, 1, 0,
    ),
    "go": (b'{"Action":"run","Package":"p","Test":"TestA"}\n', 0, 0, 0),
    "node": (b"TAP version 13\n# Subtest: adds\nok 1 - adds\n", 0, 0, 0),
    "an unknown command": (b"\xff\xfe[1, 2]\n{}\n\n a b c\n[0] [0] [0,\"result\",[1]]\n", 0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("kind", COUNTED)
def test_tests_are_counted_while_they_run(kind: str, step: int) -> None:
    """However a report comes in, what has ended, of how many, and what failed is counted; an
    output that is no report counts as nothing, and breaks nothing."""
    text, done, total, failed = COUNTED[kind]
    count = test_report.TestCount()
    for start in range(0, len(text), step):
        count.take(text[start : start + step])
    assert (count.done, count.total, len(count.failed)) == (done, total, failed)
