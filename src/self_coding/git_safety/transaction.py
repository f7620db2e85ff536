"""Every change to refs, HEAD, an index or a user's files goes through here, as one transaction.

It is prepared unseen, stored as an intent, and carried out in an order in which a crash leaves the
old or the new: refs by compare-and-swap, files one by one, HEAD, the index, the log. What a crash
leaves half done, the next operation finishes (see `recovery`). Nothing outside of the transaction
is touched.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from self_coding.adapters.files import remove_tree
from self_coding.adapters.git import encode, fields
from self_coding.errors import GateError, MainMovedError
from self_coding.git_safety import receipts, user_checkouts
from self_coding.git_safety.file_swap import FileStep, FileSwap, fingerprint, matches, prune
from self_coding.git_safety.locks import IndexLock, Intent
from self_coding.git_safety.log import Move
from self_coding.git_safety.objects import few
from self_coding.git_safety.repository import Repository

_logger = logging.getLogger(__name__)
# Each time main was moved by somebody else in the milliseconds between reading and swapping it.
_TRIES = 12
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CheckoutUpdate:
    """What changes in one checkout; stored in the intent under these names.

    `steps` use the folder `staging`. `index` is a prepared index file that replaces the one whose
    content has the digest `index_before`. `head_from` is what HEAD names; `head_to` is a full ref
    or a commit, "" to leave HEAD alone.
    """

    top: str
    directory: str
    steps: tuple[FileStep, ...] = ()
    staging: str = ""
    index: str = ""
    index_before: str = ""
    head_from: str = ""
    head_to: str = ""

    @classmethod
    def at(cls, repo: Repository, head_from: str) -> CheckoutUpdate:
        """Return an update of the checkout that `repo` is, which changes nothing yet."""
        return cls(top=str(repo.top), directory=str(repo.directory), head_from=head_from)

    @property
    def ref(self) -> str:
        """The branch that the checkout must still be on, where HEAD is not to move."""
        return "" if self.head_to or not self.head_from.startswith("refs/") else self.head_from


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One operation: what it changes, and what the log says of it. Stored under these names.

    `parts` are the checkouts that change along with `refs`. The moves in `after` are made when HEAD
    has moved, and only where they still apply.
    """

    kind: str
    refs: tuple[Move, ...] = ()
    parts: tuple[CheckoutUpdate, ...] = ()
    after: tuple[Move, ...] = ()
    reason: str = ""
    attempt: str = ""
    undo_ref: str = ""
    reverses: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    @property
    def moves_checkouts(self) -> bool:
        """Whether the checkouts on a branch move along with it, rather than stay as they are."""
        return self.data.get("way") == "follow"

    @property
    def note(self) -> str:
        """The reflog line."""
        text = f"self-coding: {self.kind}" + (f" ({self.reason})" if self.reason else "")
        return " ".join(text.split())[:200]


@dataclass(frozen=True)
class Result:
    """A published transaction: its number in the log, and the paths that were left, with why."""

    operation: int
    refused: tuple[tuple[str, str], ...] = ()


def retry_on_conflict(work: Callable[[], T]) -> T:
    """Do `work` again where a ref, HEAD or index moved meanwhile: nothing had been changed."""
    for number in range(_TRIES):
        try:
            return work()
        except MainMovedError:
            if number == _TRIES - 1:
                raise
            time.sleep(0.01 * (number + 1))
    raise AssertionError("unreachable")


