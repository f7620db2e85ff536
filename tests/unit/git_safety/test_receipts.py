"""Receipts: chained, and checked offline against the repository."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from self_coding.errors import GateError
from self_coding.git_safety import receipts
from self_coding.git_safety.receipts import Member, read_receipts, verify
from self_coding.values.verdicts import GateReport, TestResult


@pytest.fixture
def repo(tmp_path):
    path = tmp_path / "repo"
    path.mkdir()

    def git(*args: str) -> str:
        argv = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args]
        return subprocess.run(
            argv, cwd=path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    commits = []
    for number in range(3):
        (path / "f").write_text(str(number))
        git("add", "f")
        git("commit", "-qm", str(number))
        commits.append((git("rev-parse", "HEAD"), git("rev-parse", "HEAD^{tree}")))
    return path, commits


def report(commit: str, tree: str, *, passed: bool = True) -> GateReport:
    tests = (TestResult(id="a", outcome="passed"), TestResult(id="b", outcome="failed"))
    return GateReport(
        passed=passed, commit=commit, tree=tree, command="x", tests=tests, known_failures=("b",)
    )


def write_receipt(store, report, *, onto, landed):
    return receipts.chain(store, receipts.draft(report), onto=onto, landed=landed)


def chain(store, commits):
    for commit, tree in commits:
        write_receipt(store, report(commit, tree), onto="0" * 40, landed=commit)


def rules(store, path):
    return [finding.rule for finding in verify(store, path)]


def test_a_chain_of_landings_verifies(repo, tmp_path):
    """Receipts follow each other and their trees are the repository's."""
    path, commits = repo
    chain(tmp_path, commits)
    found = read_receipts(tmp_path)
    assert [receipt.number for receipt in found] == [1, 2, 3]
    assert found[1].previous == found[0].hash
    assert found[0].outcomes == (("failed", 1), ("passed", 1))
    assert verify(tmp_path, path) == []


def test_nothing_is_nothing(repo, tmp_path):
    """Without a landing there is nothing to complain about."""
    assert verify(tmp_path, repo[0]) == []


def test_a_landed_tree_that_was_not_tested_is_found(repo, tmp_path):
    """When another commit landed than was tested, the check says so."""
    path, commits = repo
    tested, other = commits[0], commits[1]
    write_receipt(tmp_path, report(*tested), onto="", landed=other[0])
    assert rules(tmp_path, path) == ["receipt-tree"]


def test_a_claimed_tree_is_checked(repo, tmp_path):
    """A receipt that names another tree than its commit has is found, twice over."""
    path, commits = repo
    write_receipt(tmp_path, report(commits[0][0], commits[1][1]), onto="", landed=commits[0][0])
    assert rules(tmp_path, path) == ["receipt-tree", "receipt-tree"]


def test_a_commit_that_is_gone_is_found(repo, tmp_path):
    """A receipt of a commit that the repository has not is found."""
    write_receipt(tmp_path, report("1" * 40, "2" * 40), onto="", landed="1" * 40)
    assert set(rules(tmp_path, repo[0])) == {"receipt-commit-missing"}


def test_a_landing_that_had_not_passed_is_found(repo, tmp_path):
    """A receipt whose gate said no is no receipt for a landing."""
    path, commits = repo
    write_receipt(tmp_path, report(*commits[0], passed=False), onto="", landed=commits[0][0])
    assert rules(tmp_path, path) == ["receipt-not-passed"]


def test_every_changed_field_is_found(repo, tmp_path):
    """Whatever is altered in a receipt afterwards, the check says that it was."""
    path, commits = repo
    chain(tmp_path, commits[:1])
    file = tmp_path / "receipts" / "00000001.json"
    good = json.loads(file.read_text())
    for name, value in good.items():
        changed = value + "x" if isinstance(value, str) else [["x", 1]] if name == "outcomes" else 7
        file.write_text(json.dumps(good | {name: changed}))
        assert rules(tmp_path, path), name
    file.write_text(json.dumps(good))
    assert verify(tmp_path, path) == []


