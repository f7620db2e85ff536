"""The gate: run the tests of exactly one commit and say what they prove.

Code under test was just written by a model, so it is run contained, and its own word about
itself is not taken. This module orders the steps; it judges nothing itself and lands nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from self_coding.adapters import git, paths, process, sandbox
from self_coding.audit.expectations import Evidence, Tree, unaccounted
from self_coding.audit.files import SETTING_FILES, effective
from self_coding.errors import ConfigError, GateError, GitOperationError
from self_coding.gate.judge import (
    Judgement,
    Sides,
    base_failures,
    judge,
    new_failures,
    one_sided,
)
from self_coding.gate.material import Material, goes_through
from self_coding.gate.missing import what_is_missing
from self_coding.gate.mixed_tree import mix
from self_coding.gate.mutants import strength
from self_coding.gate.python_env import choose_python, install_stamps
from self_coding.gate.run import prepare, run, setup_key
from self_coding.gate.runners import must_report, observer_digest
from self_coding.gate.sandbox_layout import SandboxLayout, environment
from self_coding.gate.store import GateStore
from self_coding.gate.test_report import RunRecord
from self_coding.gate.tool_chains import readable_folders
from self_coding.languages import is_test_module, suffixes
from self_coding.values.verdicts import Finding, GateReport, GateSettings, Strength

VERSION = 2  # a new one makes every kept verdict stale
_GIT_SECONDS = 60.0
_SIGNALLED = 128  # exit statuses from here on: a signal ended the command
Checkout = Callable[[str], AbstractContextManager[Path]]


class Gate:
    """Tests commits of one repository.

    Args:
        top: the user's working tree; a candidate is mounted there where the sandbox can.
        settings: the command, its limits, the isolation required.
        checkout: yields a folder that holds exactly the given commit.
        store: the folder of verdicts, baselines and receipts; by default
            `self_coding` in the git common directory.

    Raises:
        ConfigError: a carried path leads out of the repository, or a readable one may not be.
    """

    def __init__(
        self, top: Path, settings: GateSettings, checkout: Checkout, *, store: Path | None = None
    ) -> None:
        self.top = top.resolve()
        self.settings = settings
        self.checkout = checkout
        for name in settings.carry:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ConfigError(
                    f"`carry` names {name!r}, which is not inside the repository",
                    hint="give paths relative to the top of the repository",
                )
        readable_folders(self.top, settings)
        self.memory = GateStore(store or paths.database_path(self.top, "gate").parent)

    def run(
        self,
        commit: str,
        *,
        tree: str,
        base: str | None = None,
        first: Sequence[str] = (),
        strict: bool = False,
        ask: bool = False,
        whole: bool = True,
    ) -> GateReport:
        """Test `commit`, whose tree is `tree`; a tree that was tested before runs nothing.

        Args:
            commit: what is tested.
            tree: its tree; verdicts are kept by it.
            base: the commit it goes onto; failures that were there already do not count.
            first: test files or ids that run before the rest, for a fast no; where they are
                half of the suite or more, the suite runs once instead.
            strict: no expectation of the base may change.
            ask: a person is asked about what the base's tests refuse, so that it decides nothing.
            whole: a yes needs all tests; else those that run first are enough, where they are known
                and fewer than half.

        Raises:
            GateError: the gate could not run, so there is no verdict.
            SandboxUnavailableError: less isolation to be had than the settings require.
        """
        onto = base if self.settings.baseline else None
        run = _GateRun(self, commit, tree, onto, self.level())
        report = run.report(tuple(first), whole=whole)
        if not base or not report.passed:
            return report
        return run.judged_by(base, report, strict=strict, ask=ask)

    def strength(self, base: str, commit: str, tests: Sequence[str] = ()) -> Strength | None:
        """Measure whether tests notice small changes of the lines that `commit` changes.

        None where the settings give it no time. It says nothing of whether the commit may land.

        Args:
            base: what the commit is compared with.
            commit: whose lines are changed, one by one, and whose tests run.
            tests: the tests that reach them; all where none is named.

        Raises:
            GateError: the tests could not be run.
        """
        seconds = self.settings.mutant_seconds
        if not seconds:
            return None
        run = _GateRun(self, commit, self.tree_of(commit), None, self.level())
        with self.checkout(commit) as path:
            return strength(
                self.top,
                path,
                (base, commit),
                run=lambda path, tests, limit, fast: run._run(
                    path, tests=tests, limit=limit, fail_fast=fast
                ),
                tests=tests,
                seconds=seconds,
                material=Material(command=self.settings.command, globs=self.settings.judging),
            )

    def try_tests(self, commit: str, tests: Sequence[str]) -> RunRecord:
        """Run these tests of a commit, all where none is named; nothing is judged or kept.

        Raises:
            GateError: the tests could not be run.
        """
        run = _GateRun(self, commit, self.tree_of(commit), None, self.level())
        with self.checkout(commit) as path:
            return run._run(path, tests=tests or None)

    def known_failures(self, commit: str) -> tuple[str, ...]:
        """Return the tests that failed when this commit's tree last ran; nothing is run."""
        tree = self.tree_of(commit)
        record = self.memory.load(_GateRun(self, commit, tree, None, self.level())._key(tree))
        return tuple(record.report.failures) if record else ()

    def made_by_setup(self, tree: Path) -> dict[str, Path]:
        """Return what the setup command has made for the dependency files in `tree`, by name."""
        if not self.settings.setup_command:
            return {}
        layout = SandboxLayout(top=self.top, settings=self.settings, at=self.level(), tree=tree)
        place = self.memory.folder / "setup" / setup_key(layout)
        return {one.name: one for one in place.iterdir()} if place.is_dir() else {}

    def level(self) -> str:
        """Return the isolation that a run would have here.

        Raises:
            SandboxUnavailableError: less than the settings require.
        """
        settings = self.settings
        return sandbox.level(settings.require_sandbox, self.top, settings.sandbox)

    def tree_of(self, commit: str) -> str:
        """Return the tree of a commit."""
        return self._git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}").strip()

    def text_of(self, commit: str, path: str) -> str | None:
        """Return a file of a commit as text, unfiltered; None where the commit has none."""
        try:
            return self._git("cat-file", "blob", f"{commit}:{path}")
        except GitOperationError:
            return None

    def sources(self, commit: str) -> Tree:
        """Return the paths and texts of a commit."""
        listed = self._git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        text_of = lru_cache(lambda path: self.text_of(commit, path))
        return Tree(paths=frozenset(listed.split("\0")), text=text_of)

    def _git(self, *args: str) -> str:
        return git.decode(git.run(args, cwd=self.top, timeout=_GIT_SECONDS).stdout)