def execute(repo: Repository, transaction: Transaction) -> Result:
    """Do what the transaction says; call it with the operation lock held.

    Raises:
        MainMovedError: something was not where the transaction expects it; nothing was changed.
        GitOperationError: git or the disk refused; recovery finishes or drops the rest.
    """
    intent = Intent(repo.folder)
    # A fresh key for each run: the log takes a key once, and so tells a repetition after a crash
    # from the same operation asked for again.
    transaction = replace(transaction, key=uuid.uuid4().hex)
    with ExitStack() as stack:
        # Before the locks: a lock that outlives us is then always accompanied by an intent.
        intent.write(asdict(transaction))
        locks = []
        try:
            for update in transaction.parts:
                lock = IndexLock(Path(update.directory), repo.folder)
                lock.acquire()
                # Released in any case at the end; behind `publish` the lock is the index by then,
                # and release finds nothing to remove.
                stack.callback(lock.release)
                locks.append(lock)
                # With the index locked: it and HEAD must be as when the transaction was prepared.
                here = repo.at(Path(update.top), Path(update.directory))
                moved = update.head_to and update.head_from not in ("", here.head_target())
                if moved or _has_left(repo, update):
                    what = "HEAD was moved meanwhile; nothing was changed"
                    raise MainMovedError(what, hint="try again")
                if update.index and here.index_digest() != update.index_before:
                    what = "the index was modified meanwhile; nothing was changed"
                    raise MainMovedError(what, hint="try again")
            # New and deleted branches have no checkout that could be on the way to them.
            moving = [ref for ref, old, new in transaction.refs if old and new]
            directories = {update.directory for update in transaction.parts}
            with user_checkouts.no_arrivals(
                repo, moving if transaction.moves_checkouts else (), but=directories
            ):
                move_refs(repo, transaction, transaction.refs)  # from here on: forward only
        except BaseException:
            intent.clear()
            cleanup(transaction)
            raise
        # The indexes are locked and main has moved. A switch that began before we took the lock may
        # still be about to write HEAD: whoever leaves now must not get the landing's files.
        staying = {Path(update.top) for update in transaction.parts if not update.head_to}
        user_checkouts.wait_for_switches(staying, user_checkouts.SHORT_WAIT)
        gone = [update for update in transaction.parts if _has_left(repo, update)]
        cleanup(replace(transaction, parts=tuple(gone)))
        pairs = [pair for pair in zip(transaction.parts, locks, strict=True) if pair[0] not in gone]
        transaction = replace(transaction, parts=tuple(update for update, _ in pairs))
        return publish(repo, transaction, [lock for _, lock in pairs], intent)


def publish(
    repo: Repository, transaction: Transaction, locks: Sequence[IndexLock], intent: Intent
) -> Result:
    """Do what comes after the refs: files, HEAD, index, log. It can be repeated after a crash."""
    refused: list[tuple[str, str]] = []
    for update, lock in zip(transaction.parts, locks, strict=True):
        here = repo.at(Path(update.top), Path(update.directory))
        # The index last: its lock is held until then, so that no `git commit` records a state in
        # between.
        refused += swap_files(here, update)
        move_head(here, update, transaction.note)
        publish_index(here, update, lock)
    # A branch to delete that moved meanwhile stays; the operation itself has been done.
    with suppress(MainMovedError):
        move_refs(repo, transaction, transaction.after)
    for ref, old, new in transaction.refs:
        # What follows a remote was landed elsewhere, and has its receipt there.
        lands = ref == repo.main_ref and transaction.kind != "follow"
        if lands or transaction.kind in ("land", "merge"):
            try:
                # After the refs: the chain proves what has landed, and must not name what a crash
                # prevented.
                listed = json.loads(transaction.data.get("group") or "[]")
                alone = receipts.Member(old, new, "", transaction.attempt)
                group = [receipts.Member(*map(str, one)) for one in listed] or [alone]
                receipts.seal(repo.chain, group)
            except (GateError, OSError) as error:  # it has moved, with a receipt or without
                _logger.warning("no receipt for %s: %s", new[:12], error)
    heads = [("HEAD", u.head_from, u.head_to) for u in transaction.parts if u.head_to]
    paths = {"refused": "\n".join(path for path, _ in refused)} if refused else {}
    # `key` is unique in the log, so that a repetition after a crash adds no second line.
    number = repo.log.add(
        transaction.kind,
        plan=transaction.key,
        refs=[*transaction.refs, *transaction.after, *heads],
        reason=transaction.reason,
        attempt=transaction.attempt,
        undo_ref=transaction.undo_ref,
        reverses=transaction.reverses,
        data={**transaction.data, **paths},
    )
    cleanup(transaction)
    intent.clear()
    return Result(number, tuple(refused))


def _has_left(repo: Repository, update: CheckoutUpdate) -> bool:
    """Return whether a checkout that moves along with its branch is on another one by now.

    A new branch can be started without the index lock, or before we took it; what is swapped in
    then would be uncommitted changes on that branch. What slips through, `recovery` puts right.
    """
    here = repo.at(Path(update.top), Path(update.directory))
    return bool(update.ref) and here.head_target() != update.ref


