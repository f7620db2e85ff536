"""How many commits of people do policy and audit refuse? Replays histories, commit by commit.

    python bench/refusals.py HISTORY... [--each N] [--list] [--suite COMMAND [--python PATH]]

A history is a bundle, of which all branches count, or a clone (bare or not), of which the commits
before HEAD do. Every commit by a person that has one parent is judged as a change from it. Two
rates are printed: of all commits, and of those that touch Python, tests or settings (the others
can hardly be refused, and make the rate look better). With `--suite` the base's tests judge, too,
where code and tests change and the interpreter has what the suite imports; a commit whose own
suite is not green there says nothing. Refusals that a project orders by a list of
paths are counted apart: they are as wrong or right as the list. `--list`
prints every refusal with its reasons.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from self_coding.audit import SETTING_FILES, Kind, effective, kind_of
from self_coding.errors import SelfCodingError
from self_coding.gate.gate_run import Gate
from self_coding.self_edit.policy import Policy
from self_coding.values.repository import Change, FileChange
from self_coding.values.verdicts import BASE_JUDGE, Finding, GateSettings

ORDERED = {"protected-path", "guard-settings", "submodule"}
BOT = re.compile(r"(?i)\[bot\]|\bbot\b|^(?:dependabot|renovate|pre-commit-ci)\b")
NO_OBJECT = {"0" * 40, "0" * 64}


@dataclass(frozen=True)
class Commit:
    """One commit with a parent: what it changed, and the two sides of it."""

    id: str
    subject: str
    change: Change
    before: dict[str, bytes | None]
    after: dict[str, bytes | None]


class History:
    """A clone, or a bundle cloned into a folder, read through one `git cat-file`."""

    def __init__(self, place: Path, folder: Path) -> None:
        self.tips = "--all" if place.is_file() else "HEAD"
        self.path = folder / place.stem if place.is_file() else place
        named = place.parent if place.name in {"repo", ".git"} else place
        self.name = named.name.removesuffix(".git").removesuffix(".bundle")
        if place.is_file():
            subprocess.run(
                ["git", "clone", "-q", "--mirror", str(place), str(self.path)],
                check=True, capture_output=True, timeout=300,
            )  # fmt: skip
        self.reader = subprocess.Popen(
            ["git", "-C", str(self.path), "cat-file", "--batch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        assert self.reader.stdin and self.reader.stdout
        self.reader.stdin.close()
        self.reader.wait(timeout=10)
        self.reader.stdout.close()

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *args], check=True, capture_output=True, timeout=300
        )
        return done.stdout.decode("utf-8", "surrogateescape")

    def read(self, name: str) -> bytes | None:
        assert self.reader.stdin and self.reader.stdout
        self.reader.stdin.write(name.encode("utf-8", "surrogateescape") + b"\n")
        self.reader.stdin.flush()
        header = self.reader.stdout.readline().split()
        if header[-1] in {b"missing", b"ambiguous"} or len(header) != 3:
            return None
        body = self.reader.stdout.read(int(header[2]))
        self.reader.stdout.read(1)
        return body if header[1] == b"blob" else None

    def commits(self, limit: int) -> Iterator[Commit]:
        wanted = (self.tips, "--no-merges", "--format=%H %P%x00%an%x00%s")
        taken = 0
        for line in self.git("log", *wanted).splitlines():
            ids, author, subject = line.split("\0", 2)
            person = BOT.search(author) is None
            if person and len(ids.split()) == 2 and (not limit or taken < limit):
                taken += 1
                yield self.commit(*ids.split(), subject)

    def commit(self, head: str, base: str, subject: str) -> Commit:
        rows = self.git("diff-tree", "-r", "-z", "--no-renames", base, head).split("\0")
        counts = self.git("diff-tree", "-r", "-z", "--no-renames", "--numstat", base, head)
        lines = {
            path: (added, removed)
            for added, removed, path in (row.split("\t", 2) for row in counts.split("\0") if row)
        }
        files = []
        before = {path: self.read(f"{base}:{path}") for path in SETTING_FILES}
        after = {path: self.read(f"{head}:{path}") for path in SETTING_FILES}
        for meta, path in zip(rows[::2], rows[1::2], strict=False):
            old_mode, mode, old, new, status = meta.lstrip(":").split()
            added, removed = lines.get(path, ("0", "0"))
            files.append(
                FileChange(
                    path=path, status=status[0], old_mode=old_mode, mode=mode, binary=added == "-",
                    added=int(added.replace("-", "0")), removed=int(removed.replace("-", "0")),
                )
            )  # fmt: skip
            before[path] = None if old in NO_OBJECT else self.read(old)
            after[path] = None if new in NO_OBJECT else self.read(new)
        change = Change(base=base, head=head, files=tuple(files))
        return Commit(head, subject, change, before, after)


def concerns_tests(commit: Commit) -> bool:
    """Return whether the audit can say anything about it."""
    settings = effective(
        {p: (commit.before.get(p) or b"").decode("utf-8", "replace") for p in SETTING_FILES}
    )
    kinds = {kind_of(path, settings) for path in commit.change.paths}
    return bool(kinds - {Kind.PROSE, Kind.OTHER})


class Suite:
    """The gate on a clone of a history: what the base's own tests say of a commit."""

    def __init__(self, history: History, folder: Path, command: str, python: str) -> None:
        self.top, self.place, self.ran = folder / f"{history.name}.top", folder / "tree", 0
        subprocess.run(
            ["git", "clone", "-q", str(history.path), str(self.top)], check=True, timeout=300
        )
        settings = GateSettings(command=command, python=python, retries=0, timeout=300)
        self.gate = Gate(self.top, settings, self.checkout)

    @contextmanager
    def checkout(self, commit: str) -> Iterator[Path]:
        git = ["git", "-C", str(self.top), "worktree"]
        subprocess.run([*git, "add", "-qf", "--detach", self.place, commit], check=True)
        try:
            yield self.place
        finally:
            subprocess.run([*git, "remove", "-f", "-f", self.place], check=True)

    def judge(self, commit: Commit) -> tuple[Finding, ...]:
        settings = effective({})
        kinds = {kind_of(path, settings) for path in commit.change.paths}
        if Kind.SOURCE not in kinds or not kinds & {Kind.TEST, Kind.SUPPORT, Kind.DATA}:
            return ()
        try:
            tree = self.gate.tree_of(commit.id)
            report = self.gate.run(commit.id, tree=tree, base=commit.change.base)
        except SelfCodingError:
            return ()
        self.ran += report.judged_by_base == "ran"
        return tuple(one for one in report.findings if one.rule == BASE_JUDGE)


