"""RunRecord becomes a verdict: every way in which a green exit status proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from self_coding.gate.judge import Sides, judge
from self_coding.gate.test_report import RunRecord, TestReport
from self_coding.values.verdicts import TestResult

KNOWN = "1 known: t.py::test_a, fails on main too"
SAME = Sides(base=lambda path: "def test_a(): pass", candidate=lambda path: "def test_a(): pass")
GONE = Sides(base=lambda path: "def test_a(): pass", candidate=lambda path: None)


def ran(status: int = 0, statuses: tuple[int, ...] | None = None, **outcomes: str) -> RunRecord:
    results = tuple(TestResult(id=f"t.py::{name}", outcome=to) for name, to in outcomes.items())
    report = TestReport(
        sessions=1,
        ended=True,
        statuses=(status,) if statuses is None else statuses,
        collected=tuple(one.id for one in results),
        results=results,
    )
    return RunRecord(exit_status=status, report=report)


def altered(found: RunRecord, **changes: object) -> RunRecord:
    return replace(found, report=replace(found.report, **changes))


def say(found: RunRecord, base: RunRecord | None = None, **more: object):
    return judge(found, base, must_report=True, **more)


def test_green_passes():
    """All passed, exit status 0: passed, with nothing to add."""
    judgement = say(ran(test_a="passed"))
    assert (judgement.passed, judgement.reason) == (True, "")


def test_what_collects_nothing_any_more_is_no_silent_loss():
    """Where the run itself cannot start, that is the reason, and not each test that is missing."""
    judgement = say(ran(1, (5,)), ran(test_a="passed"), sides=SAME)
    assert not judgement.passed
    assert (judgement.findings, judgement.environment) == ((), False)
    assert "no test was collected" in judgement.reason


def test_red_does_not_pass():
    """A failure without a base is a failure; its text is the founding one."""
    judgement = say(ran(1, test_a="failed"))
    assert not judgement.passed
    assert "tests failed" in judgement.reason
    assert judgement.new_failures == ("t.py::test_a",)


@pytest.mark.parametrize(
    "changed",
    [
        {"tampered": "a line"},
        {"ended": False},
        {"rewritten": ("t.py::test_a",)},
        {"altered": ("unittest.case.TestCase.assertEqual by conftest.py",)},
        {"canaries": ("assert 1 == 2",)},
        {"collected": ("t.py::test_a", "t.py::test_lost")},
        {"results": (), "collected": ()},
        {"statuses": (5,)},
        {"statuses": (3,)},
    ],
)
def test_a_census_that_proves_nothing_refuses(changed):
    """Whatever is wrong with the report refuses, although the exit status is 0."""
    judgement = say(altered(ran(test_a="passed"), **changed))
    assert not judgement.passed
    assert judgement.reason


def test_an_exit_status_that_no_test_explains_refuses():
    """A plugin that fails the run (coverage too low) is obeyed."""
    assert "although no test failed" in say(ran(1, (0,), test_a="passed")).reason


def test_failures_hidden_behind_status_0_refuse_even_when_known():
    """An exit status of 0 with failures is a lie, whoever had them before."""
    base = ran(1, test_a="failed")
    judgement = say(ran(0, test_a="failed"), base)
    assert "exit status 0 although tests failed" in judgement.reason


def test_a_time_limit_refuses():
    """A run that was ended proves nothing, and the running test is named."""
    found = replace(altered(ran(test_a="passed"), unfinished=("t.py::test_b",)), timed_out=True)
    assert say(found).reason == "the time limit was reached in t.py::test_b"


def test_git_files_that_changed_refuse():
    """Planted configuration refuses before anything else is looked at."""
    judgement = say(replace(ran(test_a="passed"), planted=("hooks/x",)))
    assert [finding.rule for finding in judgement.findings] == ["repository-config-changed"]


def test_known_failures_pass_and_new_ones_do_not():
    """On a red base only new failures count."""
    base = ran(1, test_a="failed", test_b="passed")
    known = say(ran(1, test_a="failed", test_b="passed"), base)
    assert (known.passed, known.reason) == (True, f"no new failures: {KNOWN}")
    new = say(ran(1, test_a="failed", test_b="failed"), base)
    assert (new.passed, new.new_failures) == (False, ("t.py::test_b",))
    assert new.known_failures == ("t.py::test_a",)


def test_the_tests_of_a_module_that_could_not_be_imported_are_known():
    """When the base's module did not import, its tests' failures are not new."""
    base = altered(ran(1), results=(TestResult(id="t.py", outcome="error"),))
    assert say(ran(1, test_a="failed", test_b="passed"), base).passed


def test_a_base_that_hung_excuses_nothing():
    """Failures of a base that hit its time limit are no excuse."""
    base = replace(ran(1, test_a="failed"), timed_out=True)
    assert not say(ran(1, test_a="failed"), base).passed


def test_flaky_is_excused_only_where_the_base_is_so_too():
    """A failure that passed when run again is flaky where the base's own run failed once."""
    found = replace(ran(1, test_a="failed"), retried=(("t.py::test_a", "passed"),))
    old = say(found, replace(ran(test_a="passed"), retried=(("t.py::test_a", "failed"),)))
    assert (old.passed, old.flaky) == (True, ("t.py::test_a",))
    steady = replace(ran(test_a="passed"), retried=(("t.py::test_a", "passed"),))
    for base in (steady, ran(test_a="passed"), ran(test_other="passed")):
        assert not say(found, base).passed
    again = replace(found, retried=(("t.py::test_a", "failed"),))
    assert not say(again, ran(test_a="passed")).passed


