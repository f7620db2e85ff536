"""Landing: the merge made unseen, tested, and main moved to exactly that commit.

Conflicts and a moved main are values. A merge or rebase that a person is in the middle of on main
is never landed under, and no repository is left mid-merge. Whether an attempt went past the gate
is told here, too, from the reflogs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters.git import decode, encode
from self_coding.errors import GitOperationError, MainMovedError, MergeConflictError
from self_coding.git_safety import objects, receipts, user_checkouts
from self_coding.git_safety.checkout_update import PreparedUpdate, prepare_update
from self_coding.git_safety.commits import commit_tree
from self_coding.git_safety.pool import checkout, pooled_at
from self_coding.git_safety.receipts import Member
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.snapshots import MAX_UNTRACKED_BYTES, Capture, capture_undo
from self_coding.git_safety.transaction import Transaction, execute, retry_on_conflict
from self_coding.git_safety.worktrees import isolate_note
from self_coding.values.repository import (
    Candidate,
    Conflict,
    ConflictFile,
    GateBypass,
    Landed,
    Moved,
    Worktree,
)
from self_coding.values.verdicts import GateReport, GateSettings, Strength

if TYPE_CHECKING:
    from self_coding.gate import Gate

_SHOWN_BYTES = 200_000  # of a conflicting file
_ROUNDS = 20
#: How reflog entries begin that go to a commit and make none.
_GO_TO_A_COMMIT = ("checkout:", "reset:", "branch:", "rebase (start)", "rebase (finish)")


def candidate(
    repo: Repository, head: str, message: str = "", land_as: str = "merge", onto: str = ""
) -> Candidate | Conflict:
    """Return what would put `head` onto main as it is now, or `onto` a commit, made unseen.

    That is a merge commit, one commit with main alone as its parent ("squash"), or the commits of
    `head` one after the other ("rebase"); the tree is that of the last one.
    """
    onto = onto or repo.branch(repo.main)
    head = head if len(head) == len(repo.zero) else repo.commit(head)
    # merge-tree writes objects alone: no index, no working tree, no MERGE_HEAD to leave behind.
    done = repo.git.run("merge-tree", "--write-tree", "--messages", "-z", onto, head, ok=(0, 1))
    tree, _, rest = done.stdout.partition(b"\0")
    if done.returncode == 1:
        return Conflict(onto=onto, head=head, files=_conflicts(repo, decode(tree), rest))
    text = encode(message or f"Merge {head[:12]} into {repo.main}") + b"\n"
    if land_as == "rebase" and (replayed := _replay(repo, onto, head, message)):
        return Candidate(commit=replayed[0], tree=replayed[1], onto=onto, head=head)
    parents = [onto, head] if land_as == "merge" else [onto]
    made = commit_tree(repo, decode(tree), parents, text)
    return Candidate(commit=made, tree=decode(tree), onto=onto, head=head)


def _replay(repo: Repository, onto: str, head: str, message: str) -> tuple[str, str] | None:
    """Return the last of the commits up to `head` made anew upon `onto`, and its tree.

    None where a single commit says it better: there is but one, a merge is among them, or one of
    them conflicts although all together do not.
    """
    words = ("log", "--reverse", "--topo-order", "--format=%H %P%x1f%B%x1e", f"{onto}..{head}")
    entries = decode(repo.git.run(*words, "--").stdout).split("\x1e")[:-1]
    commits = [entry.strip("\n").partition("\x1f") for entry in entries]
    if len(commits) < 2 or any(len(ids.split()) != 2 for ids, _, _ in commits):
        return None
    made, [tree] = onto, repo.resolve([onto], "tree")
    for ids, _, text in commits:
        commit, parent = ids.split()
        # What is there, as if it were made upon this commit's own parent: that one is the base.
        there = commit_tree(repo, tree, [parent], b"there")
        done = repo.git.run("merge-tree", "--write-tree", there, commit, ok=(0, 1))
        # One of them does not apply by itself: the caller lands them as one.
        if done.returncode:
            return None
        tree = decode(done.stdout).strip()
        about = message.splitlines()[0] if message else ""
        told = text if not about or about in text else f"{text.rstrip()}\n\nSelf-edit: {about}"
        made = commit_tree(repo, tree, [made], encode(told.rstrip() + "\n"))
    return made, tree


def _conflicts(repo: Repository, tree: str, rest: bytes) -> tuple[ConflictFile, ...]:
    """Return merge-tree's list of stages and messages as values."""
    listing, _, data = rest.partition(b"\0\0")
    sides: dict[str, dict[str, str]] = {}
    for part in listing.split(b"\0"):
        facts, _, name = part.partition(b"\t")
        if name:
            _, oid, stage = decode(facts).split(" ")
            sides.setdefault(decode(name), {})[stage] = oid
    messages = _conflict_messages(data)
    names = []
    for path, stages in sides.items():
        names += [f"{tree}:{path}", stages.get("2", "-"), stages.get("3", "-")]
    # cat-file reads names by line; a path with a newline is shown without its content
    names = ["-" if "\n" in name else name for name in names]
    contents = [
        None if content is None else content[:_SHOWN_BYTES].decode("utf-8", "replace")
        for content in objects.read_many(repo.git, names)
    ]
    return tuple(
        ConflictFile(
            path=path,
            message=messages.get(path, "both sides changed it"),
            merged=contents[3 * number] or "",
            ours=contents[3 * number + 1],
            theirs=contents[3 * number + 2],
        )
        for number, path in enumerate(sides)
    )


