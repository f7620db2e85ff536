"""A receipt for every landing, chained by hash, and the offline check of the whole chain.

Each receipt is one JSON file that is written once and never changed. The check needs the files
and the repository, no network and no trust in whoever wrote them: what was tested is what landed.
It cannot see that the newest receipts were cut off together with their landings.
"""

from __future__ import annotations

import hashlib
import json
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters import git
from self_coding.adapters.files import create_file, replace_file
from self_coding.errors import GateError
from self_coding.values.verdicts import Finding, GateReport, Receipt

_FOLDER = "receipts"
_NOTE_SECONDS = 90 * 86_400.0
_TRIES = 100
_NEAR = 16  # receipts that are looked at around a moment
_GIT_SECONDS = 120.0


class Member(NamedTuple):
    """One landing among those that a move of main brings: it goes from `onto` to `landed`."""

    onto: str
    landed: str
    tree: str
    attempt: str = ""


def note(store: Path, report: GateReport) -> None:
    """Keep on the disk that a commit passed, so that whoever lands it can seal its receipt.

    That may be another process, after a crash, or a person who took weeks to approve it. A later
    failure of the same commit takes it back.

    Raises:
        GateError: the disk refused.
    """
    path = _note_path(store, report.commit)
    try:
        if not report.passed:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(_stored(draft(report))))
        forgotten = time.time() - _NOTE_SECONDS
        for old in path.parent.glob("*.json"):
            with suppress(FileNotFoundError):  # removed by another process
                if old.stat().st_mtime < forgotten:
                    old.unlink()
    except OSError as error:
        raise GateError(
            f"cannot note whether it passed: {error}", hint=f"see {path.parent}"
        ) from error


def note_group(store: Path, group: Sequence[Member]) -> None:
    """Note that the tests of the last commit of a group spoke for those below it.

    Raises:
        GateError: the disk refused.
    """
    spoke = tested(store, group[-1].landed) if len(group) > 1 else None
    if spoke is None:
        return
    for one in group[:-1]:
        told = replace(spoke, commit=one.landed, tree=one.tree, top=group[-1].landed)
        try:
            replace_file(_note_path(store, one.landed), json.dumps(_stored(told)))
        except OSError as error:
            hint = f"see {store}"
            raise GateError(f"cannot note whether it passed: {error}", hint=hint) from error


def tested(store: Path, commit: str) -> Receipt | None:
    """Return what the note says of a commit that passed; None where it was not tested here."""
    # A note, not an argument: the tests ran in another process, maybe days ago.
    return _read(_note_path(store, commit))


def seal(store: Path, group: Sequence[Member]) -> None:
    """Make the notes of commits that have landed their receipts; what was not tested gets none.

    Call it with the operation lock held. Repeated after a crash it adds no second receipt.

    Raises:
        GateError: the chain could not be written.
    """
    _newest(store / _FOLDER)  # which must be whole
    # Among the newest: we crashed between the receipts and the end of the operation.
    sealed = {(one.onto, one.landed) for one in read_receipts(store, len(group))}
    for one in group:
        noted = tested(store, one.landed)
        if noted and (one.onto, one.landed) not in sealed:
            chain(store, noted, onto=one.onto, landed=one.landed, attempt=one.attempt)
        _note_path(store, one.landed).unlink(missing_ok=True)


def check_newest(store: Path) -> None:
    """Make sure that another receipt can follow, before something lands.

    Raises:
        GateError: the newest receipt is damaged.
    """
    _newest(store / _FOLDER)


def draft(report: GateReport) -> Receipt:
    """Return what a receipt says of the tests; the landing and the chain are still open."""
    return Receipt(
        number=0,
        previous="",
        hash="",
        at="",
        commit=report.commit,
        tree=report.tree,
        onto="",
        landed="",
        command=report.command,
        exit_status=report.exit_status,
        passed=report.passed,
        reason=report.reason,
        sandbox=report.sandbox,
        limits=report.limits,
        understood=report.understood,
        outcomes=tuple(sorted(Counter(test.outcome for test in report.tests).items())),
        tests_hash=_digest([[test.id, test.outcome] for test in report.tests]),
        output_hash=_digest(report.output),
        failures=report.known_failures + report.flaky,
        judged_by_base=report.judged_in_words,
    )


