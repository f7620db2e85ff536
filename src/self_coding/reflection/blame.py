"""Names the file and the function a failure most likely comes from, and whether the change did it.

Every piece of evidence that the text gives adds to a file's score: its frames, the names in the
failing lines, the test's own name, the changed lines, the import graph. It refuses to name a
changed file that nothing in the failure points to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from self_coding.reflection.clues import (
    EVERYDAY,
    SYNTHETIC,
    Clue,
    called,
    namesake,
    parts,
    plural,
    stem,
    take_apart,
)
from self_coding.reflection.reports import FailedTest, Frame, is_test_path
from self_coding.reflection.touched import MODULE, Hunk, touched

# What each kind of evidence adds to a file's score.
_LAST_FRAME = 1.0  # the deepest source frame lies in it; each frame further out counts less
_FADE = 0.75
_TEST_FRAME = 0.5  # a frame in a changed test file
_SYNTAX = 3.0  # a syntax error names it
_TOUCHED_FUNCTION = 1.2  # a frame lies in a function that the change touched
_TOUCHED_LINE = 1.0  # a frame lies on the changed lines
_TOUCHED_WORD = 0.25  # a rare word of the failing lines stands in the changed lines
_TOUCHED_NAME = 0.7  # the failing lines name a function that the change touched
_NAMESAKE = 0.6  # the test module is named after it
_MENTIONED = 0.3  # the failing lines or the test's name mention it
_PACKAGE = 0.25  # it is a package's own module, which every test goes through
_IMPORTED = 0.15  # the failing test's file imports it
_UNTOUCHED_FRAME = 0.4  # what a frame is worth whose function the change did not touch
_NAMES_BESIDE_FRAMES = 0.45  # what names are worth where source frames speak
_ENOUGH = 0.2  # below this, nothing points to the change


@dataclass(frozen=True)
class Blame:
    """Where a failure most likely comes from; `related` is None when nothing was changed."""

    file: str = ""
    function: str = ""
    related: bool | None = None
    because: str = ""


def find_cause(
    failed: Sequence[FailedTest],
    *,
    files_modified: Sequence[str] = (),
    diff: str = "",
    importers: Mapping[str, Collection[str]] | None = None,
) -> Blame:
    """The file and function that the evidence points to, and whether the change is among it."""
    hunks = touched(diff)
    changed = list(dict.fromkeys([*files_modified, *hunks]))
    clues = [take_apart(test) for test in failed]
    if not clues:
        return Blame()
    told = [
        clue for clue in clues if clue.frames
    ] or clues  # a test whose block was cut tells little
    scores = {
        path: sum(_score(path, clue, hunks.get(path, ()), importers) for clue in told) / len(told)
        for path in changed
    }
    best = max(scores, key=lambda path: scores[path], default="")
    related = (scores[best] >= _ENOUGH) if best else None
    if related and _reaches(best, clues, importers):
        mine = hunks.get(best, ())
        return Blame(best, _function(best, clues, mine), True, _because(best, clues, mine))
    return _outside(clues, related=None if related is None else False)


def _score(
    path: str,
    clue: Clue,
    hunks: Sequence[Hunk],
    importers: Mapping[str, Collection[str]] | None,
) -> float:
    """How much one failing test points to one changed file."""
    score = _by_frames(path, clue, hunks) + _by_change(path, clue, hunks)
    if clue.test.raised.syntax is not None and clue.test.raised.syntax.path == path:
        score += _SYNTAX
    if not is_test_path(path):
        score += _by_name(path, clue) * (_NAMES_BESIDE_FRAMES if clue.source else 1.0)
    test_file = clue.test.id.partition("::")[0]
    if importers is not None and test_file in importers.get(path, ()):
        score += _IMPORTED
    return score


def _by_frames(path: str, clue: Clue, hunks: Sequence[Hunk]) -> float:
    """The deepest frame in the file counts, less for each frame that lies deeper."""
    if is_test_path(path):
        score = _TEST_FRAME * _depth(path, clue.frames)
    else:
        score = _LAST_FRAME * _depth(path, clue.source)
    return score if _can_hold(path, clue, hunks) else score * _UNTOUCHED_FRAME


def _can_hold(path: str, clue: Clue, hunks: Sequence[Hunk]) -> bool:
    """Whether a frame of the file may lie in changed code; True when the diff is not known."""
    if not hunks or any(hunk.function == MODULE for hunk in hunks):
        return True
    names = {hunk.function for hunk in hunks}
    mine = [frame for frame in clue.frames if frame.path == path]
    return any(
        frame.function in ("", *names, *SYNTHETIC)
        or any(hunk.first <= frame.line <= hunk.last for hunk in hunks)
        for frame in mine
    )


def _depth(path: str, frames: Sequence[Frame]) -> float:
    for deeper, frame in enumerate(reversed(frames)):
        if frame.path == path:
            return float(_FADE**deeper)
    return 0.0


def _by_change(path: str, clue: Clue, hunks: Sequence[Hunk]) -> float:
    """What the diff itself adds: touched functions and lines in frames, shared words."""
    score = 0.0
    for hunk in hunks:
        mine = [frame for frame in clue.frames if frame.path == path]
        if hunk.function != MODULE and any(frame.function == hunk.function for frame in mine):
            score += _TOUCHED_FUNCTION
        if any(hunk.first <= frame.line <= hunk.last for frame in mine):
            score += _TOUCHED_LINE
        if hunk.function in clue.words:
            score += _TOUCHED_NAME
        shared = (hunk.words & clue.words) - EVERYDAY
        score += _TOUCHED_WORD * min(2, len(shared))
        named = set(parts(hunk.function))
        if named and named <= clue.parts:
            score += _TOUCHED_NAME
    return score


def _by_name(path: str, clue: Clue) -> float:
    named = stem(path)
    if named == "init":
        return _PACKAGE
    if clue.module == named:
        return _NAMESAKE
    score = 0.0
    module, mine = set(parts(clue.module)), set(parts(named))
    if mine and mine <= module | plural(module):
        score += _NAMESAKE * 0.8
    elif (mine and mine <= clue.parts) or clue.module in path.split("/")[:-1]:
        score += _MENTIONED
    if named in clue.words or f"_{named}" in clue.words:
        score += _MENTIONED
    return score


def _reaches(
    path: str, clues: Sequence[Clue], importers: Mapping[str, Collection[str]] | None
) -> bool:
    """Whether the import graph, where there is one, lets the file reach a failing test."""
    if importers is None or path not in importers or is_test_path(path):
        return True
    files = {clue.test.id.partition("::")[0] for clue in clues} - {""}
    seen, waiting = {path}, [path]
    while waiting:
        for user in importers.get(waiting.pop(), ()):
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    framed = any(frame.path == path for clue in clues for frame in clue.frames)
    return framed or not files or bool(files & seen) or any("conftest" in one for one in seen)


def _function(path: str, clues: Sequence[Clue], hunks: Sequence[Hunk]) -> str:
    """The function of `path` that most failing tests point to."""
    votes: dict[str, float] = {}
    for clue in clues:
        for name, weight in _candidates(path, clue, hunks).items():
            votes[name] = votes.get(name, 0.0) + weight
    return max(votes, key=lambda name: votes[name]) if votes else ""


def _candidates(path: str, clue: Clue, hunks: Sequence[Hunk]) -> dict[str, float]:
    """What one failing test says for each function: frames, touched functions, else names."""
    mine = [frame for frame in clue.frames if frame.path == path]
    real = [frame.function for frame in mine if frame.function not in ("", *SYNTHETIC)]
    found: dict[str, float] = {}
    for outwards, name in enumerate(reversed(real)):
        found.setdefault(name, _FADE**outwards / (4 if hunks else 1))
    for hunk in hunks:
        weight = _hunk_weight(hunk, mine, clue)
        found[hunk.function] = max(weight, found.get(hunk.function, 0.0))
    return found or {**namesake(clue), **called(clue)}


def _hunk_weight(hunk: Hunk, mine: Sequence[Frame], clue: Clue) -> float:
    weight = 0.5
    if any(hunk.first <= frame.line <= hunk.last for frame in mine):
        weight += 1.0
    if any(frame.function == hunk.function for frame in mine):
        weight += 0.5
    if hunk.function in clue.words:
        weight += 0.5
    return weight + 0.1 * min(3, len((hunk.words & clue.words) - EVERYDAY))


def _outside(clues: Sequence[Clue], *, related: bool | None) -> Blame:
    """The source frame that most failures end in, when the change is not to blame.

    A test that fails an assertion is not itself at fault; one that raises anything else may be.
    """
    for clue in clues:
        if clue.test.raised.syntax is not None:
            return Blame(clue.test.raised.syntax.path, "", related, "the syntax error names it")
    ends = [clue.source[-1] for clue in clues if clue.source]
    ends = ends or [clue.tests[-1] for clue in clues if clue.tests and not _asserted(clue)]
    if not ends:
        return Blame(related=related)
    paths = [frame.path for frame in ends]
    path = max(dict.fromkeys(paths), key=paths.count)
    names = [frame.function for frame in ends if frame.path == path]
    because = f"{paths.count(path)} of {len(clues)} failures end in it"
    return Blame(path, max(dict.fromkeys(names), key=names.count), related, because)


def _asserted(clue: Clue) -> bool:
    return clue.test.raised.exception in ("AssertionError", "Failed", "DocTestFailure")


def _because(path: str, clues: Sequence[Clue], hunks: Sequence[Hunk]) -> str:
    """Why the changed file is named: the strongest kind of evidence, in a few words."""
    framed = [clue for clue in clues if any(frame.path == path for frame in clue.frames)]
    names = {hunk.function for hunk in hunks} - {MODULE}
    through = sorted(names & {f.function for clue in framed for f in clue.frames if f.path == path})
    if any(clue.test.raised.syntax and clue.test.raised.syntax.path == path for clue in clues):
        return "the syntax error names it"
    if through:
        return f"the failure passes through {', '.join(through)}, which the change touched"
    mentioned = sorted(names & {word for clue in clues for word in clue.words})
    if mentioned:
        return f"the failing lines name {', '.join(mentioned)}, which the change touched"
    if framed:
        return f"{len(framed)} of {len(clues)} failures pass through it"
    return "the failing tests are named after it, no frame shows it"