def _conflict_messages(data: bytes) -> dict[str, str]:
    """Return git's message for each path: COUNT, PATH ..., KIND, TEXT, again and again."""
    parts = [decode(part, errors="replace") for part in data.split(b"\0")]
    messages: dict[str, str] = {}
    position = 0
    while position < len(parts) and parts[position].isdigit():
        end = position + 1 + int(parts[position])
        kind, text = parts[end : end + 2]
        if kind.startswith("CONFLICT"):
            for path in parts[position + 1 : end]:
                messages.setdefault(path, text.strip())
        position = end + 2
    return messages


def run_gate(
    repo: Repository,
    settings: GateSettings,
    what: Candidate | str,
    first: Sequence[str] = (),
    **how: bool,
) -> GateReport:
    """Run the gate on a candidate, judged by main's tests as well, or on any commit alone."""
    if not isinstance(what, Candidate):
        return _run_gate(repo, settings, repo.commit(what), exact=False)
    return _run_gate(repo, settings, what.commit, base=what.onto, first=first, exact=False, **how)


def run_gate_on_capture(repo: Repository, settings: GateSettings, capture: Capture) -> GateReport:
    """Run the gate on a captured working tree, byte for byte; nothing is compared."""
    commit = objects.write_commit(
        repo.git,
        repo.object_format,
        tree=capture.worktree,
        parents=[capture.head.commit],
        message="the working tree of a snapshot",
        at=capture.at.timestamp(),
    )
    alone = replace(settings, baseline=False, retries=0)
    return _run_gate(repo, alone, commit, exact=True)


def _run_gate(
    repo: Repository,
    settings: GateSettings,
    commit: str,
    *,
    exact: bool,
    base: str | None = None,
    first: Sequence[str] = (),
    **how: bool,
) -> GateReport:
    [tree] = repo.resolve([commit], "tree")
    if not tree:
        raise GitOperationError(f"{commit} has no tree", hint="give a commit")
    gate = gate_of(repo, settings, exact=exact)
    report = gate.run(commit, tree=tree, base=base, first=first, **how)
    # The note is what `receipts.seal` turns into the receipt, maybe in another process.
    # What was compared with nothing, or was tested in part, proves too little.
    if (base is not None and not report.affected) or not report.passed:
        receipts.note(repo.chain, report)
    return report