@dataclass(frozen=True)
class Judged:
    """What was said of one commit."""

    id: str
    subject: str
    concerned: bool
    findings: tuple[Finding, ...]

    @property
    def audited(self) -> bool:
        return any(finding.rule not in ORDERED for finding in self.findings)


def show(title: str, part: int, total: int) -> None:
    print(f"    {title:<58} {part:>5} of {total:>5}  {100 * part / max(total, 1):6.2f} %")


def report(name: str, judged: list[Judged], *, listing: bool) -> None:
    audited = [one for one in judged if one.audited]
    concerned = [one for one in judged if one.concerned]
    print(name)
    show("refused, of all commits", len(audited), len(judged))
    show("refused, of commits with code, tests or settings", len(audited), len(concerned))
    ordered = sum(bool(one.findings) and not one.audited for one in judged)
    show("besides: refused only for a path that is off limits", ordered, len(judged))
    rules = Counter(rule for one in audited for rule in {f.rule for f in one.findings} - ORDERED)
    print("    " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common()))
    for one in audited if listing else ():
        print(f"\n{name} {one.id[:10]} {one.subject[:90]}")
        for finding in [f for f in one.findings if f.rule not in ORDERED][:8]:
            print(f"    {finding}"[:230])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("histories", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=0, help="newest N commits of each history")
    parser.add_argument("--list", action="store_true", help="print every refusal")
    parser.add_argument("--suite", default="", help="the command by which the base judges, too")
    parser.add_argument("--python", default="", help="the interpreter of the suite")
    arguments = parser.parse_args()
    start = time.process_time()
    every: list[Judged] = []
    # size is a setting of taste: people's commits are not bound by it
    policy = Policy(max_files=100_000, max_lines=10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for place in arguments.histories:
            history = History(place, Path(folder))
            suite = None
            if arguments.suite:
                suite = Suite(history, Path(folder), arguments.suite, arguments.python)
            judged = []
            for commit in history.commits(arguments.each):
                verdict = policy.judge(commit.change, before=commit.before, after=commit.after)
                findings = verdict.findings or (suite.judge(commit) if suite else ())
                judged.append(Judged(commit.id, commit.subject, concerns_tests(commit), findings))
            history.close()
            report(history.name, judged, listing=arguments.list)
            if suite is not None:
                show("judged by the base's tests", suite.ran, len(judged))
            every += judged
    print()
    report("all", every, listing=False)
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
