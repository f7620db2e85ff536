"""Keeps outcomes true over time: what landed and was reverted later did not succeed.

Pure reading of main's history, and the re-labelling. It refuses to guess: only a revert that
names the commit counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from self_coding.modification_journal.store import Store
from self_coding.values.attempts import Outcome

RECORD, FIELD = "\x1e", "\x1f"
_REVERTS = re.compile(r"[Tt]his (?:partially )?reverts (?:merge )?commit ([0-9a-f]{7,64})")


def reverted(log: str) -> dict[str, str]:
    """The commits that a history (newest first) says were reverted and stayed so -> the reason.

    A revert that was itself reverted does not count.
    """
    undone: dict[str, str] = {}
    for entry in log.split(RECORD):
        commit, _, message = entry.strip("\n").partition(FIELD)
        if not message or any(commit.startswith(name) for name in undone):
            continue
        for name in _REVERTS.findall(message):
            undone[name] = f"reverted by {commit[:12]}: {message.strip().splitlines()[0]}"
    return undone


def relabel(store: Store, undone: Mapping[str, str]) -> list[int]:
    """Give the attempts that landed as these commits the outcome `rollback`; their ids."""
    return [
        attempt
        for commit, attempts in store.by_commit(undone).items()
        for attempt in attempts
        if store.relabel(attempt, Outcome.ROLLBACK, undone[commit])
    ]