def test_a_missing_and_a_replaced_receipt_are_found(repo, tmp_path):
    """A hole in the chain, and a receipt from another chain, are found."""
    path, commits = repo
    chain(tmp_path / "a", commits)
    chain(tmp_path / "b", commits[1:])
    second = tmp_path / "a" / "receipts" / "00000002.json"
    kept = second.read_text()
    second.unlink()
    assert "receipt-missing" in rules(tmp_path / "a", path)
    other = (tmp_path / "b" / "receipts" / "00000002.json").read_text()
    second.write_text(other)
    assert "receipt-chain" in rules(tmp_path / "a", path)
    second.write_text(kept)
    first = tmp_path / "a" / "receipts" / "00000001.json"
    first.write_text("{")
    assert "receipt-damaged" in rules(tmp_path / "a", path)


def test_a_chain_that_lost_its_beginning_is_found(repo, tmp_path):
    """The first receipt follows nothing."""
    path, commits = repo
    chain(tmp_path, commits)
    (tmp_path / "receipts" / "00000001.json").unlink()
    assert "receipt-missing" in rules(tmp_path, path)


def test_a_damaged_end_stops_the_next_receipt(repo, tmp_path):
    """Nothing is chained to a receipt that cannot be read."""
    _, commits = repo
    chain(tmp_path, commits[:1])
    (tmp_path / "receipts" / "00000001.json").write_text("{")
    with pytest.raises(GateError, match="damaged"):
        chain(tmp_path, commits[1:])


def test_a_note_outlives_others_and_grows_old(repo, tmp_path):
    """However many pass meanwhile, what waits for approval keeps its note, for three months."""
    _, commits = repo
    receipts.note(tmp_path, report(*commits[0]))
    for number in range(300):
        receipts.note(tmp_path, report(f"{number:040}", "2" * 40))
    receipts.seal(tmp_path, [Member("", *commits[0])])
    assert [one.commit for one in read_receipts(tmp_path)] == [commits[0][0]]
    long_ago = time.time() - 100 * 86_400
    for old in (tmp_path / "passed").glob("*.json"):
        os.utime(old, (long_ago, long_ago))
    receipts.note(tmp_path, report(*commits[1]))
    assert [one.stem for one in (tmp_path / "passed").glob("*.json")] == [commits[1][0]]


def test_landing_again_onto_another_main_is_another_receipt(repo, tmp_path):
    """The same commit on the same main is one landing, on another main it is the next."""
    _, commits = repo
    for onto in ("a" * 40, "a" * 40, "b" * 40):
        receipts.note(tmp_path, report(*commits[0]))
        receipts.seal(tmp_path, [Member(onto, *commits[0])])
    assert [one.onto[0] for one in read_receipts(tmp_path)] == ["a", "b"]


def test_writers_side_by_side_make_one_chain(repo, tmp_path):
    """Receipts written at once get one number each and one chain."""
    path, commits = repo
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: chain(tmp_path, commits[:1]), range(12)))
    assert [receipt.number for receipt in read_receipts(tmp_path)] == list(range(1, 13))
    assert verify(tmp_path, path) == []


def test_equal_receipts_at_once(repo, tmp_path):
    """Writers whose receipts are equal to the last byte chain them one behind the other."""
    _, [(commit, tree), *_] = repo
    tested = receipts.draft(report(commit, tree))
    moment = datetime.now(UTC)

    def seal(_: int) -> int:
        made = receipts.chain(tmp_path / "s", tested, onto="", landed=commit, clock=lambda: moment)
        return made.number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(seal, range(40))) == list(range(1, 41))
    assert len(list((tmp_path / "s" / "receipts").iterdir())) == 40


def test_how_the_base_judged_is_sealed_and_older_receipts_hold(repo, tmp_path):
    """A receipt from before the field verifies; one with it does not survive its change."""
    path, commits = repo
    chain(tmp_path, commits[:1])
    [old] = (tmp_path / "receipts").glob("*.json")
    data = json.loads(old.read_text())
    del data["judged_by_base"]
    old.write_text(json.dumps(data))
    judged = replace(report(*commits[1]), judged_by_base="ran")
    write_receipt(tmp_path, judged, onto=commits[0][0], landed=commits[1][0])
    assert rules(tmp_path, path) == []
    new = max((tmp_path / "receipts").glob("*.json"))
    new.write_text(new.read_text().replace('"ran"', '""'))
    assert rules(tmp_path, path) == ["receipt-changed"]
