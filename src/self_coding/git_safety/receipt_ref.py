"""The chain of receipts at a remote: one ref, moved together with main, which all machines share.

Each entry is a commit upon the entry before it. Its tree has the receipts of one push, the newest
last by name. A fence is an entry that repeats the newest receipt and lands nothing: it moves the
ref, so that no push that was made before it can be carried out any more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from self_coding.adapters.git import decode, fields
from self_coding.errors import GateError
from self_coding.git_safety import objects, receipts
from self_coding.git_safety.receipts import Member
from self_coding.git_safety.repository import Repository
from self_coding.values.verdicts import Receipt

RECEIPTS = "refs/self-coding/receipts"
_FENCE = "fence"


def entry(repo: Repository, tip: str, group: Sequence[Member]) -> str:
    """Store the entry for what is about to land upon the chain's `tip`; return its commit.

    Raises:
        GateError: the chain's newest receipt cannot be read, so that none could follow.
    """
    # The remote's chain, not the files here: another machine may have landed a moment ago.
    newest, files = _newest(repo, tip), {}
    for one in group:
        if tested := receipts.tested(repo.chain, one.landed):
            newest = receipts.following(newest, tested, one, datetime.now(UTC))
            files[_name(newest)] = receipts.encoded(newest).encode()
    return _commit(repo, tip, files or _repeated(newest), f"landed {group[-1].landed[:12]}")


def fence(repo: Repository, tip: str) -> str:
    """Store an entry that lands nothing; it differs from any other in its time."""
    # Two fences of one moment would be one commit, and the second push of it no move.
    text = f"{time.time_ns()}\n".encode()
    files = {**_repeated(_newest(repo, tip)), _FENCE: text}
    return _commit(repo, tip, files, "fence: earlier pushes are void")


def read(repo: Repository, tip: str, after: int) -> list[Receipt]:
    """Return the receipts of a chain with a higher number than `after`, oldest first."""
    newest = _newest(repo, tip) if tip else None
    if newest is None or newest.number <= after:
        return []
    # Bounded by how many are missing; each entry has one at least, but for the fences between.
    words = ("log", "--first-parent", "-m", "--diff-filter=AM", "--name-only", "--format=%x1e%H")
    found: dict[int, Receipt] = {}
    skip = 0
    while len(found) < newest.number - after:
        count = 2 * (newest.number - after - len(found)) + 8
        done = repo.git.run(*words, f"--max-count={count}", f"--skip={skip}", tip, "--")
        listed = decode(done.stdout).split("\x1e")[1:]
        names = [
            f"{commit}:{name}"
            for commit, *files in (one.split() for one in listed)
            for name in files
            if name.endswith(".json")
        ]
        for text in objects.read_many(repo.git, names):
            receipt = receipts.decoded(text or b"")
            if receipt is not None and receipt.number > after:
                found[receipt.number] = receipt
        skip += count
        if not listed:
            break
    return [found[number] for number in sorted(found)]


def _newest(repo: Repository, tip: str) -> Receipt | None:
    if not tip:
        return None
    listed = fields(repo.git.run("ls-tree", "-z", "--name-only", tip).stdout)
    names = sorted(name for name in listed if name.endswith(".json"))
    if not names:
        return None  # fences alone, before the first landing
    [text] = objects.read_many(repo.git, [f"{tip}:{names[-1]}"])
    receipt = receipts.decoded(text or b"")
    if receipt is None:
        hint = f"{RECEIPTS} was changed by somebody else; put it back there"
        raise GateError("the newest receipt at the remote is damaged", hint=hint)
    return receipt


def _repeated(newest: Receipt | None) -> dict[str, bytes]:
    return {_name(newest): receipts.encoded(newest).encode()} if newest else {}


def _name(receipt: Receipt) -> str:
    return f"{receipt.number:08d}.json"


def _commit(repo: Repository, tip: str, files: dict[str, bytes], message: str) -> str:
    store, form = repo.common / "objects", repo.object_format
    blobs = {
        name: ("100644", objects.write(store, "blob", text, form)) for name, text in files.items()
    }
    tree = objects.write_tree(store, blobs, form)
    return objects.write_commit(repo.git, form, tree=tree, parents=[tip], message=message)
