"""The corpus: every cheat is refused by the rule that names it, every honest change passes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cheat_corpus import Case, sides, tree
from honest import HONEST

from cheats import CHEATS
from self_coding.gate.judge import Sides, judge
from self_coding.gate.test_report import RunRecord, TestReport
from self_coding.self_edit.policy import Policy
from self_coding.values.verdicts import TestResult

READ = [case for case in CHEATS if case.rule != "skips-grew"]
"""What reading the two sides is enough for; the others are seen by the run."""


def rules(case: Case) -> dict[str, str]:
    change, before, after = sides(case)
    return {f.rule: str(f) for f in Policy().judge(change, before=before, after=after).findings}


def test_the_corpus_is_large_enough() -> None:
    """At least 40 cheats and 20 honest changes, as the issue asks."""
    assert len(CHEATS) >= 40
    assert len(HONEST) >= 20


@pytest.mark.parametrize("case", READ, ids=str)
def test_a_cheat_is_refused(case: Case) -> None:
    """The rule that was made for it names it."""
    assert case.rule in rules(case)


@pytest.mark.parametrize("case", HONEST, ids=str)
def test_an_honest_change_passes(case: Case) -> None:
    """No rule refuses what people do every day."""
    assert rules(case) == {}


@pytest.mark.parametrize("case", [c for c in READ if c.rule not in {"", "protected-path"}], ids=str)
def test_a_finding_names_file_and_line(case: Case) -> None:
    """A finding says where: a changed path, and a line that exists on one of its two sides."""
    change, before, after = sides(case)
    for finding in Policy().judge(change, before=before, after=after).findings:
        assert finding.message
        if finding.path in change.paths:
            texts = [(side.get(finding.path) or b"").decode() for side in (before, after)]
            assert 0 <= finding.line <= max(len(text.splitlines()) for text in texts)
        else:
            assert finding.path in {"pyproject.toml", "tox.ini", "tests/helpers.py"}


@pytest.mark.parametrize("case", [c for c in CHEATS if c not in READ], ids=str)
def test_a_skip_is_refused_by_the_run(case: Case, tmp_path: Path) -> None:
    """A test that passed on the base and is skipped on the candidate refuses it."""
    sides = tree(), tree(*case.edits)
    records = []
    for name, files in zip(("base", "candidate"), sides, strict=True):
        listing = tmp_path / f"{name}.txt"
        run(files, tmp_path / name, "-rA", listing=listing)
        found = re.findall(
            r"(?m)^(PASSED|SKIPPED)(?: \[\d+\])? (\S+?)(?::\d+:.*)?$", listing.read_text()
        )
        results = tuple(
            TestResult(id=node if "::" in node else f"{node}::test_discount", outcome=word.lower())
            for word, node in found
        )
        ids = tuple(one.id for one in results)
        report = TestReport(sessions=1, ended=True, statuses=(0,), collected=ids, results=results)
        records.append(RunRecord(exit_status=0, report=report))
    texts = Sides(base=sides[0].get, candidate=sides[1].get)
    judgement = judge(records[1], records[0], sides=texts)
    assert not judgement.passed
    assert "skips-grew" in {finding.rule for finding in judgement.findings}


def run(files: dict[str, str], folder: Path, *options: str, listing: Path | None = None) -> int:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=150, env=environment)
    if listing is not None:
        listing.write_bytes(done.stdout)
    return done.returncode


@pytest.mark.slow
def test_the_bug_is_caught_without_a_cheat(tmp_path: Path) -> None:
    """The package is green, and with its bug red: there is something to hide."""
    assert run(tree(), tmp_path / "good") == 0
    assert run(tree(bug=True), tmp_path / "bad") == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CHEATS if case.hides], ids=str)
def test_a_cheat_really_works(case: Case, tmp_path: Path) -> None:
    """Pytest says that the buggy package is fine: without the judge it would land."""
    assert run(tree(*case.edits, bug=True), tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", HONEST, ids=str)
def test_an_honest_change_is_green(case: Case, tmp_path: Path) -> None:
    """The honest changes keep the package's own suite green."""
    files = {p: t.replace("-n 2 ", "") for p, t in tree(*case.edits).items()}
    assert run(files, tmp_path) == 0


def test_every_rule_has_a_cheat_and_a_line_in_the_docs() -> None:
    """Each rule in the code has a change that it refuses and a word to the reader."""
    root = Path(__file__).parents[2]
    sources = [
        *(root / "src/self_coding/audit").glob("*.py"),
        root / "src/self_coding/self_edit/policy.py",
    ]
    kebab = re.compile(r'"([a-z]+(?:-[a-z]+)+)"|finding\(\s*"([a-z]+)"')
    texts = [source.read_text() for source in sources]
    known = {one or two for text in texts for one, two in kebab.findall(text)}
    known -= {"entry-points", "self-coding"}  # keys of pyproject.toml
    assert len(known) > 55
    page = (root / "docs/explanation/integrity.md").read_text()
    undocumented = known - set(re.findall(r"`([a-z-]+)`", page))
    assert not undocumented, f"docs/explanation/integrity.md must name {undocumented}"
    units = ["self_edit/test_self_edit_policy.py", "audit/test_other_languages.py"]
    bounds = "".join((root / "tests/unit" / unit).read_text() for unit in units)
    shown = {case.rule for case in CHEATS} | set(re.findall(r'"([a-z-]+)"', bounds))
    unproved = known - shown
    assert not unproved, f"tests/cheats/cheats.py needs a change that is refused by {unproved}"
