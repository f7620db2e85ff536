"""Landing: the merge made unseen, and main moved to exactly that commit by compare-and-swap.

Conflicts and a moved main are values. It refuses to land under a person who is in the middle of
a merge on main, and never leaves a repository mid-merge.
"""

from __future__ import annotations

from self_coding.adapters.git import decode, encode
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects, receipts
from self_coding.git_safety.change import Plan, carry_out, insist
from self_coding.git_safety.commits import commit_tree
from self_coding.git_safety.follow import Following, follow
from self_coding.git_safety.movers import wait_for_switches
from self_coding.git_safety.ours import persons
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Repository
from self_coding.values.repository import Candidate, Conflict, ConflictFile, Landed, Moved

_SWITCH_SECONDS = 5.0  # that a person's switch gets to end in before we plan around it
_SHOWN = 200_000  # bytes of a conflicting file that are shown


def candidate(repo: Repository, head: str, message: str = "") -> Candidate | Conflict:
    """The merge of `head` onto main as it is now, made without touching anything.

    Raises:
        GitOperationError: there is no main branch, or git cannot merge the two.
    """
    onto = repo.branch(repo.main)
    head = head if len(head) == len(repo.zero) else repo.commit(head)
    done = repo.git.run("merge-tree", "--write-tree", "--messages", "-z", onto, head, ok=(0, 1))
    tree, _, rest = done.stdout.partition(b"\0")
    if done.returncode == 1:
        return Conflict(onto=onto, head=head, files=_conflicts(repo, decode(tree), rest))
    text = message or f"Merge {head[:12]} into {repo.main}"
    made = commit_tree(repo, decode(tree), [onto, head], encode(text) + b"\n")
    return Candidate(commit=made, tree=decode(tree), onto=onto, head=head)


def _conflicts(repo: Repository, tree: str, rest: bytes) -> tuple[ConflictFile, ...]:
    """merge-tree's list of stages and messages as values."""
    listing, _, messages = rest.partition(b"\0\0")
    sides: dict[str, dict[str, str]] = {}
    for part in listing.split(b"\0"):
        facts, _, name = part.partition(b"\t")
        if name:
            _, oid, stage = decode(facts).split(" ")
            sides.setdefault(decode(name), {})[stage] = oid
    said = _messages(messages)
    wanted = []
    for path, stages in sides.items():
        wanted += [f"{tree}:{path}", stages.get("2", "-"), stages.get("3", "-")]
    if any("\n" in name for name in wanted):
        wanted = ["-" if "\n" in name else name for name in wanted]
    contents = objects.read_many(repo.git, wanted)
    files = []
    for number, path in enumerate(sides):
        merged, ours, theirs = contents[3 * number : 3 * number + 3]
        files.append(
            ConflictFile(
                path=path,
                message=said.get(path, "both sides changed it"),
                merged=_shown(merged) or "",
                ours=_shown(ours),
                theirs=_shown(theirs),
            )
        )
    return tuple(files)


def _messages(data: bytes) -> dict[str, str]:
    """Git's message for each path; the ones that are no conflict are left out."""
    parts = [decode(part, errors="replace") for part in data.split(b"\0")]
    said: dict[str, str] = {}
    position = 0
    while position < len(parts) and parts[position].isdigit():
        count = int(parts[position])
        paths = parts[position + 1 : position + 1 + count]
        kind, text = parts[position + 1 + count : position + 3 + count]
        if kind.startswith("CONFLICT"):
            for path in paths:
                said.setdefault(path, text.strip())
        position += count + 3
    return said


def _shown(content: bytes | None) -> str | None:
    return None if content is None else content[:_SHOWN].decode("utf-8", "replace")


def land(
    repo: Repository, what: Candidate, *, attempt: str = "", reason: str = ""
) -> Landed | Moved:
    """Move main from `what.onto` to `what.commit`; checkouts on main follow where they can.

    Raises:
        GitOperationError: somebody is in the middle of a merge on main.
        GateError: the newest receipt is damaged, so that none could follow; main did not move.
    """
    with guarded(repo, "land"):
        return insist(lambda: _land(repo, what, attempt, reason))