def chain(
    store: Path,
    tested: Receipt,
    *,
    onto: str,
    landed: str,
    attempt: str = "",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Receipt:
    """Add the receipt of one landing to the chain, and return it once it is on the disk.

    `tested` is what the gate saw, `onto` main before and `landed` main after.

    Raises:
        GateError: the chain could not be written.
    """
    folder = store / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        # Optimistic: where another process adds the same number first, creating the file fails.
        newest = _newest(folder)
        member = Member(onto, landed, tested.tree, attempt)
        receipt = following(newest, tested, member, clock())
        content = encoded(receipt)
        try:
            # Its content is on the disk before it has a name: a power loss must not leave an empty
            # link in the chain.
            create_file(folder / _name(receipt.number), content, durable=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise GateError(f"cannot write a receipt: {error}", hint="see the folder") from error
        return receipt
    raise GateError("the chain of receipts could not be written", hint="try again")


def following(newest: Receipt | None, tested: Receipt, member: Member, at: datetime) -> Receipt:
    """Return the receipt of a landing that comes after the newest one of a chain."""
    return _with_hash(
        replace(
            tested,
            number=newest.number + 1 if newest else 1,
            previous=newest.hash if newest else "",
            at=at.isoformat(),
            onto=member.onto,
            landed=member.landed,
            attempt=member.attempt,
        )
    )


def encoded(receipt: Receipt) -> str:
    """Return the text of a receipt's file."""
    return json.dumps(_stored(receipt), indent=1, sort_keys=True)


def decoded(text: str | bytes) -> Receipt | None:
    """Return the receipt that a file's text holds; None where it is damaged."""
    names = {one.name for one in fields(Receipt)} - {"mutants"}
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.keys() | {"judged_by_base", "top"} != names:
            return None
        data["outcomes"] = tuple((str(name), int(count)) for name, count in data["outcomes"])
        data["failures"] = tuple(map(str, data["failures"]))
        return Receipt(**data)
    except (ValueError, TypeError):
        return None


def keep(store: Path, receipts: Iterable[Receipt]) -> None:
    """Keep receipts that came from elsewhere; those that are here already are left alone.

    Raises:
        GateError: the disk refused.
    """
    folder = store / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in receipts:
            with suppress(FileExistsError):
                create_file(folder / _name(one.number), encoded(one), durable=True)
    except OSError as error:
        raise GateError(f"cannot write a receipt: {error}", hint="see the folder") from error


def add_strength(store: Path, landed: str, strength: str) -> None:
    """Note on the receipt of a landing, if it has one, how strong its tests were found later.

    It stands beside the chain, whose hashes do not cover it.
    """
    if any(one.landed == landed for one in read_receipts(store)):
        path = _strength_path(store, landed)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, strength)


def read_receipts(store: Path, newest: int = 0) -> tuple[Receipt, ...]:
    """Return the receipts in order; a damaged file is left out (`verify` names it).

    `newest` reads no more than so many, from the end; 0 reads all.
    """
    receipts = []
    for path in _files(store / _FOLDER)[-newest:]:
        if (receipt := _read(path)) is not None:
            with suppress(OSError):
                told = _strength_path(store, receipt.landed).read_text("utf-8", "replace")
                receipt = replace(receipt, mutants=told)
            receipts.append(receipt)
    return tuple(receipts)


def find(store: Path, landed: str, at: datetime) -> Receipt | None:
    """Return the receipt of a landing that was recorded at a moment; None where there is none.

    Receipts are in the order of time: thousands need not be read to find one.
    """
    files = _files(store / _FOLDER)

    def moment(path: Path) -> datetime:
        receipt = _read(path)
        try:
            return datetime.fromisoformat(receipt.at) if receipt else at
        except ValueError:
            return at

    # The receipt comes before the record; clocks of several processes may differ a little.
    place = bisect_right(files, at, key=moment)
    near = sorted(range(len(files)), key=lambda n: abs(n - place))[:_NEAR]
    kept = (_read(files[n]) for n in near)
    return next((one for one in kept if one and one.landed == landed), None)


def verify(store: Path, repo: Path) -> list[Finding]:
    """Check every receipt: whole, chained, and its tested tree is the tree that landed.

    Returns what is wrong, nothing when all is well. Works offline.
    """
    findings: list[Finding] = []

    def report(rule: str, path: Path, message: str) -> None:
        findings.append(Finding(rule=rule, path=path.name, message=message))

    previous, expected = "", 1
    receipts = []
    for path in _files(store / _FOLDER):
        receipt = _read(path)
        if receipt is None or path.name != _name(receipt.number):
            # What it held is not known, so that its successor is not compared with it.
            report("receipt-damaged", path, "is not a receipt any more")
            expected += 1
            previous = ""
            continue
        if receipt.number != expected:
            report("receipt-missing", path, f"receipt {expected} is missing before it")
        elif receipt.previous != previous and (previous or expected == 1):
            report("receipt-chain", path, "does not follow its predecessor")
        if _with_hash(receipt).hash != receipt.hash:
            report("receipt-changed", path, "was changed afterwards")
        if not receipt.passed:
            report("receipt-not-passed", path, "its tests did not pass")
        previous, expected = receipt.hash, receipt.number + 1
        receipts.append((path, receipt))
    return findings + list(_wrong_trees(receipts, repo))


def _wrong_trees(receipts: list[tuple[Path, Receipt]], repo: Path) -> Iterator[Finding]:
    """Ask the repository, once, for the tree of every tested and every landed commit."""
    # One process for all: a repository has thousands of receipts, and each would cost a start of
    # git. Replacement refs are off, or whoever sets one could say what a commit holds.
    commits = [commit for _, one in receipts for commit in (one.commit, one.landed)]
    asked = [commit for commit in dict.fromkeys(commits) if commit.isalnum()]
    trees = {}
    if asked:
        done = git.run(
            ["cat-file", "--batch-check"],
            cwd=repo,
            env={"GIT_NO_REPLACE_OBJECTS": "1"},
            stdin="".join(f"{commit}^{{tree}}\n" for commit in asked).encode(),
            timeout=_GIT_SECONDS,
        )
        for commit, answer in zip(asked, git.decode(done.stdout).splitlines(), strict=True):
            oid, *kind = answer.split()
            if kind[:1] == ["tree"]:
                trees[commit] = oid
    for path, receipt in receipts:
        for what, commit in (("tested", receipt.commit), ("landed", receipt.landed)):
            tree = trees.get(commit)
            if tree is None:
                text = f"the {what} commit {commit} is not in the repository"
                yield Finding(rule="receipt-commit-missing", path=path.name, message=text)
            elif tree != receipt.tree:
                text = f"the {what} commit {commit} has tree {tree}, tested was {receipt.tree}"
                yield Finding(rule="receipt-tree", path=path.name, message=text)
    landed = {receipt.landed: receipt for _, receipt in receipts}
    for path, receipt in receipts:
        # It landed in a group: what was tested is a tree that contains it, by a receipt here.
        if receipt.top:
            spoke = landed.get(receipt.top)
            contains = ("merge-base", "--is-ancestor", receipt.landed, receipt.top)
            same = spoke is not None and spoke.tests_hash == receipt.tests_hash
            if not same or git.run(contains, cwd=repo, ok=()).returncode:
                text = f"the tests of {receipt.top[:12]} do not speak for {receipt.landed[:12]}"
                yield Finding(rule="receipt-group", path=path.name, message=text)


def _with_hash(receipt: Receipt) -> Receipt:
    """Return the receipt with the hash over everything else in it."""
    content = _stored(receipt)
    del content["hash"]
    if not receipt.judged_by_base:  # as it was hashed before there was such a field
        del content["judged_by_base"]
    return replace(receipt, hash=_digest(content))


def _stored(receipt: Receipt) -> dict[str, object]:
    # Without a group a receipt has the fields, and so the hash, that it had before there were any.
    left_out = {"mutants"} if receipt.top else {"mutants", "top"}
    return {name: value for name, value in asdict(receipt).items() if name not in left_out}


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _newest(folder: Path) -> Receipt | None:
    files = _files(folder)
    newest = _read(files[-1]) if files else None
    if files and newest is None:
        raise GateError(
            f"the newest receipt {files[-1].name} is damaged",
            hint="check the chain with `verify`, then move the damaged file away",
        )
    return newest


def _note_path(store: Path, commit: str) -> Path:
    return store / "passed" / f"{commit}.json"


def _strength_path(store: Path, landed: str) -> Path:
    return store / _FOLDER / "mutants" / landed


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _name(number: int) -> str:
    return f"{number:08d}.json"


def _read(path: Path) -> Receipt | None:
    try:
        return decoded(path.read_bytes())
    except OSError:
        return None
