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
from self_coding.errors import ConfigError, GateError, GitOperationError
from self_coding.gate.evidence import Evidence
from self_coding.gate.judge import Judgement, Sides, import_errors, judge, new_failures
from self_coding.gate.layout import PLUGIN, environment
from self_coding.gate.roots import interpreter, stamps
from self_coding.gate.run import Runner
from self_coding.gate.setup import prepared
from self_coding.gate.store import GateStore
from self_coding.values.verdicts import GateReport, GateSettings

VERSION = 1  # a new one makes every kept verdict stale
_GIT_SECONDS = 60.0
_SIGNALLED = 128  # exit statuses from here on: a signal ended the command
Checkout = Callable[[str], AbstractContextManager[Path]]


class Gate:
    """Tests commits of one repository.

    Args:
        top: the user's working tree; a candidate is mounted there where the sandbox can.
        settings: the command, its limits, the isolation required.
        checkout: yields a folder that holds exactly the given commit.
        store: the folder of verdicts, baselines, quarantine and receipts; by default
            `self_coding` in the git common directory.

    Raises:
        ConfigError: a carried path leads out of the repository.
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
        self.memory = GateStore(store or paths.database_path(self.top, "gate").parent)

    def run(
        self,
        commit: str,
        *,
        tree: str,
        base: str | None = None,
        first: Sequence[str] = (),
    ) -> GateReport:
        """Test `commit`, whose tree is `tree`; a tree that was tested before runs nothing.

        Args:
            commit: what is tested.
            tree: its tree; verdicts are kept by it.
            base: the commit it goes onto; failures that were there already do not count.
            first: test files or ids that run before the rest, for a fast no; where they are
                half of the suite or more, the suite runs once instead.

        Raises:
            GateError: the gate could not run, so there is no verdict.
            SandboxUnavailableError: less isolation to be had than the settings require.
        """
        at = self.level()
        onto = base if self.settings.baseline else None
        return _Trial(self, commit, tree, onto, tuple(first), at).report()

    def level(self) -> str:
        """The isolation that a run would have here.

        Raises:
            SandboxUnavailableError: less than the settings require.
        """
        settings = self.settings
        return sandbox.level(settings.require_sandbox, self.top, settings.sandbox)

    def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        revision = f"{commit}^{{tree}}"
        return self._git("rev-parse", "--verify", "--end-of-options", revision).strip()

    def text_of(self, commit: str, path: str) -> str | None:
        """A file of a commit as text, unfiltered; None where the commit has none."""
        try:
            return self._git("cat-file", "blob", f"{commit}:{path}")
        except GitOperationError:
            return None

    def _git(self, *args: str) -> str:
        done = git.run(args, cwd=self.top, timeout=_GIT_SECONDS)
        return git.decode(done.stdout)


@dataclass
class _Trial:
    """One call of the gate: which runs it needs, in which order."""

    gate: Gate
    commit: str
    tree: str
    onto: str | None
    first: tuple[str, ...]
    at: str
    ran: int = 0

    def report(self) -> GateReport:
        started = time.monotonic()
        evidence, judgement = self._decide(self.first)
        if not evidence.whole and judgement.passed:  # the fast no was a flaky one
            evidence, judgement = self._decide(())
        return self._report(evidence, judgement, time.monotonic() - started)

    def _decide(self, first: tuple[str, ...]) -> tuple[Evidence, Judgement]:
        """Gather evidence of both sides, judge it, and run new failures again before they count."""
        key = self._key(self.tree)
        evidence = self.gate.memory.load(key) or self._test(key, first)
        base = self._base(evidence)
        judgement = self._judge(evidence, base)
        again = self._worth_a_retry(evidence, judgement)
        if again:
            evidence = self._retry(evidence, again)
            self._keep(key, evidence)
            judgement = self._judge(evidence, base)
        return evidence, judgement

    @cached_property
    def runner(self) -> Runner:
        return Runner(top=self.gate.top, settings=self.gate.settings, at=self.at)

    def _test(self, key: str, first: tuple[str, ...]) -> Evidence:
        """Run the affected tests, and unless they say no, everything."""
        with self.gate.checkout(self.commit) as path:
            if self._worth_running_first(path, first):
                quick = self._run(path, self.tree, select=first)
                if not quick.understood:  # nothing was selected: that was the whole command
                    quick = replace(quick, whole=True)
                    self._keep(key, quick)
                    return quick
                if self._says_no(quick, self._known_base()):
                    return quick
            evidence = self._run(path, self.tree)
        self._keep(key, evidence)
        return evidence

    def _worth_running_first(self, path: Path, first: tuple[str, ...]) -> bool:
        """Return whether the affected tests are under half of the suite and could say no."""
        base = self._known_base()
        if not first or (self.onto and base is None):  # what failed before is not known
            return False
        asked = {name.split("::", 1)[0] for name in first}
        suite = {name.split("::", 1)[0] for name in base.census.collected} if base else set()
        if not suite:
            suite = {
                file.relative_to(path).as_posix()
                for pattern in ("test_*.py", "*_test.py")
                for file in path.rglob(pattern)
            }
        return 2 * len(asked) < len(suite | asked)

    def _says_no(self, quick: Evidence, base: Evidence | None) -> bool:
        """Whether the affected tests alone decide; only where the base's failures are known."""
        if quick.timed_out or not quick.census.ended or (self.onto and base is None):
            return quick.timed_out
        return bool(new_failures(quick, base, self.gate.memory.quarantined()))

    def _run(
        self,
        path: Path,
        tree: str,
        *,
        select: tuple[str, ...] | None = None,
        collect_only: bool = False,
    ) -> Evidence:
        self.ran += 1
        setup = prepared(self.runner, path, self.gate.memory.folder / "setup")
        evidence = self.runner.run(
            path, tree=tree, select=select, collect_only=collect_only, setup=setup
        )
        if process.cancelled():
            raise GateError("the run was cancelled", hint="start it again")
        if evidence.foreign:
            raise GateError(
                f"the tests import {', '.join(evidence.foreign)}, not the candidate's own code",
                hint="install bubblewrap, or remove the install that points elsewhere",
            )
        return evidence

    def _keep(self, key: str, evidence: Evidence) -> None:
        """Keep what is worth keeping: a whole run that came to its own end, untouched."""
        ended = not evidence.timed_out and 0 <= evidence.exit_status < _SIGNALLED
        ended = ended and (evidence.census.ended or not evidence.understood)
        if evidence.whole and ended and not evidence.planted and not evidence.census.tampered:
            self.gate.memory.keep(key, evidence)

    def _known_base(self) -> Evidence | None:
        return self.gate.memory.load(self._key(self._base_tree)) if self.onto else None

    @cached_property
    def _base_tree(self) -> str:
        return self.gate.tree_of(self.onto) if self.onto else ""

    def _base(self, evidence: Evidence) -> Evidence | None:
        """As much of the base's result as this candidate's calls for."""
        if not self.onto or self._base_tree == self.tree:
            return None
        known = self._known_base()
        if known is not None or evidence.timed_out:
            return known
        if not evidence.understood and not evidence.rewrote:
            return None
        if evidence.census.failures or not evidence.census.ended or evidence.rewrote:
            return self._run_base(self._key(self._base_tree))
        left_out = tuple(
            one.id for one in evidence.census.results if one.outcome in ("skipped", "xfailed")
        )
        key = self._key(self._base_tree, "left-out" if left_out else "collected", *left_out)
        known = self.gate.memory.load(key)
        return known or self._run_base(key, left_out)

    def _run_base(self, key: str, left_out: tuple[str, ...] | None = None) -> Evidence:
        """Run the base: all of it, or its collection with just the tests that are now left out."""
        assert self.onto
        with self.gate.checkout(self.onto) as path:
            if left_out is None:
                evidence = self._run(path, self._base_tree)
                self._keep(key, evidence)
                return evidence
            evidence = self._run(path, self._base_tree, collect_only=True)
            if left_out:
                some = self._run(path, self._base_tree, select=left_out)
                census = replace(evidence.census, results=some.census.results)
                evidence = replace(evidence, census=census)
        if not evidence.timed_out:
            self.gate.memory.keep(key, evidence)
        return evidence

    def _worth_a_retry(self, evidence: Evidence, judgement: Judgement) -> tuple[str, ...]:
        """The new failures that were not run again yet; without a base red is simply red."""
        done = dict(evidence.retried)
        if not self.onto or not self.gate.settings.retries or evidence.timed_out:
            return ()
        return tuple(node for node in judgement.new_failures if node not in done)

    def _retry(self, evidence: Evidence, nodes: tuple[str, ...]) -> Evidence:
        """Run failures again, until they pass or the retries are used up."""
        outcomes = dict.fromkeys(nodes, "failed")
        with self.gate.checkout(self.commit) as path:
            for _ in range(self.gate.settings.retries):
                left = tuple(node for node, outcome in outcomes.items() if outcome != "passed")
                if not left:
                    break
                again = self._run(path, self.tree, select=left).census
                outcomes |= {n: o for n, o in again.outcomes.items() if n in outcomes}
        return replace(evidence, retried=evidence.retried + tuple(outcomes.items()))

    def _judge(self, evidence: Evidence, base: Evidence | None) -> Judgement:
        sides = None
        if self.onto and base is not None and evidence.whole:
            onto, text_of = self.onto, self.gate.text_of
            sides = Sides(
                base=lru_cache(lambda path: text_of(onto, path)),
                candidate=lru_cache(lambda path: text_of(self.commit, path)),
            )
        return judge(
            evidence,
            base,
            command=self.gate.settings.command,
            quarantine=self.gate.memory.quarantined(),
            sides=sides,
        )

    def _key(self, tree: str, *more: str) -> str:
        """Verdicts are kept by everything that can change them."""
        settings = self.gate.settings
        place = None if settings.setup_command else self.gate.top
        python = interpreter(place, settings.command)
        parts = [
            *(VERSION, tree, self.at, repr(settings), self.gate.top, python, *more),
            *sorted(environment(settings).items()),
            *stamps(python),
            hashlib.sha256(PLUGIN.read_bytes()).hexdigest(),
        ]
        return hashlib.sha256("\0".join(map(str, parts)).encode(errors="replace")).hexdigest()

    def _report(self, evidence: Evidence, judgement: Judgement, seconds: float) -> GateReport:
        census = evidence.census
        return GateReport(
            passed=judgement.passed,
            commit=self.commit,
            tree=self.tree,
            command=self.gate.settings.command,
            exit_status=evidence.exit_status,
            reason=judgement.reason,
            output=evidence.output,
            tests=census.results,
            understood=evidence.understood,
            findings=judgement.findings,
            new_failures=judgement.new_failures,
            known_failures=judgement.known_failures,
            flaky=judgement.flaky,
            sandbox=evidence.sandbox,
            timed_out=evidence.timed_out,
            seconds=seconds,
            cached=self.ran == 0,
            limits=evidence.limits,
            hung=census.unfinished if evidence.timed_out else (),
            import_errors=import_errors(census),
            quarantined=judgement.quarantined,
        )
