"""Name the file and the function a failure most likely comes from, and whether the change did it.

Pure. The diff is read for what it touched, each failing test is taken apart into features, and
every feature adds to a changed file's score: the frames, the names in the failing lines, the
test's own name, the changed lines, the import graph. A changed file that nothing in the failure
points to is not named.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from self_coding.languages import is_source, is_test
from self_coding.reflection.hunks import MODULE, WORD, Hunk, read_hunks
from self_coding.reflection.test_output import FailedTest
from self_coding.reflection.tracebacks import Frame, Raised

# What each kind of evidence adds to a file's score.
_LAST_FRAME = 1.0  # the deepest source frame is in it; each frame further out counts less
_FADE = 0.75
_TEST_FRAME = 0.7  # a frame in a changed test file; more than the namesake of the test
_SYNTAX = 3.0  # a syntax error names it
_TOUCHED_FUNCTION = 1.2  # a frame is in a function that the change touched
_TOUCHED_LINE = 1.0  # a frame is on the changed lines
_TOUCHED_WORD = 0.25  # a rare word of the failing lines is in the changed lines
_TOUCHED_NAME = 0.7  # the failing lines name a function that the change touched
_NAMESAKE = 0.6  # the test module is named after it
_MENTIONED = 0.3  # the failing lines or the test's name mention it
_PACKAGE = 0.25  # it is a package's own module, which every test goes through
_IMPORTED = 0.15  # the failing test's file imports it
_UNTOUCHED_FRAME = 0.4  # what a frame is worth whose function the change did not touch
_NAMES_BESIDE_FRAMES = 0.45  # what names are worth where source frames speak
_ENOUGH = 0.2  # below this, nothing points to the change

#: Exceptions by which a test states that an expectation was not met: the test is not at fault.
ASSERTIONS = ("AssertionError", "Failed", "DocTestFailure")
_SYNTHETIC = ("<lambda>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<doctest>")
_COMMON_WORDS = (
    "self cls assert assertEqual assertTrue assertFalse assertRaises raise raises return with for "
    "not and None True False pytest test import from class def lambda print len str int list dict "
    "tuple set isinstance range type repr value name data result expected match error Error"
)
_EVERYDAY = frozenset(_COMMON_WORDS.split())
_BUILT_IN = frozenset(dir(builtins))
_OPERATORS = (
    (" == ", "__eq__"), (" != ", "__ne__"), ("len(", "__len__"), ("repr(", "__repr__"),
    ("str(", "__str__"), (" in ", "__contains__"), ("set(", "__iter__"), ("list(", "__iter__"),
    ("hash(", "__hash__"), ("bool(", "__bool__"), (" < ", "__lt__"), ("del ", "__delitem__"),
)  # fmt: skip
# A call of a test framework's, of whatever language.
_EXPECTS = re.compile(r"(?:\w*+\.){0,20}?(?:pytest\.|t\.assert\b|assert|test|expect\b|to[A-Z])")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CALL = re.compile(r"(?<![\w@])((?:\w++\.){0,20}+)(\w++)\(")
# What a message says of the function at fault: its own method, what handed a wrong value over, what
# returned nothing, what was called with arguments that are not its own.
_METHOD_TOLD = re.compile(r"\b(__[a-z]++__)(?:\(\))? (?:method )?(?:returned|should|must)\b")
_HANDED_OVER = re.compile(
    r"object is not callable|^'(?:str|bytes|int|float|bool|list|tuple|dict|set)' object has no "
    r"attribute (?!.*Did you mean)"
)
_NONE_RETURNED = re.compile(r"\bNoneType\b(?<!must be a mapping, not NoneType)")
_ARGUMENTS = re.compile(r"(?:\w+\.)*+(?P<name>\w++)\(\) (?:missing|takes|got an unexpected)\b")


def is_test_path(path: str) -> bool:
    """Return whether a file belongs to the tests rather than to what is tested."""
    if is_source(path) and not path.endswith(".py"):
        return is_test(path)
    *folders, name = path.split("/")
    if name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py":
        return True
    return any(folder in ("test", "tests", "testing") for folder in folders)


# ---- what a failing test shows


@dataclass(frozen=True)
class Features:
    """One failing test, taken apart for scoring.

    `source` and `tests` are its frames inside the repository, the likeliest at fault last;
    `words` are the names in its failing lines, `parts` the words its id is made of, `module`
    the stem of its file.
    """

    test: FailedTest
    source: tuple[Frame, ...]
    tests: tuple[Frame, ...]
    words: frozenset[str]
    parts: frozenset[str]
    module: str

    @classmethod
    def of(cls, test: FailedTest) -> Features:
        """Return the features of one failing test."""
        raised = test.raised
        # What an exception was raised `from` is nearer to the fault than the exception itself;
        # what was being handled when it was raised is not.
        earlier = tuple(frame for cause in raised.causes for frame in cause.inside)
        frames = (*raised.inside, *earlier) if raised.direct else (*earlier, *raised.inside)
        tests = tuple(frame for frame in frames if is_test_path(frame.path))
        text = " ".join([*(frame.code for frame in frames), *_failed_lines(raised), raised.message])
        failing = " ".join(_test_lines(raised))
        operators = frozenset(method for sign, method in _OPERATORS if sign in failing)
        path = test.id.partition("::")[0]
        if not path.endswith(".py"):
            path = tests[0].path if tests else ""
        return cls(
            test=test,
            source=tuple(frame for frame in frames if not is_test_path(frame.path)),
            tests=tests,
            words=(frozenset(WORD.findall(text)) - _EVERYDAY) | operators,
            parts=frozenset(_parts(test.id.partition("[")[0])),
            module=_stem(path),
        )

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The test's frames, then the source's."""
        return self.tests + self.source

    def frames_in(self, path: str) -> list[Frame]:
        """Return the frames in one file."""
        return [frame for frame in self.frames if frame.path == path]

    def functions(self) -> dict[str, float]:
        """Return the functions that the failing lines call or the test's name names, weighted."""
        weights: dict[str, float] = {}
        # TestFilterByLevel, test_typedkey: the test's own name may name its subject.
        path, *names = self.test.id.partition("[")[0].split("::")
        if names:
            # What it tests: `test_clamp`, `TestClamp`, `clamp of numbers`, `Area > clamp: too low`.
            name = names[-1].removesuffix("()")
            if not path.endswith(".py"):
                # A group of tests is often named after what they test.
                if group := re.match(r"([\w$]++)[^>\u203a\n]*+[>\u203a] ", name):
                    weights[group[1]] = 0.3
                name = re.split(r" > | \u203a |[/.:]", name)[-1]
            words = re.split(r"[_\s]+", name.removeprefix("test_").strip())
            if camel := re.match(r"[Tt]est([A-Z])(\w*)$", name):
                # Go's functions begin as the test goes on, those of others do not.
                first = camel[1] if name[0] == "T" else camel[1].lower()
                words = [first + camel[2]]
            if len(words) < 3:
                weights["_".join(words)] = 0.3 / len(words)
            weights.setdefault(words[0], 0.1)
            # Of a class that the failing lines name, or of a doer, no function has the name.
            subject = names[0].removeprefix("Test")
            about = _parts(subject) if subject not in {names[0], *self.words} else []
            doer = about[-1:] and about[-1].endswith(("er", "or"))
            if len(names) > 1 and 1 < len(about) < 5 and not doer:
                weights.setdefault("_".join(about), 0.45)
        # A function that the failing lines call is the likelier the nearer to the test's name.
        near = self.parts | _plural(self.parts)
        lines = [*_test_lines(self.test.raised), *self.test.raised.details]
        if "DID NOT RAISE" in self.test.raised.message:
            lines = []  # what stands above the block has run well
        for late, line in enumerate(lines):
            for call in _CALL.finditer(line):
                name = call[2]
                if name in _EVERYDAY or _EXPECTS.match(call[1] + name):
                    continue
                # Of `expect(days().endOf(d))` the last one gave the value.
                nth = late + call.start() / 1000
                weights[name] = 0.2 + 0.3 * len(set(_parts(name)) & near) + 0.01 * nth
        return weights


