"""Keeps outcomes true over time: what landed and was reverted later did not succeed.

Reads main's history as text, and re-labels. It refuses to guess: only a revert that names the
commit counts, and a revert that was itself reverted does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from self_coding.modification_journal.store import Store
from self_coding.values.attempts import Outcome

RECORD, FIELD = "\x1e", "\x1f"
FORMAT = "%x1e%H%x1f%B"  # for `git log --format=...`, newest first
_REVERTS = re.compile(
    r"[Tt]his (?:partially )?reverts (?:merge )?commit ([0-9a-f]{7,64})"
    r"|^\(reverts? commit ([0-9a-f]{7,64})\)",
    re.MULTILINE,
)


def reverted(log: str) -> tuple[dict[str, str], set[str]]:
    """What a history (newest first) says of its commits.

    Returns:
        the commits that were reverted and stayed so, with the reason, and the commits whose
        revert was itself reverted; as the messages name them, so maybe abbreviated.
    """
    undone: dict[str, str] = {}
    restored: set[str] = set()
    for entry in log.split(RECORD):
        commit, _, message = entry.strip("\n").partition(FIELD)
        if not message.strip():
            continue
        named = [full or short for full, short in _REVERTS.findall(message)]
        if any(commit.startswith(name) for name in undone):
            restored.update(named)
            continue
        title = message.strip().splitlines()[0]
        for name in named:
            undone.setdefault(name, f"reverted by {commit[:12]}: {title}")
    return undone, restored


def scan(store: Store, log: str) -> list[int]:
    """Bring the outcomes into line with a history; the ids of the attempts that changed."""
    undone, restored = reverted(log)
    return [*relabel(store, undone), *_restore(store, restored - undone.keys())]


def relabel(store: Store, undone: Mapping[str, str]) -> list[int]:
    """Give the attempts that landed as these commits the outcome `rollback`; their ids."""
    return [
        attempt
        for commit, attempts in store.by_commit(undone).items()
        for attempt in attempts
        if store.relabel(attempt, Outcome.ROLLBACK, undone[commit])
    ]


def _restore(store: Store, commits: Iterable[str]) -> list[int]:
    """Give back their outcome to attempts whose revert was itself reverted."""
    changed = []
    for attempts in store.by_commit(commits).values():
        for attempt in attempts:
            told = [event for event in store.events(attempt) if event.kind == "relabelled"]
            was = told[0].data.get("was") if told else None
            if was and store.relabel(attempt, Outcome(str(was)), "its revert was reverted"):
                changed.append(attempt)
    return changed
