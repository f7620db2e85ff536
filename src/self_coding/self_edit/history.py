"""Pure: the events of one attempt, read as facts. An attempt is the fold of its events.

This is the only module that knows which keys an event's data has; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from self_coding.values.attempts import Event, Json
from self_coding.values.repository import Candidate, Worktree

Data = Mapping[str, Json]


class Kind(StrEnum):
    """What can have happened to an attempt; the value is what the journal stores."""

    PLANNED = "planned"
    SPREAD = "spread"
    ISOLATED = "isolated"
    EDITING = "editing"
    WRITTEN = "written"
    EDITED = "edited"
    JUDGED = "judged"
    TESTED = "tested"
    CHOSEN = "chosen"
    APPROVED = "approved"
    HELD = "held"
    LANDING = "landing"
    MOVED = "moved"
    LANDED = "landed"
    REFUSED = "refused"
    STOPPED = "stopped"
    CLEANED = "cleaned"
    REFLECTED = "reflected"
    FOLLOWED = "followed"
    ENDED = "ended"


class By(StrEnum):
    """Who or what refused an attempt, or stopped it."""

    EDITOR = "editor"
    EMPTY = "empty"
    POLICY = "policy"
    CONFLICT = "conflict"
    GATE = "gate"
    APPROVAL = "approval"
    MOVED = "moved"
    CHOICE = "choice"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    ERROR = "error"


class History:
    """One attempt's events, oldest first, with the questions that are asked of them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = tuple(events)

    @property
    def attempt(self) -> int:
        """The attempt's id; 0 for an empty history."""
        return self.events[0].attempt if self.events else 0

    @property
    def last(self) -> str:
        """The kind of the newest event that belongs to the lifecycle; empty for none."""
        kinds = (event.kind for event in reversed(self.events))
        return next((kind for kind in kinds if kind in _KINDS), "")

    def has(self, *kinds: str) -> bool:
        """Whether any of these has happened."""
        return any(event.kind in kinds for event in self.events)

    def count(self, kind: str) -> int:
        """How often this has happened."""
        return sum(event.kind == kind for event in self.events)

    def data(self, kind: str) -> Data:
        """The facts of the newest event of this kind; empty where there is none."""
        found = (event.data for event in reversed(self.events) if event.kind == kind)
        return next(found, {})

    @property
    def plan(self) -> Data:
        """What was settled when the attempt began."""
        facts = self.data(Kind.PLANNED).get("facts")
        return facts if isinstance(facts, dict) else {}

    @property
    def task(self) -> str:
        """The task in the words in which it was asked."""
        return text(self.data(Kind.PLANNED), "task")

    @property
    def edit(self) -> str:
        """The self-edit that the attempt belongs to; empty for one that was only logged."""
        return text(self.data(Kind.PLANNED), "edit")

    @property
    def leader(self) -> int:
        """The attempt that leads this one's round: itself, unless it is one of a best-of-N."""
        return number(self.plan, "leader") or self.attempt

    @property
    def of(self) -> int:
        """How many attempts stand side by side in this round."""
        return max(1, number(self.plan, "of"))

    @property
    def tried(self) -> int:
        """How many tries went before this one."""
        return number(self.plan, "try")

    @property
    def worktrees(self) -> tuple[Worktree, ...]:
        """Every worktree the attempt was given, oldest first; the last one is in use."""
        name = str(self.attempt)
        return tuple(
            Worktree(
                path=Path(text(event.data, "path")),
                branch=text(event.data, "branch"),
                base=text(event.data, "base"),
                attempt=text(event.data, "name") or name,
            )
            for event in self.events
            if event.kind == Kind.ISOLATED
        )

    @property
    def next_worktree(self) -> str:
        """What the attempt's next worktree is called: when it began, its id, which one it is."""
        began = self.events[0].at if self.events else None
        stamp = f"{began:%Y%m%d-%H%M%S}-" if began else ""
        again = len(self.worktrees)
        return f"{stamp}{self.attempt}" + (f".{again}" if again else "")

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that was tested last, green."""
        data = self.data(Kind.TESTED)
        if not data:
            return None
        keys = ("commit", "tree", "onto", "head")
        commit, tree, onto, head = (text(data, key) for key in keys)
        return Candidate(commit=commit, tree=tree, onto=onto, head=head)

    @property
    def landing_open(self) -> bool:
        """Whether main may or may not have been moved: the intent stands without its end."""
        order = [event.kind for event in self.events if event.kind in _LANDING]
        return bool(order) and order[-1] == Kind.LANDING

    @property
    def refusal(self) -> Data:
        """Why nothing landed: the refusal, or else what stopped the attempt."""
        return self.data(Kind.REFUSED) or self.data(Kind.STOPPED)

    @property
    def settled(self) -> bool:
        """Whether the attempt's outcome stands and only tidying is left."""
        return self.has(Kind.LANDED, Kind.HELD, Kind.REFUSED, Kind.STOPPED, Kind.ENDED)

    @property
    def cancelled(self) -> bool:
        """Whether somebody called the attempt off."""
        return text(self.data(Kind.STOPPED), "by") == By.CANCELLED

    @property
    def size(self) -> tuple[int, int, int]:
        """What best-of-N compares: lines, files, then who came first."""
        change = self.data(Kind.EDITED)
        lines = number(change, "added") + number(change, "removed")
        return lines, len(texts(change, "paths")), self.attempt

    @property
    def cost(self) -> float:
        """What the edit cost, in the editor's own currency."""
        value = self.data(Kind.WRITTEN).get("cost")
        return float(value) if isinstance(value, int | float) else 0.0

    @property
    def signature(self) -> str:
        """The mark of this failure, the same on another day; empty where there is none."""
        return text(self.data(Kind.REFLECTED), "signature")


_KINDS = frozenset(Kind)
_LANDING = frozenset({Kind.LANDING, Kind.MOVED, Kind.LANDED})


def text(data: Data, key: str) -> str:
    """The text at `key`; empty where there is none."""
    value = data.get(key)
    return value if isinstance(value, str) else ""


def number(data: Data, key: str) -> int:
    """The whole number at `key`; 0 where there is none."""
    value = data.get(key)
    return int(value) if isinstance(value, int | float) else 0


def flag(data: Data, key: str) -> bool:
    """Whether `key` is true."""
    return data.get(key) is True


def texts(data: Data, key: str) -> tuple[str, ...]:
    """The texts in the list at `key`."""
    value = data.get(key)
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def numbers(data: Data, key: str) -> tuple[int, ...]:
    """The whole numbers in the list at `key`."""
    value = data.get(key)
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, int))


def records(data: Data, key: str) -> tuple[Data, ...]:
    """The mappings in the list at `key`."""
    value = data.get(key)
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, dict))