@pytest.mark.parametrize("outcome", ["failed", "skipped", "xfailed"])
def test_what_was_known_before_excuses_no_suite_without_a_pass(outcome):
    """Where nothing passed nothing is proved; a test that passed when run again did pass."""
    found = ran(int(outcome == "failed"), test_a=outcome)
    judgement = say(found, found)
    assert not judgement.passed
    assert "no test passed, so nothing was proved" in judgement.reason
    assert say(replace(found, retried=(("t.py::test_a", "passed"),)), found).passed


def test_a_silent_loss_refuses_and_an_open_one_is_a_finding():
    """A test that is no longer collected although its source is there refuses."""
    base, found = ran(test_a="passed", test_b="passed"), ran(test_b="passed")
    silent = say(found, base, sides=SAME)
    assert not silent.passed
    assert [finding.rule for finding in silent.findings] == ["census-shrank"]
    shown = say(found, base, sides=GONE)
    assert shown.passed
    assert [finding.rule for finding in shown.findings] == ["census-shrank"]


@pytest.mark.parametrize(
    ("broken", "known", "rules"),
    [
        ("pkg/sub", False, []),
        (".", False, []),
        ("cargo", False, []),
        ("other", False, ["census-shrank"]),
        (".", True, ["census-shrank"]),  # main's own excuses no loss
    ],
)
def test_what_is_not_built_has_lost_no_tests_silently(broken, known, rules):
    """A package that does not compile is one failure, and not a broken rule for each test."""

    def run(*names: str, errors: tuple[str, ...]) -> RunRecord:
        results = [TestResult(id=name, outcome="passed") for name in names]
        results += [TestResult(id=name, outcome="error") for name in errors]
        return altered(ran(1), collected=names, results=tuple(results))

    base = run("pkg/sub/a_test.go::TestA", "b::B", errors=(broken,) * known)
    judgement = say(run("b::B", errors=(broken,)), base, sides=SAME)
    assert [finding.rule for finding in judgement.findings] == rules
    assert not judgement.passed


def test_a_file_that_tap_says_failed_has_lost_no_tests_silently():
    """Runners that speak TAP tell of a file that cannot be loaded as of a test that fails."""
    failed = TestResult(id="tap::a.test.js exited with 1", outcome="failed")
    found = altered(ran(1), collected=(failed.id,), results=(failed,))
    judgement = say(found, ran(test_a="passed"), sides=SAME)
    assert (judgement.new_failures, judgement.findings) == ((failed.id,), ())


A, B = "class TestA:\n    def test_x(self): pass\n", "class TestB:\n    def test_x(self): pass\n"
BASE = A.replace("TestA", "Base")
MIXIN = BASE + "class TestA(Base): pass\nclass TestB(Base): pass\n"


@pytest.mark.parametrize(
    ("before", "after", "silent"),
    [
        (A + B, B, False),
        (A + B, A + B.replace("def test_x", "def test_y"), False),
        (A + B, A.replace("TestA", "CheckA") + B, True),
        (A + B, A.replace("class TestA:\n", "class TestA:\n    __test__ = False\n") + B, True),
        (MIXIN, MIXIN.replace("class TestA(Base):", "class TestA(Base): __test__ = False;"), True),
        (MIXIN, MIXIN.replace("test_x", "test_y"), False),
    ],
)
def test_a_namesake_in_another_class_hides_nothing(before, after, silent):
    """A test that left its class openly is a finding, whatever else has its name."""
    sides = Sides(base=lambda path: before, candidate=lambda path: after)
    gone = "TestB::test_x" if "test_y" in after and after != MIXIN else "TestA::test_x"
    both = dict.fromkeys(("TestA::test_x", "TestB::test_x"), "passed")
    kept = both.keys() - {gone}
    judgement = say(ran(**dict.fromkeys(kept, "passed")), ran(**both), sides=sides)
    assert judgement.passed is not silent
    assert [finding.rule for finding in judgement.findings] == ["census-shrank"]