def _failed_lines(raised: Raised) -> list[str]:
    """The source lines that failed, and the few above them in the same frame."""
    marked = [number for number, line in enumerate(raised.source) if line.startswith(">")]
    return [line for at in marked for line in raised.source[max(0, at - 3) : at + 1]]


def _test_lines(raised: Raised) -> list[str]:
    code = [frame.code for frame in raised.inside if is_test_path(frame.path)]
    return [*_failed_lines(raised), *code]


def _stem(path: str) -> str:
    """A file's name without what marks tests and private modules."""
    name = path.rpartition("/")[2]
    if not name.endswith(".py"):  # area.test.ts, area_test.go, AreaTest.java
        name = name.partition(".")[0].removesuffix("Tests").removesuffix("Test")
    name = name.removesuffix(".py").removesuffix("_test")
    return name.removeprefix("test_").strip("_")


def _parts(text: str) -> list[str]:
    """The words that the identifiers in `text` are made of, in lower case."""
    return [part.lower() for part in _PART.findall(text)]


def _plural(words: Collection[str]) -> set[str]:
    """The same words with and without a plural's s."""
    return {word + "s" for word in words} | {word.removesuffix("s") for word in words}


# ---- which changed file the failures point to


@dataclass(frozen=True)
class Cause:
    """Where a failure most likely comes from; `related` is None when nothing was changed."""

    file: str = ""
    function: str = ""
    related: bool | None = None
    because: str = ""


