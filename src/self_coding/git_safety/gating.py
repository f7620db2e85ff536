"""The glue between snapshots, candidates and the gate: which tree is tested where.

It refuses to judge: the gate does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from self_coding.errors import GitOperationError
from self_coding.gate import Gate
from self_coding.git_safety import receipts
from self_coding.git_safety.capture import Capture
from self_coding.git_safety.objects import write_commit
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.slots import checkout
from self_coding.values.repository import Candidate
from self_coding.values.verdicts import GateReport, GateSettings


def run_candidate(
    repo: Repository,
    settings: GateSettings,
    what: Candidate | str,
    first: Sequence[str],
) -> GateReport:
    """Run the gate on a candidate, compared with main, or on any commit alone."""
    base = what.onto if isinstance(what, Candidate) else None
    commit = what.commit if isinstance(what, Candidate) else repo.commit(what)
    return _run(repo, settings, commit, base=base, first=first, exact=False)


def run_capture(repo: Repository, settings: GateSettings, capture: Capture) -> GateReport:
    """Run the gate on a captured working tree, byte for byte; nothing is compared."""
    commit = write_commit(
        repo.git,
        repo.object_format,
        tree=capture.worktree,
        parents=[capture.head.commit],
        message="the working tree of a snapshot",
        at=int(capture.at.timestamp()),
    )
    alone = replace(settings, baseline=False, retries=0)
    return _run(repo, alone, commit, base=None, first=(), exact=True)


def _run(
    repo: Repository,
    settings: GateSettings,
    commit: str,
    *,
    base: str | None,
    first: Sequence[str],
    exact: bool,
) -> GateReport:
    [tree] = repo.resolve([commit], "tree")
    if not tree:
        raise GitOperationError(f"{commit} has no tree", hint="give a commit")

    def place(wanted: str) -> AbstractContextManager[Path]:
        return checkout(repo, wanted, exact=exact)

    gate = Gate(_top(repo), settings, place, store=repo.folder)
    report = gate.run(commit, tree=tree, base=base, first=first)
    if base is not None or not report.passed:  # what was compared with nothing proves too little
        receipts.note(repo.folder, report)
    return report


def _top(repo: Repository) -> Path:
    try:
        return repo.top
    except GitOperationError:
        return repo.common