def test_fewer_parameters_are_a_finding_only():
    """A function that is still collected with other parameters is not a silent loss."""
    base = altered(ran(test_b="passed"), collected=("t.py::test_a[1]", "t.py::test_a[2]"))
    found = altered(
        ran(test_b="passed"),
        collected=("t.py::test_a[2]",),
        results=(TestResult(id="t.py::test_a[2]", outcome="passed"),),
    )
    judgement = say(found, base, sides=SAME)
    assert judgement.passed
    assert len(judgement.findings) == 1


@pytest.mark.parametrize("now", ["skipped", "xfailed"])
@pytest.mark.parametrize("was", ["passed", "failed"])
def test_a_silent_skip_refuses(was, now):
    """A test that ran and is left out now, its file unchanged, refuses, and so does one that
    passed and is skipped; else it is a finding."""
    base, found = ran(test_a=was, test_b="passed"), ran(test_a=now, test_b="passed")
    silent = say(found, base, sides=SAME)
    assert not silent.passed
    assert [finding.rule for finding in silent.findings] == ["skips-grew"]
    shown = say(found, base, sides=Sides(base=lambda p: "old", candidate=lambda p: "new"))
    assert shown.passed is (was == "failed" or now == "xfailed")
    assert [finding.rule for finding in shown.findings] == ["skips-grew"]


def test_old_skips_are_no_news():
    """What the base skipped already is not a finding."""
    both = ran(test_a="skipped", test_b="passed")
    assert say(both, both, sides=SAME).findings == ()


def test_other_commands_go_by_exit_status_and_say_so():
    """Without a report the exit status decides, unless the command promised pytest."""
    found = RunRecord(exit_status=0)
    plain = judge(found, None)
    assert plain.passed
    assert "exit status alone" in plain.reason
    assert not judge(found, None, must_report=True).passed
    assert not judge(found, ran(test_a="passed")).passed
    assert not judge(replace(found, exit_status=2), None).passed


@pytest.mark.parametrize(
    ("status", "lacking", "why"),
    [(1, "", ""), (127, "`cargo` was not found", ": `cargo` was not found")],
)
def test_a_command_that_fails_on_main_as_well_is_not_the_changes_fault(status, lacking, why):
    """Where only the exit status is known, a red main is named as the reason, and refuses."""
    candidate = RunRecord(exit_status=1, output="FAILED")
    for base in (RunRecord(exit_status=status), RunRecord(exit_status=0), None):
        judgement = judge(candidate, base, lacking=lacking)
        blamed = base is not None and base.exit_status
        red = f"main fails this command itself (exit status {status}):"
        red += " nothing can land until it passes"
        assert judgement.reason == (red if blamed else "exit status 1") + why
        assert judgement.environment is bool(blamed or (lacking and base is None))
        assert (judgement.passed, judgement.findings) == (False, ())


def test_a_report_that_main_does_not_finish_either_breaks_no_rule():
    """A conftest that cannot be imported on main, too, is the environment's fault."""
    candidate = altered(ran(4), ended=False)
    judgement = say(candidate, altered(ran(4), ended=False), lacking="no module 'pytz'")
    assert (judgement.passed, judgement.environment, judgement.findings) == (False, True, ())
    assert judgement.reason.startswith("main fails this command itself (exit status 4)")
    assert judgement.reason.endswith(": no module 'pytz'")
    cut = altered(ran(4, test_a="passed"), ended=False)
    assert say(cut, ran(test_a="passed")).findings[0].rule == "census-incomplete"


def test_a_change_that_lets_no_test_start_fails_the_tests_and_breaks_no_rule():
    """A module that the conftest imports and that cannot be parsed is a failure like others."""
    judgement = say(altered(ran(4), ended=False), ran(test_a="passed"))
    assert (judgement.passed, judgement.environment, judgement.findings) == (False, False, ())
    assert judgement.reason == "tests failed before any started: exit status 4"


def test_a_suite_of_which_nothing_runs_on_main_either_is_the_environments_fault():
    """No test passed on either side: still refused, with what is missing and no blame."""
    nothing = altered(ran(1), results=(TestResult(id="t.py", outcome="error"),))
    judgement = say(nothing, nothing, lacking="no module 'dep'")
    assert (judgement.passed, judgement.environment) == (False, True)
    assert "nothing was proved: t.py failed: no module 'dep'" in judgement.reason
    assert "make at least" not in judgement.reason, "the way out is known"
    assert not say(nothing, ran(test_a="passed")).environment