def strength(
    repo: Repository, settings: GateSettings, base: str, commit: str, tests: tuple[str, ...]
) -> Strength | None:
    """Measure the strength of the tests of a commit, and keep it beside its receipt."""
    found = gate_of(repo, settings).strength(repo.commit(base), repo.commit(commit), tests)
    if found is not None:
        receipts.add_strength(repo.chain, commit, str(found))
    return found


def gate_of(repo: Repository, settings: GateSettings, *, exact: bool = False) -> Gate:
    """Return the gate of a repository: it tests checkouts of ours, and keeps verdicts beside it."""
    # It loads much, the audit too, and an agent's hooks, which only take snapshots, do without.
    from self_coding.gate import Gate

    top = repo.top if repo.git.top else repo.common

    def place(wanted: str) -> AbstractContextManager[Path]:
        return checkout(repo, wanted, exact=exact, mounted=gate.level() == "bwrap")

    gate = Gate(top, settings, place, store=repo.folder)
    return gate


def land(
    repo: Repository,
    what: Candidate,
    *,
    attempt: str = "",
    reason: str = "",
    group: Sequence[Member] = (),
    limit: int = MAX_UNTRACKED_BYTES,
    still: Callable[[], bool] = lambda: True,
) -> Landed | Moved:
    """Move main from `what.onto` to `what.commit`; checkouts on main move along where they can.

    What a person has changed in the same files is captured, and merged where nothing conflicts.

    Args:
        repo: the repository.
        what: what lands; of a group it goes from below the first to the last.
        attempt: whose landing it is.
        reason: the subject for the log.
        group: the landings that come with it, lowest first; each gets a receipt.
        limit: bytes of a larger untracked file, which a capture leaves out.
        still: asked with the lock held whether it may land; who is called off meanwhile does not.

    Raises:
        GitOperationError: a person is in the middle of a merge on main.
        GateError: the newest receipt is damaged, so that none could follow; main did not move.
    """

    def once() -> Landed | Moved:
        actual = repo.branch(repo.main)
        # What was tested is one tree: on another main it would be another, which nobody has tested.
        if actual != what.onto:
            return Moved(expected=what.onto, actual=actual)
        # Before anything moves: a landing without a place in the chain could not be proved later.
        receipts.check_newest(repo.chain)
        if not still():
            return Moved(expected=what.onto, actual=actual)
        receipts.note_group(repo.chain, group)
        prepared = prepare_checkouts(repo, what)
        before = [
            capture_undo(one.repo, "before a landing", limit=limit).ref if one.merged else ""
            for one in prepared
        ]
        done = execute(
            repo,
            Transaction(
                kind="land",
                refs=((repo.main_ref, what.onto, what.commit),),
                parts=tuple(one.update for one in prepared),
                reason=reason or what.head[:12],
                attempt=attempt,
                undo_ref=next(filter(None, before), ""),
                # Undo takes the checkouts back along with the branch.
                data={"way": "follow", **({"group": json.dumps(group)} if group else {})},
            ),
        )
        states = [one.outcome(done.refused, ref) for one, ref in zip(prepared, before, strict=True)]
        # Of several checkouts on main, one that has not simply followed is worth a word.
        states.sort(key=lambda state: state == "followed")
        absent = f"not on {repo.main}; `git merge {repo.main}` brings the landing there"
        state = states[0] if states else absent
        return Landed(old=what.onto, new=what.commit, checkout=state)

    with operation_lock(repo, "land"):
        done = retry_on_conflict(once)
    return _attested(repo, done)


def members(what: Candidate, attempt: str, group: Sequence[tuple[str, Candidate]]) -> list[Member]:
    """Return what lands, of a group each attempt, as the chain of receipts has it."""
    pairs = group or [(attempt, what)]
    return [Member(one.onto, one.commit, one.tree, number) for number, one in pairs]


