"""Every change to refs, HEAD, an index or a user's files goes through here, journaled.

A plan is prepared unseen, stored as an intent, and carried out in an order in which a crash
leaves the old or the new: refs by compare-and-swap, files one by one, HEAD, the index. What a
crash leaves half done, the next operation finishes. It refuses to touch what is not in the plan.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from self_coding.adapters.git import encode, fields
from self_coding.errors import GateError, MainMovedError
from self_coding.git_safety import receipts, swap
from self_coding.git_safety.lock import IndexLock, Intent
from self_coding.git_safety.log import Log, Move
from self_coding.git_safety.movers import SHORT, hold_still, wait_for_switches
from self_coding.git_safety.objects import few
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import discard
from self_coding.git_safety.swap import Step

_logger = logging.getLogger(__name__)
_TRIES = 12
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What changes in one checkout.

    `index` is a prepared index file that replaces the one whose content has the digest
    `index_before`; `head_to` is a full ref or a commit, "" to leave HEAD alone.
    """

    top: str
    directory: str
    steps: tuple[Step, ...] = ()
    staging: str = ""
    index: str = ""
    index_before: str = ""
    head_from: str = ""
    head_to: str = ""
    token: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One operation: what it changes, and what the log says of it.

    The moves in `after` are made when HEAD has moved, and only where they still apply.
    """

    kind: str
    refs: tuple[Move, ...] = ()
    parts: tuple[Part, ...] = ()
    after: tuple[Move, ...] = ()
    reason: str = ""
    attempt: str = ""
    undo_ref: str = ""
    reverses: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    @property
    def follows(self) -> bool:
        """Whether the checkouts on a branch move along with it, rather than stay as they are."""
        return self.data.get("way") == "follow"


@dataclass(frozen=True)
class Done:
    """A plan that was carried out: its number in the log, and the paths that were left alone."""

    operation: int
    refused: tuple[tuple[str, str], ...] = ()


def insist(work: Callable[[], T]) -> T:
    """Do `work` again when somebody was quicker: nothing had been changed."""
    for number in range(_TRIES):
        try:
            return work()
        except MainMovedError:
            if number == _TRIES - 1:
                raise
            time.sleep(0.01 * (number + 1))
    raise AssertionError("unreachable")


def log_of(repo: Repository) -> Log:
    """The repository's operation log."""
    if repo.log is None:
        found = _logs.get(repo.folder)
        if found is None:
            found = _logs[repo.folder] = Log(repo.folder)
        repo.log = found
    return repo.log


_logs: WeakValueDictionary[Path, Log] = WeakValueDictionary()  # closed with the last user


def carry_out(repo: Repository, plan: Plan) -> Done:
    """Do what the plan says; call it with the operation lock held.

    Raises:
        MainMovedError: a ref was not where the plan expects it; nothing was changed.
        GitOperationError: git or the disk refused; `recover` finishes or drops the rest.
    """
    intent = Intent(repo.folder)
    with ExitStack() as stack:
        locks = [IndexLock(Path(part.directory), repo.folder) for part in plan.parts]
        parts = tuple(
            replace(part, token=str(lock.token))
            for part, lock in zip(plan.parts, locks, strict=True)
        )
        plan = replace(plan, parts=parts, key=uuid.uuid4().hex)
        intent.write(_stored(plan))
        try:
            for part, lock in zip(parts, locks, strict=True):
                lock.acquire()
                stack.callback(lock.release)
                _unchanged(repo, part)
            moving = {ref for ref, old, new in plan.refs if old and new} if plan.follows else ()
            with hold_still(repo, moving, but={part.directory for part in parts}):
                _move_refs(repo, plan, plan.refs)
        except BaseException:
            intent.clear()
            tidy(plan)
            raise
        wait_for_switches({Path(part.top) for part in parts if not part.head_to}, SHORT)
        left = [part for part in parts if _has_left(repo, part)]
        tidy(replace(plan, parts=tuple(left)))
        here = [(part, lock) for part, lock in zip(parts, locks, strict=True) if part not in left]
        plan = replace(plan, parts=tuple(part for part, _ in here))
        return finish(repo, plan, [lock for _, lock in here], intent)


