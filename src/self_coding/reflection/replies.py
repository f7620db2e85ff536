"""The form a model's reflection must have, the check it must pass, and the text made of it.

Pure. A reply is worth something only where it cites what the model was shown, so a quotation
that stands nowhere in the message is refused, and the facts in the text stay ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from self_coding.redaction import redact
from self_coding.reflection.prompt import facts
from self_coding.values.attempts import Failure, ModificationAttempt, Outcome

_SHORTEST_QUOTE = 6
_LONGEST = 1_200


@dataclass(frozen=True)
class Analysis:
    """A model's reflection.

    `evidence` holds lines copied word for word from the quoted data; `root_cause` says what in
    them made the attempt end as it did; `lesson` is one sentence for the next attempt.
    """

    went_well: str
    to_improve: str
    root_cause: str
    lesson: str
    evidence: list[str]


def objection(reply: Analysis, message: str, outcome: Outcome) -> str:
    """What is wrong with a reply, in words its author can act on; empty when nothing is."""
    texts = (reply.went_well, reply.to_improve, reply.root_cause, reply.lesson)
    if not reply.went_well.strip() or not reply.lesson.strip():
        return "went_well and lesson must not be empty"
    if any(len(text) > _LONGEST for text in texts):
        return f"no field may be longer than {_LONGEST} characters"
    if outcome is not Outcome.SUCCESS and not reply.evidence:
        return "evidence must cite at least one line of the quoted data"
    data = _flat(line[2:] for line in message.splitlines() if line.startswith("> "))
    for quote in reply.evidence:
        flat = _flat(quote.removeprefix("> ").splitlines())
        if len(flat) < _SHORTEST_QUOTE or flat not in data:
            return (
                f"the evidence {quote[:80]!r} stands nowhere in the quoted data; copy lines exactly"
            )
    return ""


def rendered(attempt: ModificationAttempt, failure: Failure, reply: Analysis) -> str:
    """The reflection as text: the model's words under the founding headings, our own facts."""
    told = facts(failure) if attempt.outcome is not Outcome.SUCCESS else ""
    cited = "\n".join(f"- `{' '.join(quote.split())}`" for quote in reply.evidence)
    parts = [
        f"## What went well\n{reply.went_well.strip()}",
        f"## What failed\n{told}" if told else "",
        f"## What could be improved\n{reply.to_improve.strip()}"
        if reply.to_improve.strip()
        else "",
        f"## Root cause\n{reply.root_cause.strip()}" if reply.root_cause.strip() else "",
        f"## Evidence\n{cited}" if cited else "",
        f"## Lesson\n{reply.lesson.strip()}",
    ]
    return redact("\n\n".join(part for part in parts if part)).strip()


def _flat(lines: Iterable[str]) -> str:
    return " ".join(" ".join(line.split()) for line in lines)
