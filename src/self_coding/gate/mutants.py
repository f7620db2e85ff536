"""How strong the tests of a change are: do they notice small changes of its lines?

Runs after the verdict and never changes it. Each mutant is one run of the affected tests that pass
without it, in the sandbox of any other run and within one budget of time for all.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from self_coding.adapters import git
from self_coding.gate.material import Material
from self_coding.gate.test_report import BAD, RunRecord
from self_coding.languages import Mutant, is_source, language_of
from self_coding.values.verdicts import Strength

_HUNK = re.compile(r"(?m)^@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_GIT_SECONDS = 60.0
_FILES = 50  # of a change
# An endless loop is a mutant that was noticed: what takes so much longer than the tests without it.
_SLOWER, _LEAST = 5.0, 10.0
RunTests = Callable[[Path, "Sequence[str] | None", float, bool], RunRecord]


def strength(
    top: Path,
    tree: Path,
    ends: tuple[str, str],
    *,
    run: RunTests,
    tests: Sequence[str],
    seconds: float,
    material: Material,
) -> Strength:
    """Return how many mutants of the lines that differ between two commits are noticed.

    Args:
        top: the repository.
        tree: a checkout of the later commit; it is left as it was.
        ends: the commits.
        run: runs tests in the checkout (None: all), within seconds, up to the first failure
            or all of them.
        tests: those that reach the change; none where nobody knows.
        seconds: the time for all of it; mutants for which none is left are not tried.
        material: what judges, and is not mutated.
    """
    end = time.monotonic() + seconds
    made = list(_spread(_mutants(top, tree, ends, material)))
    if not made:
        return Strength(reason="there is nothing to mutate in the lines of the change")
    began = time.monotonic()
    whole = run(tree, tests or None, seconds, False)
    took = time.monotonic() - began
    cases: dict[str, bool] = {}  # the tests, without their parameters: whether all passed
    for result in whole.report.results:
        name = result.id.split("[", 1)[0]
        cases[name] = cases.get(name, True) and result.outcome not in BAD
    passing = tuple(name for name, good in cases.items() if good and "::" in name)
    if whole.timed_out or (whole.exit_status and not passing):
        why = "take longer than that" if whole.timed_out else "do not pass"
        return Strength(made=len(made), reason=f"the tests alone {why}")
    chosen = passing if whole.understood else None
    survived: list[str] = []
    tried = 0
    for number, (path, mutant) in enumerate(made, 1):
        left, wanted = end - time.monotonic(), max(_LEAST, _SLOWER * took)
        if left < took:
            break
        place = tree / path
        text = place.read_bytes()
        try:
            place.write_bytes(mutant.text.encode())
            # Python compares size and whole seconds with those of its compiled file.
            os.utime(place, (number, number))
            record = run(tree, chosen, min(left, wanted), True)
        finally:
            place.write_bytes(text)
        if record.timed_out and left < wanted:  # nobody knows whether it would have ended
            break
        tried += 1
        passed = any(one.outcome == "passed" for one in record.report.results)
        green = (
            passed and not record.report.failures if record.understood else not record.exit_status
        )
        if green and not record.timed_out:
            survived.append(f"{path}:{mutant.line}: `{mutant.old}` became `{mutant.new}`")
    reason = "" if tried else f"no mutant could be tried in {seconds:g} s"
    return Strength(made=len(made), tried=tried, survived=tuple(survived), reason=reason)


def _mutants(
    top: Path, tree: Path, ends: tuple[str, str], material: Material
) -> Iterator[tuple[str, Mutant]]:
    """Yield the mutants of the code, and the path of each."""
    plain = ("--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
    named = ("-r", "-z", "--name-only", "--diff-filter=AM", "--no-renames")
    listed = _git(top, "diff-tree", *named, *ends)
    code = [path for path in git.fields(listed) if is_source(path) and not material.judges(path)]
    for path in code[:_FILES]:
        place = tree / path
        if place.is_symlink() or not place.is_file():
            continue
        try:
            text = place.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        diff = git.decode(_git(top, "diff", "-U0", *plain, *ends, "--", path), errors="replace")
        lines = set[int]()
        for first, count in _HUNK.findall(diff):
            lines.update(range(int(first), int(first) + int(count or 1)))
        for mutant in language_of(path).mutants(text, lines):
            yield path, mutant


def _spread(made: Iterator[tuple[str, Mutant]]) -> list[tuple[str, Mutant]]:
    """Return the first mutant of each line, then the second ones: time may run out."""
    turn: Counter[tuple[str, int]] = Counter()
    ranked = []
    for path, mutant in made:
        turn[path, mutant.line] += 1
        ranked.append((turn[path, mutant.line], path, mutant))
    return [(path, mutant) for _, path, mutant in sorted(ranked, key=lambda one: one[0])]


def _git(top: Path, *args: str) -> bytes:
    return git.run(args, cwd=top, timeout=_GIT_SECONDS).stdout