def finish(repo: Repository, plan: Plan, locks: Sequence[IndexLock], intent: Intent) -> Done:
    """The part after the refs: files, HEAD, index, log. It can be repeated after a crash."""
    refused: list[tuple[str, str]] = []
    for part, lock in zip(plan.parts, locks, strict=True):
        here = repo.at(Path(part.top), Path(part.directory))
        refused += _swap_files(here, part)
        _move_head(here, part, plan)
        _publish(here, part, lock)
    with suppress(MainMovedError):
        _move_refs(repo, plan, plan.after)
    _seal(repo, plan)
    number = log_of(repo).add(
        plan.kind,
        plan=plan.key,
        actor=repo.actor,
        session=repo.session,
        refs=_logged(plan),
        reason=plan.reason,
        attempt=plan.attempt,
        undo_ref=plan.undo_ref,
        reverses=plan.reverses,
        data={**plan.data, **({"refused": "\n".join(p for p, _ in refused)} if refused else {})},
    )
    tidy(plan)
    intent.clear()
    return Done(number, tuple(refused))


def _seal(repo: Repository, plan: Plan) -> None:
    """The receipt of a landing; the landing stands, even where it cannot be written."""
    for ref, old, new in plan.refs:
        if ref == repo.main_ref:
            try:
                receipts.seal(repo.folder, onto=old, landed=new, attempt=plan.attempt)
            except (GateError, OSError) as error:
                _logger.warning("no receipt for %s: %s", new[:12], error)


def _logged(plan: Plan) -> list[Move]:
    heads = [("HEAD", part.head_from, part.head_to) for part in plan.parts if part.head_to]
    return [*plan.refs, *plan.after, *heads]


def _unchanged(repo: Repository, part: Part) -> None:
    """With the index locked: it and HEAD are as they were when the plan was made."""
    name = head_name(repo.at(Path(part.top), Path(part.directory)))
    moves = part.head_to and part.head_from and name != part.head_from
    if moves or _has_left(repo, part):
        raise MainMovedError("somebody moved HEAD meanwhile; nothing was changed", hint="try again")
    if part.index and digest(Path(part.directory) / "index") != part.index_before:
        raise MainMovedError(
            "somebody staged something meanwhile; nothing was changed", hint="try again"
        )


def _has_left(repo: Repository, part: Part) -> bool:
    """Whether a checkout that should follow its branch stands on another one by now.

    Whoever starts a branch may do so without the index lock, or be done with it; what is swapped in
    then would be uncommitted changes on somebody's new branch. `crossing` looks after what we miss.
    """
    if part.head_to or not part.head_from.startswith("refs/"):
        return False
    return head_name(repo.at(Path(part.top), Path(part.directory))) != part.head_from


def _move_refs(repo: Repository, plan: Plan, moves: Sequence[Move]) -> None:
    if not moves:
        return
    command = b""
    for ref, old, new in moves:
        old, new = old or repo.zero, new or repo.zero  # noqa: PLW2901 - "" is "no such ref"
        if new == repo.zero:
            command += b"delete " + encode(ref) + b"\0" + encode(old) + b"\0"
        else:
            command += b"update " + encode(f"{ref}\0{new}\0{old}\0")
    done = repo.git.run(
        "update-ref", "--no-deref", "-m", note(plan), "-z", "--stdin", stdin=command, ok=(0, 128, 1)
    )
    if done.returncode != 0:
        names = ", ".join(ref.removeprefix("refs/heads/") for ref, _, _ in moves)
        said = done.stderr.decode("utf-8", "replace").strip()
        raise MainMovedError(
            f"{names} could not be moved; nothing was changed ({said})",
            hint="somebody else moved or holds it; try again",
        )