def settled(repo: Repository, commits: Sequence[str]) -> str:
    """Return which of these commits main holds, empty for none, with no landing under way.

    Under the lock that a landing holds: one that began before has ended, and one that begins
    later asks `still` first.
    """
    with operation_lock(repo, "settle"):
        return contained(repo, commits)


def contained(repo: Repository, commits: Sequence[str]) -> str:
    """Return the newest of these commits that main holds; empty for none."""
    return next((c for c in reversed(commits) if repo.is_ancestor(c, repo.main_ref)), "")


def _attested(repo: Repository, done: Landed | Moved) -> Landed | Moved:
    """Write the note of a landing; outside the lock, since a signature may take seconds."""
    if isinstance(done, Landed):
        from self_coding.git_safety.attestations import attest  # a start must not pay for it

        attest(repo)
    return done


def prepare_checkouts(repo: Repository, what: Candidate) -> list[PreparedUpdate]:
    """Prepare each checkout that is on main to move along with it."""
    tops = {here.top for here in user_checkouts.user_checkouts(repo)}
    # A switch that is under way would make the plan wrong; most end within a moment.
    user_checkouts.wait_for_switches(tops, user_checkouts.PLANNING_WAIT)
    prepared = []
    for here in repo.checkouts():
        _check_not_rebasing(here)
        if here.head_branch() == repo.main and here.has_tree:
            here.check_idle("moving main")
            ends = what.onto, what.commit
            prepared.append(prepare_update(here, *ends, head_from=repo.main_ref, merge=True))
    return prepared


def _check_not_rebasing(checkout: Repository) -> None:
    """Refuse while main is being rebased: HEAD is detached then, and `head-name` tells."""
    for folder in ("rebase-merge", "rebase-apply"):
        name = checkout.directory / folder / "head-name"
        # The rebase ends by moving main from where it began, and fails where a landing has moved
        # it.
        if name.is_file() and decode(name.read_bytes()).strip() == checkout.main_ref:
            checkout.check_idle("moving main")


def merge_to_main(repo: Repository, branch: str, settings: GateSettings | None) -> str:
    """Merge `branch` into main by a merge commit, tested first when `settings` are given.

    Main is checked out afterwards, and the branch deleted.

    Raises:
        MergeConflictError: the two do not merge. MainMovedError: main kept moving.
        GitOperationError: `branch` is main, the tests failed, or work is in the way.
    """
    if branch == repo.main:
        raise GitOperationError(
            f"cannot merge {branch} into itself",
            hint=f"name the branch that holds the work to merge into {repo.main}",
        )
    for _ in range(_ROUNDS):
        repo.check_idle("a merge from here")
        message = f"Merge branch '{branch}' into {repo.main}"
        what = candidate(repo, repo.branch(branch), message)
        if isinstance(what, Conflict):
            paths = tuple(file.path for file in what.files)
            raise MergeConflictError(
                f"cannot merge {branch} into {repo.main}: conflict in {', '.join(paths[:5])}",
                paths=paths,
                hint="nothing was changed; bring the branch up to date with main first",
            )
        report = None
        if settings is not None:
            # The founding promise is green tests, not tests as green as before: no baseline.
            report = run_gate(repo, replace(settings, baseline=False), what)
        if report is not None and not report.passed:
            tail = report.output[-2000:].strip()
            raise GitOperationError(
                f"Cannot merge {branch} into {repo.main}: tests failed"
                + (f" ({report.reason})" if report.reason else "")
                + (f"\n{tail}" if tail else ""),
                hint=f"{repo.main} is where it was",
                returncode=report.exit_status,
                stderr=tail,
            )
        # Only now locked: a suite of minutes must not keep others from landing. What moved
        # meanwhile is seen by the compare-and-swap, and merged and tested anew.
        with operation_lock(repo, "merge"):
            landed = retry_on_conflict(lambda: _merge_here(repo, branch, what))  # noqa: B023
        landed = _attested(repo, landed)
        if not isinstance(landed, Moved):
            return landed.new
    raise MainMovedError(
        f"{repo.main} moved {_ROUNDS} times while {branch!r} was tested", hint="try again later"
    )


