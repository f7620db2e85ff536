"""Pure: a period in Markdown: what landed, what was refused and why, cost, lessons, what waits.

Tasks and lessons are strangers' words: in code spans they neither link, mention nor format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from self_coding.text import first_line
from self_coding.values.attempts import AttemptLine, Event
from self_coding.values.results import Digest, Inbox

NOTED = ("reflected", "bypassed")
_LISTED = 30  # of each kind


def digest(
    began: datetime,
    now: datetime,
    *,
    lines: Sequence[AttemptLine],
    noted: Sequence[Event],
    inbox: Inbox,
    cost: float,
) -> Digest:
    """Return what happened since a moment.

    Args:
        began: the moment.
        now: this one.
        lines: the attempts that began since then, newest first.
        noted: events of the kinds `NOTED`, newest first.
        inbox: what needs somebody.
        cost: what the editors of these attempts say they cost.
    """
    undone = [one for one in lines if one.outcome == "rollback"]
    landed = [one for one in lines if one.stage == "landed" and one not in undone]
    open_ = [one for one in lines if one.ended is None]
    refused = [one for one in lines if one not in landed and one not in undone and one.ended]
    recent = [one for one in noted if one.at >= began]
    bypasses = sum(one.kind == "bypassed" for one in recent)
    lessons = Counter(str(one.data.get("lesson") or "") for one in recent)
    lessons.pop("", None)
    red = [one for one in inbox.needs if one.kind == "red main"]
    waits = [one for one in inbox.needs if one.kind not in ("red main", "running")]
    facts = [f"{len(landed)} landed", f"{len(refused)} did not", f"{len(open_)} under way"]
    facts += [f"{len(undone)} undone"] if undone else []
    facts += [f"main was moved past the guard {bypasses} times"] if bypasses else []
    facts += [f"cost {cost:.2f}"] if cost else []
    sections = [
        f"# {began:%Y-%m-%d} to {now:%Y-%m-%d}",
        f"{len(lines)} attempts: {', '.join(facts)}.",
        *(f"**{_code(one.title)}** ({_code(one.why)})" for one in red),
        *_listed("Landed", (f"{_attempt(one)} {one.commit[:12]}" for one in landed)),
        *_listed("Did not land", (f"{_attempt(one)}: {_code(one.why)}" for one in refused)),
        *_listed("Undone", map(_attempt, undone)),
        *_listed(
            "Needs somebody",
            (f"{one.kind}: {_code(one.title)}" for one in waits),
        ),
        *_listed("Learnt", (f"{_code(one)} ({n} times)" for one, n in lessons.most_common())),
    ]
    return Digest(
        text="\n\n".join(sections) + "\n",
        attempts=len(lines),
        landed=len(landed),
        refused=len(refused),
        undone=len(undone),
        bypasses=bypasses,
        cost=round(cost, 6),
        is_red=bool(red),
    )


def _listed(heading: str, entries: Iterable[str]) -> list[str]:
    """Return a section; nothing where it has no entries."""
    every = list(entries)
    if not every:
        return []
    more = [f"- and {len(every) - _LISTED} more"] if len(every) > _LISTED else []
    return [f"## {heading}", "\n".join([*(f"- {one}" for one in every[:_LISTED]), *more])]


def _attempt(one: AttemptLine) -> str:
    by = f" by {_code(one.editor)}" if one.editor else ""
    return f"{one.id} {_code(one.task)}{by}"


def _code(text: str) -> str:
    """Return a text as a code span of one line, in which nothing of it is markup."""
    plain = "".join(each if each.isprintable() else " " for each in first_line(text, 120))
    return f"`{plain.replace('`', chr(39))}`" if plain.strip() else "-"