def move_refs(repo: Repository, transaction: Transaction, moves: Sequence[Move]) -> None:
    """Move all refs or none: git compares and swaps them in one transaction of its own.

    Raises:
        MainMovedError: one was not where it was expected.
    """
    if not moves:
        return
    command = b""
    for ref, old, new in moves:
        # All zeros ask git that the ref does not exist; an empty value would let it be anything.
        before = old or repo.zero  # "" is "no such ref"
        if new:
            command += b"update " + encode(f"{ref}\0{new}\0{before}\0")
        else:
            command += b"delete " + encode(f"{ref}\0{before}\0")
    # All in one `update-ref --stdin`: git locks every ref, compares, and only then moves any.
    flags = ("--no-deref", "-m", transaction.note, "-z", "--stdin")
    done = repo.git.run("update-ref", *flags, stdin=command, ok=(0, 128, 1))
    if done.returncode != 0:
        names = ", ".join(ref.removeprefix("refs/heads/") for ref, _, _ in moves)
        said = done.stderr.decode("utf-8", "replace").strip()
        raise MainMovedError(
            f"{names} could not be moved; nothing was changed ({said})",
            hint="another process moved or holds it; try again",
        )


def swap_files(here: Repository, update: CheckoutUpdate) -> list[tuple[str, str]]:
    """Change the files, path by path; return the paths that were left, with the reason."""
    refused = []
    # Deletions first: the file `a` must be gone before the folder `a/` can come.
    steps = sorted(enumerate(update.steps), key=lambda item: (not item[1].deletes, item[1].path))
    for number, step in steps:
        staged = Path(update.staging) / f"{number}"
        try:
            # One that cannot be changed stops no other: main has moved, and whatever follows it is
            # right.
            problem = FileSwap(here.top, staged, step, here.object_format).execute()
        except OSError as error:
            problem = str(error)
        if problem:
            refused.append((step.path, problem))
        # As git does: a folder goes with its last file.
        elif step.deletes:
            prune(here.top, step.path)
    return refused


def move_head(here: Repository, update: CheckoutUpdate, note: str) -> None:
    """Make HEAD name what it shall name."""
    if update.head_to and update.head_to != update.head_from:
        if update.head_to.startswith("refs/"):
            here.git.run("symbolic-ref", "-m", note, "HEAD", update.head_to)
        else:
            here.git.run("update-ref", "--no-deref", "-m", note, "HEAD", update.head_to)


def publish_index(here: Repository, update: CheckoutUpdate, lock: IndexLock) -> None:
    """Put the prepared index in place, with the new files' times, so that git reads none again."""
    prepared = Path(update.index)
    if not update.index or not prepared.exists():
        return
    present = [step.path for step in update.steps if not step.deletes]
    if present:
        git = replace(here.git, index=prepared)
        listed = fields(git.run("ls-files", "-z", "--", *few(present)).stdout)
        names = encode("".join(f"{path}\0" for path in sorted(set(present) & set(listed))))
        if names:
            # Only paths that the prepared index has: `add --refresh` fails on any other.
            flags = ("--pathspec-from-file=-", "--pathspec-file-nul")
            git.run("add", "--refresh", *flags, stdin=names, ok=())
    # Last, and by rename: from here on git sees the checkout at the new commit.
    lock.publish(prepared)


def cleanup(transaction: Transaction) -> None:
    """Remove the files that a transaction was prepared in; foreign bytes in there are set aside."""
    for update in transaction.parts:
        if update.index:
            Path(update.index).unlink(missing_ok=True)
        staging = Path(update.staging)
        if not update.staging or not staging.exists():
            continue
        # A refused swap may have left the only copy of what somebody wrote.
        if not _holds_foreign_bytes(update):
            remove_tree(staging)
            continue
        folder = Path(update.directory) / "self-coding-set-aside"
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            name = f"{transaction.kind.replace(' ', '-')}-{transaction.key}"
            staging.rename(folder / name)
            _logger.warning("files that are not ours are kept in %s", folder)


def _holds_foreign_bytes(update: CheckoutUpdate) -> bool:
    """Return whether the staging folder has a file that neither the user's tree nor we had."""
    # Whose repository it is, is not known here; a digest of the other kind matches nothing.
    formats = ("sha1", "sha256")
    for number, step in enumerate(update.steps):
        staged = Path(update.staging) / f"{number}"
        with suppress(OSError):
            staged.lstat()
            displaced = any(matches(staged, step.expected, kind) for kind in formats)
            new = any(fingerprint(staged, kind) == step.digest for kind in formats)
            if not displaced and (step.deletes or not new):
                return True
    return False