def note(plan: Plan) -> str:
    """The reflog line of an operation."""
    text = f"self-coding: {plan.kind}" + (f" ({plan.reason})" if plan.reason else "")
    return " ".join(text.split())[:200]


def _swap_files(here: Repository, part: Part) -> list[tuple[str, str]]:
    refused = []
    deletions_first = sorted(
        enumerate(part.steps), key=lambda item: (not item[1].deletes, item[1].path)
    )
    top = Path(part.top)
    for number, step in deletions_first:
        try:
            problem = swap.perform(top, Path(part.staging), number, step, here.object_format)
        except OSError as error:
            problem = str(error)
        if problem:
            refused.append((step.path, problem))
        elif step.deletes:
            swap.prune(top, iter([step.path]))
    return refused


def _move_head(here: Repository, part: Part, plan: Plan) -> None:
    if not part.head_to or part.head_to == part.head_from:
        return
    if part.head_to.startswith("refs/"):
        here.git.run("symbolic-ref", "-m", note(plan), "HEAD", part.head_to)
    else:
        here.git.run("update-ref", "--no-deref", "-m", note(plan), "HEAD", part.head_to)


def _publish(here: Repository, part: Part, lock: IndexLock) -> None:
    if not part.index or not Path(part.index).exists():
        return
    prepared = Path(part.index)
    if part.steps:
        _refresh(here, prepared, part)
    lock.publish(prepared)


def _refresh(here: Repository, index: Path, part: Part) -> None:
    """Note the new files' times in the prepared index, so that git need not read them again."""
    present = [step.path for step in part.steps if not step.deletes]
    if not present:
        return
    git = replace(here.git, index=index)
    known = git.run("ls-files", "-z", "--", *few(present)).stdout
    wanted = set(present) & set(fields(known))
    data = encode("".join(f"{path}\0" for path in sorted(wanted)))
    if data:
        flags = ("--pathspec-from-file=-", "--pathspec-file-nul")
        git.run("add", "--refresh", *flags, stdin=data, ok=())


def tidy(plan: Plan) -> None:
    """Remove the files that a plan was prepared in; somebody's bytes in there are set aside."""
    for part in plan.parts:
        if part.index:
            Path(part.index).unlink(missing_ok=True)
        if part.staging and Path(part.staging).exists():
            if _holds_others(part):
                _set_aside(Path(part.staging), plan)
            else:
                discard(Path(part.staging))


def _set_aside(staging: Path, plan: Plan) -> None:
    """Keep bytes that could not be put back where they were, for their owner to find."""
    for part in plan.parts:
        folder = Path(part.directory) / "self-coding-set-aside"
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            staging.rename(folder / f"{plan.kind.replace(' ', '-')}-{plan.key}")
            _logger.warning("bytes of somebody else's are kept in %s", folder)
            return


def _holds_others(part: Part) -> bool:
    """Whether the staging folder is the only place of somebody else's bytes."""
    for number, step in enumerate(part.steps):
        staged = Path(part.staging) / f"{number}"
        with suppress(OSError):
            staged.lstat()
            if step.deletes and not _expected(staged, step):
                return True
            if not step.deletes and not _expected(staged, step) and not _new(staged, step):
                return True
    return False


def _expected(path: Path, step: Step) -> bool:
    return any(swap.matches(path, step.expected, kind) for kind in ("sha1", "sha256"))


def _new(path: Path, step: Step) -> bool:
    return any(swap.fingerprint(path, kind) == step.digest for kind in ("sha1", "sha256"))


def digest(path: Path) -> str:
    """A digest of a file's bytes; "" when there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def head_name(here: Repository) -> str:
    """What HEAD names: a full ref, or a commit."""
    branch = here.head_branch()
    return f"refs/heads/{branch}" if branch else here.head().commit


def _stored(plan: Plan) -> dict[str, Any]:
    return asdict(replace(plan, data=dict(plan.data)))