@dataclass
class _GateRun:
    """One call of the gate: which runs it needs, in which order."""

    gate: Gate
    commit: str
    tree: str
    onto: str | None
    at: str
    prepared_by: str = ""  # the commit whose set-up it shares; its own where empty
    ran: int = 0

    def report(self, first: tuple[str, ...], *, whole: bool) -> GateReport:
        started = time.monotonic()
        record, judgement = self._decide(first, whole=whole)
        # Only the affected tests ran. A no from them is final; a yes needs the whole suite.
        if whole and not record.complete and judgement.passed:  # the fast no was a flaky one
            record, judgement = self._decide(())
        report = record.report
        return GateReport(
            **vars(judgement),
            commit=self.commit,
            tree=self.tree,
            command=self.gate.settings.command,
            exit_status=record.exit_status,
            output=record.output,
            tests=report.results,
            understood=record.understood,
            sandbox=self.at,
            timed_out=record.timed_out,
            seconds=time.monotonic() - started,
            cached=self.ran == 0,
            limits=self.gate.settings.limits_in_words,
            affected=() if record.complete else first,
        )

    def judged_by(self, base: str, report: GateReport, *, strict: bool, ask: bool) -> GateReport:
        """Return the report on a candidate that passed, with what the base's tests say of it."""
        gate, settings, started = self.gate, self.gate.settings, time.monotonic()
        if not settings.base_judge:
            return replace(report, judged_by_base="off")
        known = gate.memory.load(self._key(gate.tree_of(base)))
        texts = {name: gate.text_of(base, name) for name in SETTING_FILES}
        collected = known.report.collected if known else ()
        main = gate.sources(base)
        material = Material(
            through=goes_through(settings.command, main.paths, main.text),
            settings=effective(texts),
            command=settings.command,
            globs=settings.judging,
            collected=(*(one.id for one in report.tests), *collected),
        )
        # The base's judging files on the candidate's code: tests that came along with a change
        # cannot alone speak for it.
        mixed = mix(gate.top, base, self.commit, material)
        if not mixed.commit:
            # Nothing that judges differs, so the run that passed was by the base's tests.
            return replace(report, judged_by_base="same")
        # Compared with the base in any case: what fails there as well is not the change's doing.
        run = _GateRun(gate, mixed.commit, mixed.tree, base, self.at, prepared_by=self.commit)
        # The base's tests have no affected ones: all of them are asked.
        record, judgement = run._decide(())
        before = run._base(record)
        if record.disk_full:  # the change may have filled it: that is no word for it
            return replace(report, passed=False, reason=judgement.reason, environment=True)
        # A base without tests has nothing to say.
        mute = before is not None and before.understood and not before.report.collected
        # What could not be run is no word against the change.
        silent = judgement.environment or (mute and not record.report.results)
        said = () if judgement.passed or silent else base_failures(record, judgement)
        findings: tuple[Finding, ...] = ()
        if said:
            judges = material.judges
            evidence = Evidence(
                base=main,
                candidate=gate.sources(self.commit),
                changed=mixed.changed,
                # a module of the code that is divided is code still
                judging=frozenset(p for p in mixed.judging if judges(p) or p[-3:] != ".py"),
                outcomes={one.id: one.outcome for one in report.tests},
            )
            findings = unaccounted(said, evidence, strict=strict)
        told = "\n\n".join(f"{one.id}\n{one.output}" for one in said) if findings else ""
        refused = bool(findings) and not ask
        return replace(
            report,
            passed=not refused,
            reason=f"the base's own tests say no: {findings[0].message}"
            if refused
            else report.reason,
            output=report.output
            + (f"\n\nmain's own tests on this code:\n{told}\n" if told else ""),
            findings=(*report.findings, *findings),
            judged_by_base="ran" if record.understood else "exit status",
            base_failures=said,
            seconds=report.seconds + time.monotonic() - started,
            cached=report.cached and run.ran == 0,
        )

    def _decide(self, first: tuple[str, ...], *, whole: bool = True) -> tuple[RunRecord, Judgement]:
        """Judge the records of both sides, and run new failures again before they count."""
        key = self._key(self.tree)
        # The candidate's record may be an old one; it is judged against today's base each time.
        record = self.gate.memory.load(key) or self._test(key, first, whole=whole)
        base = self._base(record)
        renamed = base is not None and one_sided(record.report, base.report)
        if renamed and record.unstable is None and not record.timed_out:
            with self.gate.checkout(self.commit) as path:  # only a second collection can tell
                second = self._run(path, collect_only=True).report
            # Ids that differ from run to run, such as those of random parameters, are no tests that
            # came or went.
            record = replace(record, unstable=tuple(sorted(one_sided(record.report, second))))
            self._keep(key, record)
        judgement = self._judge(record, base)
        retried = dict(record.retried)
        again = tuple(node for node in judgement.new_failures if node not in retried)
        # without a base red is simply red
        if again and self.onto and self.gate.settings.retries and not record.timed_out:
            record = self._retry(self.commit, record, again, "passed")
            self._keep(key, record)
            retried = dict(record.retried)
        # What passes when it is run again is flaky only where the base can show the same, in as
        # many runs: a state that leaks, and a bug at random, pass alone as well.
        asked = dict(base.retried) if base else {}
        maybe = [node for node in judgement.new_failures if retried.get(node) == "passed"]
        unasked = tuple(node for node in maybe if node not in asked)
        if base and base.complete and unasked and self.onto:
            base = self._retry(self.onto, base, unasked, "failed")
            self._keep(self._key(self._base_tree), base)
        return record, self._judge(record, base)

    def _test(self, key: str, first: tuple[str, ...], *, whole: bool) -> RunRecord:
        """Run the affected tests, and unless they say no, everything."""
        # One checkout for both runs: making it costs more than many suites.
        with self.gate.checkout(self.commit) as path:
            base = self._known_base()
            if self._worth_running_first(path, first, base):
                quick = self._run(path, tests=first)
                if not quick.understood or quick.complete:  # that was the whole command
                    quick = replace(quick, complete=True)
                    self._keep(key, quick)
                    return quick
                ended = quick.report.ended and not quick.timed_out
                if quick.timed_out or not whole or (ended and new_failures(quick, base)):
                    return quick
            record = self._run(path)
        self._keep(key, record)
        return record

    def _worth_running_first(
        self, path: Path, first: tuple[str, ...], base: RunRecord | None
    ) -> bool:
        """Return whether the affected tests are under half of the suite and could say no."""
        if not first or (self.onto and base is None):  # what failed before is not known
            return False
        asked = {name.split("::", 1)[0] for name in first}
        if base is not None:
            suite = {name.split("::", 1)[0] for name in base.report.collected}
        else:  # by their names
            files = [file for suffix in suffixes() for file in path.rglob(f"*{suffix}")]
            tests = [file for file in files if is_test_module(file.name)]
            suite = {file.relative_to(path).as_posix() for file in tests}
        # Above that, two runs cost more than the whole suite once.
        return 2 * len(asked) < len(suite | asked)

    def _retry(
        self, commit: str, record: RunRecord, nodes: tuple[str, ...], until: str
    ) -> RunRecord:
        """Run tests of a commit again, until they end so or the retries are used up."""
        outcomes = {node: record.report.outcomes.get(node, "") for node in nodes}
        with self.gate.checkout(commit) as path:
            for _ in range(self.gate.settings.retries):
                left = tuple(node for node, outcome in outcomes.items() if outcome != until)
                if not left:
                    break
                again = self._run(path, tests=left).report.outcomes
                outcomes |= {node: again[node] for node in left if node in again}
        return replace(record, retried=record.retried + tuple(outcomes.items()))

    def _run(
        self,
        path: Path,
        *,
        tests: Sequence[str] | None = None,
        collect_only: bool = False,
        limit: float = 0.0,
        fail_fast: bool = False,
    ) -> RunRecord:
        self.ran += 1
        settings = self.gate.settings
        layout = SandboxLayout(top=self.gate.top, settings=settings, at=self.at, tree=path)
        # The base's tests run on what was set up for the candidate: one set-up, with the
        # dependencies that its code needs, which the base's manifest may not have.
        if self.prepared_by and settings.setup_command:
            with self.gate.checkout(self.prepared_by) as other:
                setup = prepare(replace(layout, tree=other), self.gate.memory.folder / "setup")
        else:
            setup = prepare(layout, self.gate.memory.folder / "setup")
        if limit:
            layout = replace(layout, settings=replace(settings, timeout=limit))
        record = run(
            replace(layout, setup=setup),
            settings.command,
            tests=tests,
            collect_only=collect_only,
            fail_fast=fail_fast,
        )
        if process.cancelled():
            raise GateError("the run was cancelled", hint="start it again")
        # A verdict about an installed copy would be a verdict about other code.
        if record.foreign:
            raise GateError(
                f"the tests import {', '.join(record.foreign)}, not the candidate's own code",
                hint="install bubblewrap, or remove the install that points elsewhere",
            )
        return record

    def _keep(self, key: str, record: RunRecord) -> None:
        """Keep what is worth keeping: a whole run that came to its own end, untouched."""
        # What a signal ended (the kernel short of memory, a limit) says nothing about the tree.
        ended = not record.timed_out and 0 <= record.exit_status < _SIGNALLED
        ended = ended and not record.disk_full
        # And a red exit status alone may be the machine's, which has tomorrow what it lacks today.
        ended = ended and (record.report.ended if record.understood else not record.exit_status)
        if record.complete and ended and not record.planted and not record.report.tampered:
            self.gate.memory.keep(key, record)

    @cached_property
    def _base_tree(self) -> str:
        return self.gate.tree_of(self.onto) if self.onto else ""

    def _known_base(self) -> RunRecord | None:
        return self.gate.memory.load(self._key(self._base_tree)) if self.onto else None

    def _base(self, record: RunRecord) -> RunRecord | None:
        """Return as much of the base's result as this candidate's calls for.

        All of it for a red candidate; its collection for a green one, and of its outcomes those
        of the tests that the candidate leaves out.
        """
        if not self.onto or self._base_tree == self.tree:
            return None
        known = self._known_base()
        report = record.report
        if known is not None or record.timed_out:
            return known
        # Whatever is wrong here may have been wrong before: only the base's own run can tell. So it
        # does where no test reported, which the base's may do. That run is kept for its tree.
        odd = report.altered or report.canaries or not record.understood
        # A status without a failure is of what the command runs beside the tests.
        failed = report.failures or record.exit_status or not report.ended
        if failed or record.rewrote or odd:
            key = self._key(self._base_tree)
            with self.gate.checkout(self.onto) as path:
                base = self._run(path)
            self._keep(key, base)
            return base
        # A green candidate can only have lost tests, which the collection alone shows, or leave
        # some out that ran before.
        left_out = tuple(one.id for one in report.results if one.outcome in ("skipped", "xfailed"))
        key = self._key(self._base_tree, "left-out" if left_out else "collected", *left_out)
        known = self.gate.memory.load(key)
        if known is not None:
            return known
        with self.gate.checkout(self.onto) as path:
            base = self._run(path, tests=left_out or None, collect_only=True)
            if left_out and not {*base.report.collected} - {*left_out}:
                # the tests ran in other processes, which list none but their own
                listed = self._run(path, collect_only=True)
                base = replace(listed, report=replace(listed.report, results=base.report.results))
        if not base.timed_out:
            self.gate.memory.keep(key, base)
        return base

    def _judge(self, record: RunRecord, base: RunRecord | None) -> Judgement:
        sides = None
        if self.onto:
            onto, text_of = self.onto, self.gate.text_of
            sides = Sides(
                base=lru_cache(lambda path: text_of(onto, path)),
                candidate=lru_cache(lambda path: text_of(self.commit, path)),
            )
        command = self.gate.settings.command
        return judge(
            record,
            base,
            must_report=must_report(command, self.at),
            sides=sides,
            lacking=what_is_missing(record, self.gate.top, self.gate.settings),
        )

    def _key(self, tree: str, *more: str) -> str:
        """Return the name of a verdict: a digest of everything that can change it."""
        settings = self.gate.settings
        python = choose_python(self.gate.top, settings).path
        parts = [
            *(VERSION, tree, self.at, repr(settings), self.gate.top, python, *more),
            *sorted(environment(settings).items()),
            *install_stamps(python),
            observer_digest(),
        ]
        return hashlib.sha256("\0".join(map(str, parts)).encode(errors="replace")).hexdigest()
