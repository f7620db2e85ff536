"""Pure. What makes two attempts alike: the features of each, and how they are ranked.

The features of an attempt (its words by field, its paths, its functions) are computed once, when
it ends; a query's when it is asked. Both go through here, so that they always agree.

Every candidate is measured by BM25 over its fields. The best of those then say which files such
tasks touch, and candidates that touched them rise. What is recent counts more; so does what
failed, in proportion to how much it is the same task. The ranking sees only the candidates and
the rarities that it is given.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice

from self_coding.retrieval import split_identifier, words
from self_coding.text import diff_paths

_TEXT = 4000  # characters of a task that are read; the rest repeats what is said by then
_CHANGED = 600  # characters of changed lines that are read
_LINE = 400  # characters of one line of a diff that are read; a minified file is no evidence
_WORDS = 400  # words a field may have
_LONGEST = 40  # characters of a word; what is longer is a hash or data
_THINGS = 60  # paths and functions that are remembered

_K1, _B = 1.2, 0.6  # BM25
_CLOSER = 120  # candidates that are measured in full, of those whose words were
_TEACHERS = 10  # best candidates by their words, which say what files such tasks touch
_SHARPNESS = 3  # how much more the best of them is listened to

# Patterns are compiled when first used (`re` keeps them): every command imports this module, and
# few of them rank anything.
_LETTERS = r"[^\W_]+"
_TAG = r"\W*([\w\- ./]{2,30}?)[\]:]"  # "[float8] ...", "docs: ..."
_CHANGED_LINE = r"(?m)^[-+](?![-+]{2} )[ \t]*(.*)$"
_NAMED = (
    r"\b(?:def|class|func|function|fn|interface|struct|trait|enum|impl|module)\s+"
    r"(?:\([^)]*\)\s*)?([A-Za-z_$][\w$.]*)"
)


@dataclass(frozen=True)
class Features:
    """The words of each field, in order, and the whole paths and function names.

    The order of the fields is the order in which they are stored.
    """

    body: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Candidate:
    """An attempt that may be alike: its row, how it ended, its features."""

    row: int
    outcome: str
    features: Features


def features(task: str, *, files: Sequence[str] = (), diff: str = "", notes: str = "") -> Features:
    """Return the features of an attempt, or of a task that is about to become one."""
    subject, _, body = task[:_TEXT].strip().partition("\n")
    touched = list(dict.fromkeys([*files, *diff_paths(diff)]))
    symbols = diff_symbols(diff)
    stems = [(path.rpartition(".")[0] or path).replace("/", "_") for path in touched]
    spoken = _words(subject)
    return Features(
        body=(spoken + _words(f"{body}\n{notes[:_TEXT]}"))[:_WORDS],
        subject=spoken,
        places=tuple(word for name in stems for word in split_identifier(name))[:_WORDS],
        names=tuple(word for name in symbols for word in split_identifier(name))[:_WORDS],
        head=_words(changed_lines(diff)),
        # stored with blanks between the paths and a field a line: a path must hold neither
        files=tuple(re.sub(r"\s", "?", path) for path in touched[:_THINGS]),
        symbols=tuple(symbols[:_THINGS]),
        title=" ".join(subject.split())[:200],
    )


def diff_symbols(diff: str) -> list[str]:
    """Return the functions and classes that a diff touches: in hunk headers, or defined by it."""
    names: dict[str, None] = {}
    # Found first and placed after: going through the lines would look at each line of a diff of
    # megabytes, and most of them define nothing.
    for match in re.finditer(_NAMED, diff):
        begin = diff.rfind("\n", 0, match.start()) + 1
        near = match.start() - begin < _LINE
        if near and (diff[begin] in "+-" or diff.startswith("@@", begin)):
            names.setdefault(match[1])
    return list(names)


def changed_lines(diff: str, limit: int = _CHANGED) -> str:
    """Return the first changed lines of a diff, without its headers, in `limit` characters."""
    taken: list[str] = []
    room = limit
    for match in re.finditer(_CHANGED_LINE, diff):
        if line := match[1][:_LINE]:
            taken.append(line[:room])
            room -= len(line) + 1
        if room <= 0:
            break
    return "\n".join(taken)


def terms(features: Features) -> set[str]:
    """Return every term by which the inverted index finds an attempt of these features."""
    fields = (features.body, features.places, features.names, features.head)
    # Paths and symbols are hashed to one word each: the index would take them apart at every dot.
    plain = {word for field in fields for word in field}
    return plain | _hashed("p_", features.files) | _hashed("y_", map(str.lower, features.symbols))


def pack(features: Features) -> str:
    """Return features as one text to store, a field a line."""
    *fields, title = vars(features).values()
    return "\n".join([*map(" ".join, fields), title])


def unpack(stored: str) -> Features:
    """Return the features that `pack` stored; what is missing is empty."""
    lines = stored.split("\n")
    # An older version stored fewer fields.
    lines += [""] * (8 - len(lines))
    body, subject, places, names, head, files, symbols = (
        tuple(line.split(" ")) if line else () for line in lines[:7]
    )
    return Features(body, subject, places, names, head, files, symbols, lines[7])


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in islice(words(text), _WORDS) if len(word) <= _LONGEST)


def _hashed(prefix: str, names: Iterable[str]) -> set[str]:
    """Return a term for each whole name, which the index must not take apart."""
    return {prefix + hashlib.blake2b(n.encode(), digest_size=6).hexdigest() for n in names}


OUTCOME_WEIGHT = 16.0


@dataclass(frozen=True)
class Weights:
    """How much each measure counts, fitted on nine public histories.

    A measure stays only where the development scores fall without it.
    """

    title_words: float = 0.56  # what a word counts more when it is in the query's title
    code: float = 1.3
    changed: float = 0.88
    triples: float = 0.3
    covered: float = 8.8
    files: float = 6.0
    tag: float = 0.65
    crowd: float = 0.15
    lately: float = 0.9
    just_now: float = 0.9
    outcome: float = OUTCOME_WEIGHT


DEFAULT = Weights()


@dataclass(frozen=True)
class Rarity:
    """How many attempts there are; how rare each word of the query and each file is among them."""

    rows: int
    words: Mapping[str, float]
    files: Mapping[str, float]


@dataclass(frozen=True)
class Measures:
    """How one candidate compares with the query; whatever is not a count is a BM25 or a share."""

    candidate: Candidate
    body: float
    code: float
    changed: float
    age: int
    triples: float = 0.0  # of letters in the titles: sees through endings and misspellings
    alike: float = 0.0  # of both titles' weight, what is common
    covered: float = 0.0  # of the candidate's title's weight, what the query says
    files: float = 0.0  # of its files and those such tasks touch, what is common
    tagged: bool = False

    def words(self, weights: Weights) -> float:
        """Return the score of the words alone."""
        score = self.body + weights.code * self.code + weights.changed * self.changed
        return (score + weights.triples * self.triples) * self._recency(weights)

    def total(self, weights: Weights) -> float:
        """Return the score."""
        score = self.words(weights) + weights.covered * self.covered * self._recency(weights)
        score *= (1 + weights.files * self.files) * (1 + weights.tag * self.tagged)
        score /= 1 + weights.crowd * math.log1p(len(self.candidate.features.files))
        if self.candidate.outcome != "success":
            # squared: a failure at something a little alike is no news, at the same thing it is
            score *= 1 + weights.outcome * self.alike**2
        return score

    def _recency(self, weights: Weights) -> float:
        # two decays: work of this week, and the attempts just before this one
        lately, just_now = math.exp(-self.age / 200), math.exp(-self.age / 8)
        return 1 + weights.lately * lately + weights.just_now * just_now


@dataclass(frozen=True)
class Hit:
    """A ranked attempt: its score, how alike its title is, and why, strongest first."""

    row: int
    score: float
    alike: float
    features: Features
    reasons: tuple[str, ...]


def rank(
    query: Features,
    candidates: Sequence[Candidate],
    rarity: Rarity,
    *,
    outcome_weight: float = OUTCOME_WEIGHT,
) -> list[Hit]:
    """Return the candidates that share anything with the query, best first, ties newest first."""
    weights = replace(DEFAULT, outcome=outcome_weight)
    measured = [
        (one.total(weights), one.candidate.row, one) for one in measure(query, candidates, rarity)
    ]
    # By row as well: equal scores must not change places from one question to the next.
    measured.sort(key=lambda item: (-item[0], -item[1]))
    return [
        Hit(row, score, one.alike, one.candidate.features, _reasons(query, one, rarity))
        for score, row, one in measured
        if score > 0
    ]


def measure(query: Features, candidates: Sequence[Candidate], rarity: Rarity) -> list[Measures]:
    """Return the candidates whose words promise most, with all their measures."""
    # Titles and files cost more than words, and their counts are the more telling the less noise
    # there is among the candidates: so the words decide who is looked at closer.
    spoken = _spoken(query, candidates, rarity)
    spoken.sort(key=lambda one: -one.words(DEFAULT))
    closer = _closer(query, spoken[:_CLOSER], rarity)
    files = _shared_files(query, closer, rarity)
    return [replace(one, files=share) for one, share in zip(closer, files, strict=True)]


def rareness(seen: float, rows: int) -> float:
    """Return how rare something is that `seen` of the rows have."""
    return math.log(1 + max(0.0, rows - seen + 0.5) / (seen + 0.5))


def _spoken(query: Features, candidates: Sequence[Candidate], rarity: Rarity) -> list[Measures]:
    """Return what the words of each candidate say."""
    titled = frozenset(query.subject)

    def weighed(*fields: tuple[str, ...]) -> dict[str, float]:
        asked = {word for field in fields for word in field}
        return {
            word: rarity.words.get(word, 0.0) * (1 + DEFAULT.title_words * (word in titled))
            for word in asked
        }

    said = weighed(query.body)
    coded = weighed(query.body, query.places, query.names)
    changed = weighed(query.body, query.head)
    code = [one.features.places + one.features.names for one in candidates]
    body_length = _mean([one.features.body for one in candidates])
    code_length = _mean(code)
    changed_length = _mean([one.features.head for one in candidates])
    return [
        Measures(
            candidate=one,
            body=_bm25(said, one.features.body, body_length),
            code=_bm25(coded, placed, code_length),
            changed=_bm25(changed, one.features.head, changed_length),
            age=max(1, rarity.rows + 1 - one.row),
        )
        for one, placed in zip(candidates, code, strict=True)
    ]


def _bm25(weights: Mapping[str, float], field: Sequence[str], mean: float) -> float:
    """Return how much a field says of weighed words, as BM25 has it."""
    # Only the words that both have are summed; `&` goes through the field in C, once a candidate.
    score = 0.0
    norm = _K1 * (1 - _B + _B * len(field) / mean)
    for word in weights.keys() & field:
        count = field.count(word)
        score += weights[word] * count * (_K1 + 1) / (count + norm)
    return score


def _mean(fields: Sequence[Sequence[str]]) -> float:
    return max(1.0, sum(map(len, fields)) / max(1, len(fields)))


def _closer(query: Features, measured: Sequence[Measures], rarity: Rarity) -> list[Measures]:
    """Return the best candidates with what their titles say."""
    rows = [one.candidate.features for one in measured]
    triples = [_triples(row.title) for row in rows]
    asked = _triples(query.title)
    seen = _counted(set(asked).intersection(row) for row in triples)
    weights = {triple: rareness(number, len(rows)) for triple, number in seen.items()}
    mean = _mean(triples)
    others = _counted(row.subject for row in rows)
    tag = _tag(query.title)
    closer = []
    for one, row, letters in zip(measured, rows, triples, strict=True):
        alike, covered = _titles_shared(query, set(row.subject), rarity, others)
        tagged = bool(tag) and _tag(row.title) == tag
        score = _bm25(weights, letters, mean)
        closer.append(replace(one, triples=score, alike=alike, covered=covered, tagged=tagged))
    return closer


def _triples(title: str) -> list[str]:
    text = f" {' '.join(re.findall(_LETTERS, title.lower()))} "
    return [text[at : at + 3] for at in range(len(text) - 2)]


def _tag(title: str) -> str:
    match = re.match(_TAG, title)
    return match[1].lower() if match else ""


def _counted(rows: Iterable[Iterable[str]]) -> Counter[str]:
    """Return how many rows hold each thing."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(set(row))
    return counts


