"""Find past attempts like a task, and warn of the dead ends among them.

The rarest words of the task bring their newest attempts from the inverted index, and the most
promising of those are scored in full by `ranking`: the work is bounded however many attempts
there are.

A past attempt is a dead end when its title says nearly the same as this task's (the share of
both titles' weighted words that is common reaches `SAME_TITLE`), or when its diff changes nearly
the same words in a file of this diff (`SAME_DIFF`). Both were fixed on the development set;
docs/explanation/journal.md says what they cost and give.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection

from self_coding.modification_journal.queries import Queries, Store
from self_coding.modification_journal.ranking import (
    Candidate,
    Features,
    Rarity,
    rank,
    rareness,
    terms,
)
from self_coding.text import shorten
from self_coding.values.attempts import DeadEnd, ModificationAttempt, Outcome, SimilarAttempt

SAME_TITLE = 0.3
SAME_DIFF = 0.7

_TERMS = 60  # terms of a query that are looked up, the longest first
_PROBE = 64  # newest attempts of each, by which its rarity is judged
_READ = 8000  # attempts that are read for the rarest terms
_PER_TERM = 1500  # newest attempts of one term
_SCORED = 300  # candidates whose words are scored
_FILTERED = 2000  # most promising ones of which those with an asked-for outcome are taken
_RECENT = 20  # newest attempts that are candidates whatever they say
_FAILURES = 10  # most alike failures that may be dead ends
_TELLING = 3  # changed words below which a diff says too little
_LINE = 240  # characters of a task or a reason in a warning
_LESSONS = 200  # the newest, among which that of a failed attempt is looked for


def find(
    store: Store,
    query: Features,
    limit: int,
    outcomes: Collection[Outcome] | None = None,
) -> list[SimilarAttempt]:
    """Return the attempts most like a query, best first, with the reasons."""
    with store.look() as queries:
        candidates, rarity = gather(queries, query, outcomes)
        hits = rank(query, candidates, rarity)[:limit]
        attempts = queries.attempts([hit.row for hit in hits])
    return [
        SimilarAttempt(attempt=attempts[hit.row], score=hit.score, reasons=hit.reasons)
        for hit in hits
        if hit.row in attempts
    ]


def dead_end(store: Store, query: Features, at: str = "plan") -> DeadEnd | None:
    """Return the failed attempt that a query repeats; None when none is alike enough."""
    failed = (Outcome.FAILURE, Outcome.ROLLBACK)
    with store.look() as queries:
        candidates, rarity = gather(queries, query, failed)
        hits = rank(query, candidates, rarity, outcome_weight=0.0)[:_FAILURES]
        score, row = 0.0, 0
        ours = Counter(query.head)
        for hit in hits:
            same = hit.alike / SAME_TITLE
            if len(ours) >= _TELLING and set(query.files) & set(hit.features.files):
                theirs = Counter(hit.features.head)
                # As multisets: a line that comes three times is not the same change as one that
                # comes once.
                share = (ours & theirs).total() / max(1, (ours | theirs).total())
                same = max(same, share / SAME_DIFF)
            # An editor that failed, or changed nothing, has not tried the change.
            idle = same >= 1 and not hit.features.files and queries.stage(hit.row) == "refused"
            if same > score and not idle:
                score, row = same, hit.row
        past = queries.attempts([row]).get(row) if score >= 1 else None
        newest = queries.lesson_ids()[-_LESSONS:] if past else ()
        learnt = [one for one in queries.lessons(newest) if row in one.evidence][-1:]
    if past is None:
        return None
    # A number to look up is not looked up: what to do instead stands in the warning itself.
    reasons = [because(past)] if past.failure_analysis.strip() or not learnt else []
    for one in learnt:
        reasons.append(shorten(one.text.rstrip("."), _LINE))
        reasons += [f"run {shorten(test, _LINE)} first" for test in one.tests[:1]]
    said = "; ".join(dict.fromkeys(reasons))
    task = shorten(" ".join(past.task_description.split()), _LINE)
    return DeadEnd(attempt=row, task=task, because=said, score=score, at=at)


def because(past: ModificationAttempt) -> str:
    """Return why an attempt failed, in one line of its own record."""
    # Of a reflection what should be done; what stands before it tells that tests ran.
    advice = past.reflection.rpartition("## What could be improved")[2].partition("\n## ")[0]
    for text in (past.failure_analysis, advice.replace("\n- ", " ")):
        if text.strip():
            return shorten(" ".join(text.split()), _LINE)
    return "it was rolled back" if past.outcome is Outcome.ROLLBACK else "no reason was recorded"


def gather(
    queries: Queries, query: Features, outcomes: Collection[Outcome] | None = None
) -> tuple[list[Candidate], Rarity]:
    """Return the most promising attempts, and how rare the query's words and their files are."""
    probed: list[tuple[float, str, list[int]]] = []
    asked = sorted(terms(query), key=lambda word: (-len(word), word))[:_TERMS]
    # As few questions as can be, for it may be another machine that answers.
    newest, first, more = queries.probe(asked, _PROBE, _PER_TERM, _READ)
    for term, rows in first.items():
        frequency = float(len(rows))
        if len(rows) == _PROBE:
            # Counting a common term's attempts would mean reading them all: how close together
            # its newest ones are tells how many there must be.
            frequency *= newest / max(1, newest - rows[-1] + 1)
        probed.append((rareness(frequency, newest), term, rows))
    # The rarest first: they say most, and bring few rows into the room that is there.
    probed.sort(key=lambda each: -each[0])
    promise: dict[int, float] = defaultdict(float)
    room = _READ
    common = [term for _, term, rows in probed if len(rows) == _PROBE]
    for rarity, term, newest_rows in probed:
        rows = newest_rows
        if room > 0 and len(rows) == _PROBE:
            if term not in more:
                # As many as fill the room if each has all the rows that one may bring.
                following = common[common.index(term) :][: math.ceil(room / _PER_TERM)]
                more |= queries.newest_with(following, _PER_TERM)
            rows = more[term][:room]
        room -= len(rows)
        for row in rows:
            promise[row] += rarity
    # The last attempts are near what is asked, whatever words they used.
    for row in range(max(1, newest - _RECENT), newest + 1):
        promise.setdefault(row, 0.0)
    for row in promise:
        age = newest - row
        promise[row] *= 1 + math.exp(-age / 200) + math.exp(-age / 8)
    best = sorted(promise, key=lambda row: (-promise[row], -row))
    # With outcomes many of the most promising are none of those that are asked for.
    room = _SCORED if outcomes is None else _FILTERED
    asked_for = None if outcomes is None else [one.value for one in outcomes]
    candidates, modified = queries.scored(best[:room], asked_for, _SCORED)
    return candidates, Rarity(
        rows=newest,
        words={term: rarity for rarity, term, _ in probed},
        files={path: rareness(times, newest) for path, times in modified.items()},
    )