def _merge_here(repo: Repository, branch: str, what: Candidate) -> Landed | Moved:
    """Land with main checked out here afterwards and the branch deleted.

    Raises:
        GitDirtyWorkingDirectoryError: uncommitted work is in the way; nothing was changed.
        GitOperationError: main is checked out elsewhere, or a merge is in progress.
    """
    repo.check_idle("a merge from here")
    actual, tip = repo.branch(repo.main), repo.branch(branch)
    # Under the lock: the candidate was tested without it, for minutes.
    for expected, now in ((what.onto, actual), (what.head, tip)):
        if now != expected:
            return Moved(expected=expected, actual=now)
    receipts.check_newest(repo.chain)
    head = repo.born()
    others = [other for other in repo.checkouts() if other.directory != repo.directory]
    _check_not_rebasing(repo)
    for other in others:
        _check_not_rebasing(other)
        if other.head_branch() == repo.main:
            raise GitOperationError(
                f"{repo.main!r} is already checked out at {other.top}",
                hint="merge there",
            )
    prepared = prepare_update(
        repo, head.commit, what.commit, head_from=head.target, head_to=repo.main_ref, strict=True
    )
    # Git would refuse to delete it, and a checkout on a branch that is gone has no HEAD.
    in_use = any(other.head_branch() == branch for other in others)
    execute(
        repo,
        Transaction(
            kind="merge",
            refs=((repo.main_ref, what.onto, what.commit),),
            parts=(prepared.update,),
            after=() if in_use else ((f"refs/heads/{branch}", tip, ""),),
            reason=branch,
            data={"way": "follow"},
        ),
    )
    return Landed(old=what.onto, new=what.commit, checkout="followed")


def gate_bypass(repo: Repository, worktree: Worktree) -> GateBypass | None:
    """Return how main was moved to a commit that was made in the worktree; None: it was not.

    The worktree's own reflog tells what was made there. A commit that came there from elsewhere,
    as by a fast-forward to main, was not made there; one that main was moved to through us did
    not bypass the gate.
    """
    [tip] = repo.tips([repo.main_ref])
    if not tip or tip == worktree.base:
        return None
    made = set()
    pooled = pooled_at(repo, worktree.path)
    if pooled.directory.is_dir():
        begin = isolate_note(worktree.attempt)
        for commit, said in takewhile(lambda entry: entry[1] != begin, _reflog(pooled, "HEAD")):
            if not said.startswith(_GO_TO_A_COMMIT) and "fast-forward" not in said.lower():
                made.add(commit)
    if made:
        made -= {new for _, new, *_ in repo.log.moves(repo.main_ref)} | {worktree.base}
    # Where main was since it was at `base`, newest first.
    reflog = takewhile(lambda c: c != worktree.base, [c for c, _ in _reflog(repo, repo.main_ref)])
    places = dropwhile(lambda commit: commit not in made, dict.fromkeys([tip, *reflog]))
    new = next(places, None)
    if new is None:
        return None
    below = next((commit for commit in places if commit not in made), worktree.base)
    return GateBypass(ref=repo.main_ref, old=below, new=new, tip=tip)


def _reflog(repo: Repository, ref: str) -> list[tuple[str, str]]:
    """Return commit and message of each entry of a ref's reflog, newest first."""
    done = repo.git.run("log", "-g", "-z", "--format=%H %gs", ref, "--", ok=(0, 128))
    lines = decode(done.stdout, errors="replace").split("\0")
    return [(line[:at], line[at + 1 :]) for line in lines if (at := line.find(" ")) > 0]