def _titles_shared(
    query: Features, title: Set[str], rarity: Rarity, others: Mapping[str, int]
) -> tuple[float, float]:
    """Return how much of both titles' weight is common, and of the title's what the query has."""
    subject, body = set(query.subject), set(query.body)
    if not title & (subject | body):
        return 0.0, 0.0

    def weight(words: Set[str]) -> float:
        # what the query does not say was not looked up: it is judged among the candidates
        return sum(
            rarity.words.get(word) or rareness(others.get(word, 0), rarity.rows) for word in words
        )

    own = weight(title)
    union = own + weight(subject - title)
    return weight(subject & title) / union, weight(title & body) / max(own, 1e-9)


def _shared_files(query: Features, measured: Sequence[Measures], rarity: Rarity) -> list[float]:
    """Return the share of each candidate's files and the expected ones that is common to both.

    A task names few files, but the attempts most like it touched some: relevance feedback, over
    attempts instead of words. What the caller names is certain.
    """
    first = [one.words(DEFAULT) for one in measured]
    order = sorted(range(len(first)), key=lambda at: (-first[at], at))[:_TEACHERS]
    # The trust in a teacher falls with the cube of its score: ten that are half as good as the
    # best one together say little more than it alone.
    expected: dict[str, float] = {}
    if order and first[order[0]] > 0:
        trust = [(first[at] / first[order[0]]) ** _SHARPNESS for at in order]
        for at, share in zip(order, trust, strict=True):
            for path in set(measured[at].candidate.features.files):
                expected[path] = expected.get(path, 0.0) + share / sum(trust)
    # Behind the teachers, whose guesses it replaces.
    expected |= dict.fromkeys(query.files, 1.0)
    for path in expected:
        expected[path] *= rarity.files.get(path, 1.0)
    everything = sum(expected.values())
    shares = []
    for one in measured:
        paths = set(one.candidate.features.files)
        common = sum(expected.get(path, 0.0) for path in paths)
        own = sum(rarity.files.get(path, 1.0) for path in paths)
        shares.append(common / (own + everything - common + 1e-9) if common > 0 else 0.0)
    return shares


def _reasons(query: Features, one: Measures, rarity: Rarity) -> tuple[str, ...]:
    """Return what spoke for a hit, in words a reader can check."""
    row = one.candidate.features
    reasons = []
    fields = (("words", row.body), ("paths and functions", row.places + row.names))
    for name, field in fields:
        common = sorted(
            set(query.body).intersection(field),
            key=lambda word: (-rarity.words.get(word, 0.0), word),
        )
        if common:
            reasons.append(f"{name} in common: {', '.join(common[:6])}")
    same = [path for path in row.files if path in query.files]
    if same:
        reasons.append(f"the same files: {', '.join(same[:4])}")
    elif one.files > 0.2:
        reasons.append(f"files that such tasks touch: {', '.join(row.files[:3])}")
    if one.alike > 0.5:
        reasons.append(f"nearly the same title ({one.alike:.0%})")
    if one.candidate.outcome != "success":
        reasons.append("it did not succeed")
    return tuple(reasons)