def with_ids(*, unstable: tuple[str, ...] = (), **outcomes: str) -> RunRecord:
    """A run of `test_p` with these parameters."""
    named = {f"test_p[{name}]": outcome for name, outcome in outcomes.items()}
    status = int("failed" in outcomes.values())
    return replace(ran(status, None, test_a="passed", **named), unstable=unstable)


UNSTABLE = ("t.py::test_p",)


@pytest.mark.parametrize(
    ("base", "candidate", "passed"),
    [
        ({"a": "failed", "b": "failed"}, {"c": "failed", "d": "failed"}, True),
        ({"a": "failed", "b": "passed"}, {"c": "passed", "d": "failed"}, True),
        ({"a": "failed", "fixed": "passed"}, {"c": "failed", "fixed": "passed"}, True),
        ({"a": "failed", "b": "passed"}, {"c": "failed", "d": "failed"}, False),
        ({"a": "failed", "fixed": "passed"}, {"c": "failed", "fixed": "failed"}, False),
        ({"a": "passed", "b": "passed"}, {"c": "passed", "d": "failed"}, False),
    ],
)
def test_ids_that_change_at_each_collection_are_compared_by_function(base, candidate, passed):
    """As many failures under other ids as before are known; one more is new. Only if unstable."""
    judgement = say(with_ids(unstable=UNSTABLE, **candidate), with_ids(**base), sides=SAME)
    assert judgement.passed is passed
    assert not say(with_ids(**candidate), with_ids(**base), sides=SAME).passed


@pytest.mark.parametrize("after", [{"c": "skipped", "d": "passed"}, {"c": "passed"}])
def test_unstable_ids_hide_no_loss(after):
    """A case that is gone or skipped under another id is a loss still."""
    base = with_ids(a="passed", b="passed")
    judgement = say(with_ids(unstable=UNSTABLE, **after), base, sides=SAME)
    assert [one.rule for one in judgement.findings] == ["census-shrank", "census-shrank"]
    kept = say(with_ids(unstable=UNSTABLE, c="passed", d="passed"), base, sides=SAME)
    assert (kept.passed, kept.findings) == (True, ())


def test_what_is_excused_is_named():
    """Known failures and flaky tests are named in the reason, the first few of many."""
    names = [f"test_{number}" for number in range(7)]
    found = ran(1, None, test_ok="passed", test_f="failed", **dict.fromkeys(names, "failed"))
    base = ran(1, None, test_ok="passed", test_f="passed", **dict.fromkeys(names, "failed"))
    unsteady = replace(base, retried=(("t.py::test_f", "failed"),))
    reason = say(replace(found, retried=(("t.py::test_f", "passed"),)), unsteady).reason
    listed = ", ".join(f"t.py::{name}" for name in names[:5])
    assert reason == (
        f"no new failures: 7 known: {listed} and 2 more, fail on main too; 1 flaky: t.py::test_f"
    )
    assert say(found, base).reason == "tests failed: 1 new failure: t.py::test_f"


def test_a_full_disk_is_the_machines_fault():
    """A run on a machine without room is refused as such: no rule is broken, nobody learns."""
    judgement = say(replace(ran(1, test_a="failed"), disk_full=True), ran(test_a="passed"))
    assert (judgement.passed, judgement.environment, judgement.findings) == (False, True, ())
    assert judgement.reason == "the disk is full: make room, and try again"


def test_a_bound_that_ended_the_run_is_named():
    """Whatever the report lacks then, the reason is the bound, and it is the change's doing."""
    cut = altered(ran(143), ended=False)
    judgement = say(replace(cut, exceeded="9 MiB of files written; raise gate.file_bytes"))
    assert judgement.reason == "the run was ended: 9 MiB of files written; raise gate.file_bytes"
    assert not judgement.passed and not judgement.environment


@pytest.mark.parametrize("after", ["class TestB(Mixin): pass\n", "class TestA(Mixin): pass\n"])
def test_a_class_that_only_inherits_is_gone_openly(after):
    """What it inherited went with it, which its file shows; while it is there, nothing shows it."""
    mixin = "class Mixin:\n    def test_x(self): pass\n"
    before = mixin + "class TestA(Mixin): pass\n"
    sides = Sides(base=lambda path: before, candidate=lambda path: mixin + after)
    base, found = ran(**{"TestA::test_x": "passed", "b": "passed"}), ran(b="passed")
    assert say(found, base, sides=sides).passed is ("TestB" in after)
