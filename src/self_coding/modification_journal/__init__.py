"""Remembers every attempt: what was asked, what was done, how it ended, and what is like it."""

from self_coding.modification_journal.journal import ModificationJournal
from self_coding.values.attempts import (
    DeadEnd,
    Event,
    Lesson,
    ModificationAttempt,
    Outcome,
    Rate,
    SimilarAttempt,
)

__all__ = [
    "DeadEnd",
    "Event",
    "Lesson",
    "ModificationAttempt",
    "ModificationJournal",
    "Outcome",
    "Rate",
    "SimilarAttempt",
]