def locate(
    failed: Sequence[FailedTest],
    *,
    files_modified: Sequence[str] = (),
    diff: str = "",
    importers: Mapping[str, Collection[str]] | None = None,
    new: bool = False,
) -> Cause:
    """Return the file and function the evidence points to, and whether the change is among it.

    With `new` the same tests are known to pass without the change.
    """
    hunks = read_hunks(diff)
    tests = [Features.of(test) for test in failed]
    if not tests:
        return Cause()
    # A test whose block was cut says little beside those that show frames.
    framed = [test for test in tests if test.frames] or tests
    scores = {
        path: sum(_score(path, test, hunks.get(path, ()), importers) for test in framed)
        / len(framed)
        for path in dict.fromkeys([*files_modified, *hunks])
    }
    if not any(test.source for test in framed):
        # Where only tests are seen, what half of them name is not taken back by the others.
        for path in (path for path in scores if not is_test_path(path)):
            named = sorted((_by_name(path, test) for test in framed), reverse=True)
            scores[path] = max(scores[path], named[(len(named) - 1) // 2])
    best = max(scores, key=lambda path: scores[path], default="")
    related = (scores[best] >= _ENOUGH) if best else None
    if related and _reaches(best, tests, importers):
        own = hunks.get(best, ())
        return Cause(best, _function(best, tests, own), True, _because(best, tests, own))
    if new and best:
        # Whatever the frames show, the change did it: the likeliest of its files, a source first.
        sources = [path for path in scores if not is_test_path(path)]
        file = best if scores[best] > 0 else (sources or [best])[0]
        function = _function(file, tests, hunks.get(file, ()))
        return Cause(file, function, True, "the tests pass without the change")
    return _outside_the_change(tests, related=None if related is None else False)


def _score(
    path: str,
    test: Features,
    hunks: Sequence[Hunk],
    importers: Mapping[str, Collection[str]] | None,
) -> float:
    """How much one failing test points to one changed file."""
    is_test = is_test_path(path)
    own = test.frames_in(path)
    score = 0.0
    # Frames: the deepest one in the file counts, less for each frame that is deeper.
    frames = test.frames if is_test else test.source
    depth = next((n for n, frame in enumerate(reversed(frames)) if frame.path == path), None)
    if depth is not None:
        score = (_TEST_FRAME if is_test else _LAST_FRAME) * float(_FADE**depth)
        names = {hunk.function for hunk in hunks}
        if names and MODULE not in names:
            # Where the diff is known, a frame in a function that it did not touch is worth less.
            touched = ("", *names, *_SYNTHETIC)
            if not any(f.function in touched or any(h.holds(f) for h in hunks) for f in own):
                score *= _UNTOUCHED_FRAME
    # The change itself: touched functions and lines in frames, words shared with failing lines.
    for hunk in hunks:
        if hunk.function != MODULE and any(frame.function == hunk.function for frame in own):
            score += _TOUCHED_FUNCTION
        if any(hunk.holds(frame) for frame in own):
            score += _TOUCHED_LINE
        if hunk.function in test.words:
            score += _TOUCHED_NAME
        score += _TOUCHED_WORD * min(2, len((hunk.words & test.words) - _EVERYDAY))
        parts = set(_parts(hunk.function))
        if parts and parts <= test.parts:
            score += _TOUCHED_NAME
    syntax = test.test.raised.syntax
    if syntax is not None and syntax.path == path:
        score += _SYNTAX
    if not is_test:
        score += _by_name(path, test) * (_NAMES_BESIDE_FRAMES if test.source else 1.0)
    if importers is not None and test.test.id.partition("::")[0] in importers.get(path, ()):
        score += _IMPORTED
    return score


def _by_name(path: str, test: Features) -> float:
    """What the file's name is worth beside the test's module and name."""
    stem = _stem(path)
    if stem == "init":
        return _PACKAGE
    if test.module == stem:
        return _NAMESAKE
    score = 0.0
    module, parts = set(_parts(test.module)), set(_parts(stem))
    if parts and parts <= module | _plural(module):
        score += _NAMESAKE * 0.8
    elif (parts and parts <= test.parts) or test.module in path.split("/")[:-1]:
        score += _MENTIONED
    if stem in test.words or f"_{stem}" in test.words:
        score += _MENTIONED
    return score


def _reaches(
    path: str, tests: Sequence[Features], importers: Mapping[str, Collection[str]] | None
) -> bool:
    """Whether the import graph, where there is one, lets the file reach a failing test."""
    if importers is None or path not in importers or is_test_path(path):
        return True
    files = {test.test.id.partition("::")[0] for test in tests} - {""}
    seen, waiting = {path}, [path]
    while waiting:
        for user in importers.get(waiting.pop(), ()):
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    framed = any(frame.path == path for test in tests for frame in test.frames)
    return framed or not files or bool(files & seen) or any("conftest" in one for one in seen)


def _function(path: str, tests: Sequence[Features], hunks: Sequence[Hunk]) -> str:
    """The function of `path` that most failing tests point to: by frames, hunks, else names."""
    shown: dict[str, float] = {}
    named: dict[str, float] = {}  # by tests that show no frame of it: for want of others
    for test in tests:
        frames = test.frames_in(path)
        candidates: dict[str, float] = {}
        for outwards, name in enumerate(_likeliest(test.test.raised, frames)):
            candidates.setdefault(name, _FADE**outwards / (4 if hunks else 1))
        for hunk in hunks:
            if not hunk.exact:
                # A frame on the changed lines knows their function, a name in the failing lines
                # may be it.
                within = [f.function for f in frames if hunk.holds(f) and f.function]
                names = {within[-1]: 2.0} if within else test.functions()
                for name, weight in names.items():
                    if weight < 0.2:
                        continue
                    candidates[name] = max(0.5 + weight, candidates.get(name, 0.0))
            weight = 0.5
            weight += 1.0 * any(hunk.holds(frame) for frame in frames)
            weight += 0.5 * any(frame.function == hunk.function for frame in frames)
            weight += 0.5 * (hunk.function in test.words)
            weight += 0.1 * min(3, len((hunk.words & test.words) - _EVERYDAY))
            candidates[hunk.function] = max(weight, candidates.get(hunk.function, 0.0))
        votes = shown if candidates else named
        for name, weight in (candidates or test.functions()).items():
            votes[name] = votes.get(name, 0.0) + weight
    votes = shown or named
    return max(votes, key=lambda name: votes[name]) if votes else ""


def _likeliest(raised: Raised, frames: Sequence[Frame]) -> list[str]:
    """The functions of some frames of one file, the likeliest at fault first."""
    names = [frame.function for frame in reversed(frames)]
    real = [name for name in names if name not in ("", *_SYNTHETIC)]
    if told := _METHOD_TOLD.search(raised.message):
        return [told[1], *real]
    if _NONE_RETURNED.search(raised.message) and frames:
        found = _CALL.finditer(frames[-1].code)
        # A built-in, such as `sum`, is at fault in none of the project's files.
        calls = [c[2] for c in found if c[2] not in _EVERYDAY and (c[1] or c[2] not in _BUILT_IN)]
        # A class returns an object whenever it is called.
        return [*[name for name in calls if not name.lstrip("_")[:1].isupper()][:1], *real]
    if (called := _ARGUMENTS.match(raised.message)) and frames:
        by = re.search(r"\bself\.(\w+)\(", frames[-1].code)
        if by and by[1] != called["name"]:
            return ["__init__", *real]  # which gave the object that function under another name
    if _HANDED_OVER.search(raised.message):
        # A lambda is called by what its function handed it to.
        return [*real[1:], *real[:1]]
    return real


def _outside_the_change(tests: Sequence[Features], *, related: bool | None) -> Cause:
    """The source frame that most failures end in, when the change is not to blame.

    A test that fails an assertion is not itself at fault; one that raises anything else may be.
    """
    for test in tests:
        if (syntax := test.test.raised.syntax) is not None:
            return Cause(syntax.path, "", related, "the syntax error names it")
    ends = [test.source[-1] for test in tests if test.source] or [
        test.tests[-1]
        for test in tests
        if test.tests and test.test.raised.exception not in ASSERTIONS
    ]
    if not ends:
        told = (_METHOD_TOLD.search(test.test.raised.message) for test in tests)
        return Cause("", next((match[1] for match in told if match), ""), related)
    paths = [frame.path for frame in ends]
    path = max(dict.fromkeys(paths), key=paths.count)
    names = [frame.function for frame in ends if frame.path == path]
    because = f"{paths.count(path)} of {len(tests)} failures end in it"
    return Cause(path, max(dict.fromkeys(names), key=names.count), related, because)


def _because(path: str, tests: Sequence[Features], hunks: Sequence[Hunk]) -> str:
    """Why the changed file is named: the strongest kind of evidence, in a few words."""
    framed = [test for test in tests if any(frame.path == path for frame in test.frames)]
    names = {hunk.function for hunk in hunks} - {MODULE}
    through = sorted(names & {f.function for test in framed for f in test.frames if f.path == path})
    syntaxes = [test.test.raised.syntax for test in tests]
    if any(syntax is not None and syntax.path == path for syntax in syntaxes):
        return "the syntax error names it"
    if through:
        return f"the failure passes through {', '.join(through)}, which the change touched"
    mentioned = sorted(names & {word for test in tests for word in test.words})
    if mentioned:
        return f"the failing lines name {', '.join(mentioned)}, which the change touched"
    if framed:
        return f"{len(framed)} of {len(tests)} failures pass through it"
    return "the failing tests are named after it, no frame shows it"