def _land(repo: Repository, what: Candidate, attempt: str, reason: str) -> Landed | Moved:
    actual = repo.branch(repo.main)
    if actual != what.onto:
        return Moved(expected=what.onto, actual=actual)
    receipts.check_newest(repo.folder)
    followings = _followings(repo, what)
    plan = Plan(
        kind="land",
        refs=((repo.main_ref, what.onto, what.commit),),
        parts=tuple(following.part for following in followings),
        reason=reason or what.head[:12],
        attempt=attempt,
        data={"way": "follow"},
    )
    done = carry_out(repo, plan)
    left = [following.reason for following in followings if following.left]
    left += [f"{path} ({why})" for path, why in done.refused if not left]
    said = "followed" if followings else "not on main"
    return Landed(old=what.onto, new=what.commit, checkout=f"left: {left[0]}" if left else said)


def _followings(repo: Repository, what: Candidate) -> list[Following]:
    """How each checkout that stands on main will follow it."""
    wait_for_switches({checkout.top for checkout in persons(repo)}, _SWITCH_SECONDS)
    followings = []
    for checkout in repo.checkouts():
        _not_rebasing(checkout, repo.main_ref)
        if checkout.head_branch() != repo.main or not checkout.has_tree:
            continue
        checkout.at_rest("moving main")
        followings.append(follow(checkout, what.onto, what.commit, head_from=repo.main_ref))
    return followings


def _not_rebasing(checkout: Repository, main_ref: str) -> None:
    for folder in ("rebase-merge", "rebase-apply"):
        name = checkout.directory / folder / "head-name"
        if name.is_file() and decode(name.read_bytes()).strip() == main_ref:
            checkout.at_rest("moving main")


def merge_here(repo: Repository, branch: str, what: Candidate) -> Landed | Moved:
    """Land as the founding contract wants it: main checked out afterwards, the branch deleted.

    Raises:
        GitDirtyWorkingDirectoryError: uncommitted work is in the way; nothing was changed.
        GitOperationError: main is checked out elsewhere, or somebody is mid-merge.
    """
    with guarded(repo, "merge"):
        return insist(lambda: _merge_here(repo, branch, what))


def _merge_here(repo: Repository, branch: str, what: Candidate) -> Landed | Moved:
    repo.at_rest("a merge from here")
    actual = repo.branch(repo.main)
    tip = repo.branch(branch)
    if actual != what.onto:
        return Moved(expected=what.onto, actual=actual)
    if tip != what.head:
        return Moved(expected=what.head, actual=tip)
    receipts.check_newest(repo.folder)
    head = repo.born()
    for other in repo.checkouts():
        _not_rebasing(other, repo.main_ref)
        if other.directory != repo.directory and other.head_branch() == repo.main:
            raise GitOperationError(
                f"{repo.main!r} is already checked out at {other.top}",
                hint="merge there, or use candidate() and land()",
            )
    came = head.ref if head.branch else head.commit
    following = follow(
        repo, head.commit, what.commit, head_from=came, head_to=repo.main_ref, strict=True
    )
    plan = Plan(
        kind="merge",
        refs=((repo.main_ref, what.onto, what.commit),),
        parts=(following.part,),
        after=_deletion(repo, branch, tip),
        reason=branch,
        data={"way": "follow"},
    )
    carry_out(repo, plan)
    return Landed(old=what.onto, new=what.commit, checkout="followed")


def _deletion(repo: Repository, branch: str, tip: str) -> tuple[tuple[str, str, str], ...]:
    """The move that deletes a merged branch; none where somebody else stands on it."""
    standing = any(
        other.head_branch() == branch
        for other in repo.checkouts()
        if other.directory != repo.directory
    )
    return () if branch == repo.main or standing else ((f"refs/heads/{branch}", tip, ""),)


def unmerged(conflict: Conflict, branch: str, main: str) -> str:
    """A conflict as one sentence."""
    paths = ", ".join(file.path for file in conflict.files[:5])
    return f"cannot merge {branch} into {main}: conflict in {paths}"
